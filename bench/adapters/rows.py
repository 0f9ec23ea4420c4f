"""The rows of one page size: puts into fresh stores, and gets and lookups in stores that were filled, synced and opened again."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.adapters.bare import BARE
from bench.adapters.base import Engine, Opener, Side
from bench.data import chain_digests
from bench.harness import Better, Case, Effort
from bench.scratch import drop_from_cache, sync_tree
from bench.session import Session

__all__ = ["ROWS", "Size", "measure_size", "row_name", "target_key"]

ROWS = ("put + sync", "put", "cold get", "warm get", "lookup")
_COLD_BATCHES = 8
"""Batches a cold round reads at most,"""
_COLD_PAGES = 32
"""... or so many single pages: the first after a pause takes a disk of a virtual machine longer, whoever asks."""
_LOOKED_UP_BYTES = 64 << 10
"""Lookups are the same for pages of any size."""
CAPACITY_BYTES = 16 << 30
"""Nothing is evicted: a disk tier is seldom smaller, and a smaller store of ours has smaller segments."""
_LOOKUPS = 20
"""Lookups that are timed together."""
_TIMES = 9
"""... and so many times a round, of which the middle counts: they take a microsecond, and rounds are few."""


@dataclass(frozen=True, slots=True)
class Size:
    """Pages of one size, in batches of several."""

    page_bytes: int
    pages: int
    """Of a round."""
    batches: tuple[int, ...]
    effort: Effort

    @property
    def told(self) -> str:
        """For people."""
        return f"{self.page_bytes >> 10} KiB" if self.page_bytes < 1 << 20 else f"{self.page_bytes >> 20} MiB"


@dataclass(slots=True)
class _Stored:
    """A side whose pages are all there."""

    home: Path
    open: Opener
    side: Side
    keys: list[bytes]

    def reopen(self) -> None:
        """Empty the store's own caches; touch one page that no round asks for, so that opening is over."""
        self.side.close()
        self.side = self.open(self.home, CAPACITY_BYTES)
        self.side.get(self.keys[-1:], 0)


def measure_size(session: Session, engine: Engine, size: Size) -> None:
    """All rows of this page size."""
    root = session.request.scratch / f"adapters-{engine.name.replace(' ', '-')}"
    root.mkdir()
    try:
        for batch in size.batches:
            _measure_puts(session, engine, size, batch, root)
        if not session.request.wants(*(row_name(what, size, batch) for what in ROWS[2:] for batch in size.batches)):
            return  # what is put away for them takes longer than a row
        with contextlib.ExitStack() as stack:
            stored = _fill(session, engine, size, root, stack)
            for batch in size.batches:
                _measure_gets(session, engine, size, batch, stored)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def row_name(what: str, size: Size, batch: int) -> str:
    """What a table calls a row."""
    return f"{what}, {size.told}, {f'batches of {batch}' if batch > 1 else 'page by page'}"


def target_key(engine: str, what: str, page_bytes: int, batch: int) -> str:
    """What the targets call it: those of pages are about batches of 32 of at most 2 MiB, others are "beside"."""
    small = " small" if what == "cold get" and page_bytes <= 64 << 10 else ""
    return f"{engine} {what}{small}" if batch == 32 and page_bytes <= 2 << 20 else f"{engine} {what} beside"


def _case(engine: Engine, what: str, size: Size, batch: int, unit: str, work: dict[str, Callable[[], float]]) -> Case:
    """A row to measure."""
    key = target_key(engine.name, what, size.page_bytes, batch)
    better: Better = "higher" if unit == "MB/s" else "lower"
    return Case(row_name(what, size, batch), key, unit, better, work, group=engine.title)


def _measure_puts(session: Session, engine: Engine, size: Size, batch: int, root: Path) -> None:
    """Into a store that took as many pages before: with one sync at the end, and what the engine waits for its calls."""
    counter = itertools.count(session.request.seed * 1_000_000)

    def put(name: str, *, synced: bool) -> Callable[[], float]:
        def once() -> float:
            home = root / f"fresh-{next(counter)}"
            home.mkdir()
            side = engine.sides[name](home, CAPACITY_BYTES)
            keys = list(chain_digests(2 * size.pages, next(counter)))
            try:
                for at in range(0, size.pages, batch):  # nor are files that are made, and memory that is used, for the first time
                    side.put(keys[size.pages + at : size.pages + min(at + batch, size.pages)], at)
                side.sync()
                os.sync()  # what others left to be written, or to be freed
                began = time.perf_counter()
                for at in range(0, size.pages, batch):
                    _all(side.put(keys[at : min(at + batch, size.pages)], at), min(batch, size.pages - at), "stored")
                if synced:
                    side.sync()
                taken = time.perf_counter() - began
            finally:
                side.close()
                shutil.rmtree(home, ignore_errors=True)
            return size.pages * size.page_bytes / 1e6 / taken

        return once

    for what, synced in (("put + sync", True), ("put", False)):
        work = {name: put(name, synced=synced) for name in engine.sides}
        session.measure(_case(engine, what, size, batch, "MB/s", work), size.effort)


