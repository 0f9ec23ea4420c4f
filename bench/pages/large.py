"""Single gets at the 99th percentile in a large store against one with a tenth of the pages, both open, by turns.

Once with every page from the device, once with a few pages that lie in memory: there the index is most of what a get does.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import chain_digests, random_pages
from bench.harness import Case, Effort, Row, still_heap
from bench.scratch import aligned_bytes
from bench.session import Session
from bench.targets import OURS

__all__ = ["run_large"]

_PAGE_BYTES = 64 << 10
_PAGES = (100_000, 10_000)
_QUICK_PAGES = (1_000, 100)
_BATCH = 64
_GETS = 2_000
_HELD = 1_000
"""Pages that lie in memory."""
_EFFORT, _QUICK_EFFORT = Effort(9, least_rounds=5, budget_s=30), Effort(2, least_rounds=1, budget_s=1)


@dataclass(slots=True)
class _Store:
    """One of the two stores, open."""

    store: Any
    ns: Any
    keys: list[bytes]


def run_large(session: Session) -> None:
    """Rows: p99 in each store, and the ratio of the two, round by round."""
    sizes = _QUICK_PAGES if session.request.quick else _PAGES
    ways = ("from the device", "from memory")
    names = {way: (_ratio_name(way, sizes), *(f"get p99 {way}, {pages:,} x 64 KiB" for pages in sizes)) for way in ways}
    if not session.request.wants(*(name for group in names.values() for name in group)) or session.late(names[ways[0]][0]):
        return
    root = session.request.scratch / "large"
    root.mkdir()
    for pages in sizes:
        done = session.busy(f"storing {pages:,} pages")
        _fill(root / str(pages), pages, session.request.seed)
        done()
    for way in ways:
        with contextlib.ExitStack() as stack, still_heap():
            stores = {pages: _open(root / str(pages), pages, session.request.seed, way) for pages in sizes}
            for opened in stores.values():
                stack.callback(opened.store.close)
            held = _HELD if way == "from memory" else max(sizes)
            _measure(session, stores, names[way], held)
    shutil.rmtree(root, ignore_errors=True)


def _ratio_name(way: str, sizes: tuple[int, int]) -> str:
    return f"get p99 {way}, {sizes[0]:,} over {sizes[1]:,} pages of 64 KiB"


def _options(pages: int, way: str) -> Any:
    from lsmkv_tensor import StoreOptions  # noqa: PLC0415 - optional: it needs the extra "tensor"

    room = max(pages * (_PAGE_BYTES + 4096) * 5 // 4, 64 << 20)  # nothing is evicted
    return StoreOptions(capacity_bytes=room, direct_io="always" if way == "from the device" else "auto")


def _fill(path: Path, pages: int, seed: int) -> None:
    """Store the pages, a few bytes of each its own."""
    from lsmkv_tensor import PageStore  # noqa: PLC0415 - as above

    keys = chain_digests(pages, seed)
    memory = random_pages(_BATCH, _PAGE_BYTES, seed)
    with PageStore.open(str(path), options=_options(pages, "from the device")) as store:
        ns = store.namespace({"model": "bench"}, _PAGE_BYTES)
        for start in range(0, pages, _BATCH):
            part = keys[start : start + _BATCH]
            for row, key in zip(memory, part, strict=False):
                row[: len(key)] = np.frombuffer(key, np.uint8)
            if not all(ns.put_many(part, memory[: len(part)])):
                msg = "the store declined a page"
                raise RuntimeError(msg)
        store.sync()


def _open(path: Path, pages: int, seed: int, way: str) -> _Store:
    from lsmkv_tensor import PageStore  # noqa: PLC0415 - as above

    store = PageStore.open(str(path), options=_options(pages, way))
    return _Store(store, store.namespace({"model": "bench"}, _PAGE_BYTES), chain_digests(pages, seed))


def _measure(session: Session, stores: dict[int, _Store], names: tuple[str, ...], held: int) -> None:
    rng = np.random.default_rng(session.request.seed)
    out = aligned_bytes(_PAGE_BYTES).reshape(1, -1)
    found: dict[int, list[float]] = {pages: [] for pages in stores}
    gets = _GETS if not session.request.quick else 200
    drawn = {pages: rng.permutation(pages)[:held] for pages in stores}

    def turn(opened: _Store, of: np.ndarray) -> float:
        keys = [opened.keys[i] for i in rng.choice(of, gets).tolist()]
        taken = [_timed(opened.ns, key, out) for key in keys]
        return float(np.quantile(taken, 0.99)) * 1e6

    def once() -> float:
        for pages in rng.permutation(list(stores)).tolist():
            found[pages].append(turn(stores[pages], drawn[pages]))
        large, small = (found[pages][-1] for pages in stores)
        return large / small

    for pages, opened in stores.items():  # what a get of memory finds there; and the index is where a running server has it
        for i in drawn[pages][:_HELD].tolist():
            _timed(opened.ns, opened.keys[i], out)
    work: dict[str, Callable[[], float]] = {OURS: once}
    row = session.measure(
        Case(names[0], "p99 pages", "x", "lower", work, group="scale"), _QUICK_EFFORT if session.request.quick else _EFFORT
    )
    if row is None:
        return
    rounds = len(row.samples.get(OURS, ()))
    for name, pages in zip(names[1:], stores, strict=True):
        samples = {OURS: found[pages][-rounds:]} if rounds else {}
        session.add(Row(name, "p99", "us", "lower", samples, dict(row.missing), "scale"))


def _timed(ns: Any, key: bytes, out: np.ndarray) -> float:
    """Seconds of one get; the page must be its own."""
    began = time.perf_counter()
    found = ns.get_into([key], out)
    taken = time.perf_counter() - began
    if not found[0] or bytes(out[0, : len(key)]) != key:
        raise KeyError(key)
    return taken
