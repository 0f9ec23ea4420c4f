"""Probe, batch get, index bytes and blocks a lookup, for each encoding over the same sequences."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import lsmkv
from bench.harness import Case, Effort, still_heap
from bench.keys.encodings import ENCODINGS, Encoding
from bench.session import Session

__all__ = ["run_keys"]

_PAGE_TOKENS = 16
_PAGES = 512
"""Of a sequence; the longest token path takes 32 KiB then."""
_BATCH = 32
_VALUE_BYTES = 56
"""What the index of a page store keeps for a page."""
_NAMESPACE = b"\0\0\0\1"


@dataclass(slots=True)
class _Stored:
    """One encoding's index, and the keys that are asked for."""

    db: lsmkv.DB
    asked: list[bytes]
    """A sequence's keys; the first half is stored."""
    pages: int


def run_keys(session: Session) -> None:
    """Measure every row asked for."""
    quick = session.request.quick
    sequences, effort = (3, Effort(5, budget_s=1)) if quick else (16, Effort(25, budget_s=20))
    root = session.request.scratch / "keys"
    stored: dict[str, _Stored] = {}
    try:
        for name, encode in ENCODINGS.items():
            done = session.busy(f"storing {name}")
            stored[name] = _store(str(root / name.replace(" ", "-")), encode, sequences, session.request.seed)
            done()
        rows: tuple[tuple[str, str, str, Callable[[_Stored], Callable[[], float]]], ...] = (
            (f"probe {_PAGES}, half present", "keys probe", "us", _probing),
            (f"get_many({_BATCH}), neighbours of one sequence", "keys get", "us/page", _getting),
            ("index bytes a page, on disk", "keys bytes", "B/page", _bytes),
            (f"blocks a probe of {_PAGES}, half present", "keys blocks", "blocks", _blocks),
        )
        with still_heap():
            for name, key, unit, make in rows:
                work = {encoding: make(one) for encoding, one in stored.items()}
                session.measure(Case(name, key, unit, "lower", work), effort)
    finally:
        for one in stored.values():
            one.db.close()
        shutil.rmtree(root, ignore_errors=True)


def _store(path: str, encode: Encoding, sequences: int, seed: int) -> _Stored:
    """Some sequences, of the last one only the first half; put in turns, as conversations are."""
    rng = np.random.default_rng(seed)
    db = lsmkv.open(path, lsmkv.Options(event_log=False, status_interval_s=None, compression="none"))
    keys = [encode(rng.integers(0, 50_000, _PAGES * _PAGE_TOKENS, dtype=np.uint32), _PAGE_TOKENS) for _ in range(sequences)]
    values = rng.bytes(_VALUE_BYTES * _PAGES)
    pages = 0
    for start in range(0, _PAGES, _BATCH):
        for of_one in keys if start < _PAGES // 2 else keys[:-1]:
            part = of_one[start : start + _BATCH]
            at = range(start * _VALUE_BYTES, (start + _BATCH) * _VALUE_BYTES, _VALUE_BYTES)
            db.put_many([(_NAMESPACE + key, values[a : a + _VALUE_BYTES]) for key, a in zip(part, at, strict=True)])
            pages += len(part)
    db.flush()
    db.compact()
    return _Stored(db, keys[-1], pages)


def _probing(stored: _Stored) -> Callable[[], float]:
    def once() -> float:
        began = time.perf_counter()
        found = stored.db.count_leading(stored.asked, prefix=_NAMESPACE)
        taken = time.perf_counter() - began
        if found != _PAGES // 2:
            msg = f"probe answered {found} pages, {_PAGES // 2} are stored"
            raise RuntimeError(msg)
        return taken * 1e6

    return once


def _getting(stored: _Stored) -> Callable[[], float]:
    keys = [_NAMESPACE + key for key in stored.asked[: _PAGES // 2]]

    def once() -> float:
        began = time.perf_counter()
        for start in range(0, len(keys), _BATCH):
            if None in stored.db.get_many(keys[start : start + _BATCH]):
                raise KeyError
        return (time.perf_counter() - began) * 1e6 / len(keys)

    return once


def _bytes(stored: _Stored) -> Callable[[], float]:
    return lambda: stored.db.stats().bytes / stored.pages


def _blocks(stored: _Stored) -> Callable[[], float]:
    def once() -> float:
        before = stored.db.stats()
        stored.db.count_leading(stored.asked, prefix=_NAMESPACE)
        after = stored.db.stats()
        return after.block_reads + after.cache_hits - before.block_reads - before.cache_hits

    return once