def _fill(session: Session, engine: Engine, size: Size, root: Path, stack: contextlib.ExitStack) -> dict[str, _Stored]:
    """Every side with all pages, durable, opened again, and checked byte by byte."""
    stored = {}
    for name, opener in engine.sides.items():
        done = session.busy(f"storing {name}")
        home = root / f"stored-{name.replace(' ', '-')}"
        home.mkdir()
        keys = list(chain_digests(size.pages + 1, session.request.seed))
        try:
            side = opener(home, CAPACITY_BYTES)
            for at in range(0, size.pages, 32):
                side.put(keys[at : min(at + 32, size.pages)], at)
            side.put(keys[-1:], 0)
            side.sync()
            found = _Stored(home, opener, side, keys)
            if name not in FORGETFUL:
                side.close()
                sync_tree(home)
                found.side = opener(home, CAPACITY_BYTES)
            engine.clear()
            _all(found.side.get(keys[: size.pages], 0), size.pages, "read")
            _all(engine.same(0, size.pages), 1, "read as they were stored")
        except Exception as error:  # noqa: BLE001 - whatever a backend raises, the others go on
            session.missing[f"{name}, {size.told}"] = f"failed: {type(error).__name__}: {error}"
            continue
        finally:
            done()
        stack.callback(lambda one=found: one.side.close())
        stored[name] = found
    return stored


FORGETFUL = ("LMCache local disk",)
"""Sides that find nothing after an opening: they are measured as they were filled."""


def _measure_gets(session: Session, engine: Engine, size: Size, batch: int, stored: dict[str, _Stored]) -> None:
    """Cold, warm, and lookups."""
    spans = [(at, min(batch, size.pages - at)) for at in range(0, size.pages, batch)]
    rng = session.rng

    def read(one: _Stored, at: int, n: int) -> None:
        _all(one.side.get(one.keys[at : at + n], at), n, "read")

    def cold(one: _Stored, name: str) -> Callable[[], float]:
        def once() -> float:
            if name not in FORGETFUL:
                one.reopen()
            chosen, taken = rng.sample(spans, min(len(spans), max(_COLD_BATCHES, _COLD_PAGES // batch))), 0.0
            for at, n in chosen:
                drop_from_cache(one.home)
                began = time.perf_counter()
                read(one, at, n)
                taken += time.perf_counter() - began
            return sum(n for _, n in chosen) * size.page_bytes / 1e6 / taken

        return once

    def warm(one: _Stored) -> Callable[[], float]:
        def once() -> float:
            for at, n in spans:
                read(one, at, n)
            began = time.perf_counter()
            for at, n in rng.sample(spans, len(spans)):
                read(one, at, n)
            return size.pages * size.page_bytes / 1e6 / (time.perf_counter() - began)

        return once

    def lookup(one: _Stored) -> Callable[[], float]:
        def some() -> float:
            began = time.perf_counter()
            for _ in range(_LOOKUPS):
                at, n = rng.choice(spans)
                _all(one.side.lookup(one.keys[at : at + n]), n, "found")
            return (time.perf_counter() - began) * 1e6 / _LOOKUPS

        def once() -> float:
            return statistics.median(some() for _ in range(_TIMES))

        return once

    rows = (
        ("cold get", "MB/s", {name: cold(one, name) for name, one in stored.items()}),
        ("warm get", "MB/s", {name: warm(one) for name, one in stored.items()}),
        ("lookup", "us", {name: lookup(one) for name, one in stored.items() if name != BARE}),
    )
    for what, unit, work in rows:
        if what != "lookup" or size.page_bytes <= _LOOKED_UP_BYTES:
            session.measure(_case(engine, what, size, batch, unit, work), size.effort)


def _all(found: int, n: int, what: str) -> None:
    """A side that does less than the others is not faster."""
    if found != n:
        msg = f"{found} of {n} pages were {what}"
        raise RuntimeError(msg)
