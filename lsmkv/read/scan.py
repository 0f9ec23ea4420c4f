"""Ordered reading: one chunked source per memtable and run, merged with the newest source winning."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import chain

from lsmkv.base.keys import MAX_KEY_BYTES
from lsmkv.errors import ClosedError, LsmError
from lsmkv.live.snapshots import Pin
from lsmkv.live.state import ReadState, RunView, StateBox
from lsmkv.live.tables import TableCache
from lsmkv.read.covered import covered_sources
from lsmkv.read.merge import live, merge_chunks
from lsmkv.version.shape import TableMeta

__all__ = ["prefix_range", "scan", "sources"]

Chunks = Iterator[list[tuple[bytes, bytes | None]]]


def prefix_range(start: bytes | None, stop: bytes | None, prefix: bytes | None) -> tuple[bytes | None, bytes | None]:
    """Bounds ``[start, stop)`` narrowed to the keys that begin with ``prefix``."""
    if not prefix:
        return start, stop
    low = prefix if start is None else max(start, prefix)
    after = _after_prefix(prefix)
    if after is None:
        return low, stop
    return low, after if stop is None else min(stop, after)


def _after_prefix(prefix: bytes) -> bytes | None:
    """The smallest key above every key with this prefix; None if there is none."""
    head = prefix.rstrip(b"\xff")
    if not head:
        return None
    assert len(head) <= MAX_KEY_BYTES
    return head[:-1] + bytes([head[-1] + 1])


def scan(
    state: ReadState,
    tables: TableCache,
    start: bytes | None,
    stop: bytes | None,
    *,
    reverse: bool,
    pin: Pin,
    box: StateBox | None = None,
) -> Iterator[tuple[bytes, bytes]]:
    """Live entries visible at ``pin.seq`` with start <= key < stop, ascending or (``reverse``) descending.

    The pin is released when the last entry was taken, and dropped with the iterator. Once ``box`` says that the store was
    closed, the next chunk is ClosedError: its files may belong to somebody else by then.

    I/O: about one block per run for the first entry, then each block of the range once.
    """
    tables.calls.scans += 1
    if len(state.view.runs) == 1 and not state.mem.entries and not state.imms and state.ranges is None:
        chunks = chain.from_iterable(_live_run(state.view.runs[0], tables, start, stop, reverse, pin.seq))
        return chain.from_iterable(_pinned(chunks, pin, box))
    found = sources(state, tables, start, stop, reverse=reverse, seq=pin.seq)
    return chain.from_iterable(_pinned(merge_chunks(found, reverse), pin, box))


def sources(
    state: ReadState, tables: TableCache, start: bytes | None, stop: bytes | None, *, reverse: bool, seq: int
) -> list[Chunks]:
    """The chunks of each memtable and run in a range, newest first, as visible at ``seq``."""
    if state.ranges is not None and state.ranges.meeting(start, stop, open_end=True):
        return covered_sources(state, tables, start, stop, reverse=reverse, seq=seq)
    mems = [mem for mem in (state.mem, *(imm.mem for imm in state.imms)) if mem.entries]
    found: list[Chunks] = [mem.scan_chunks(start, stop, reverse=reverse, seq=seq) for mem in mems]
    return found + [_scan_run(run, tables, start, stop, reverse, seq) for run in state.view.runs]


def _pinned(chunks: Iterator[list[tuple[bytes, bytes]]], pin: Pin, box: StateBox | None) -> Iterator[list[tuple[bytes, bytes]]]:
    """The same chunks; the pin lives as long as they do, and they end when it is given back."""
    try:
        for chunk in chunks:
            pin.chunk = chunk
            yield chunk
            if not pin.held:
                return
            if box is not None and box.current is None:
                raise ClosedError("the store of this scan")
    except LsmError as error:
        pin.failure = error
        raise
    pin.release()


def _scan_run(run: RunView, tables: TableCache, start: bytes | None, stop: bytes | None, reverse: bool, seq: int) -> Chunks:
    """The chunks of the tables of one run, opened one after the other."""
    for table in _between(run, start, stop, reverse=reverse):
        yield from tables.get(table.number).scan_chunks(start, stop, reverse=reverse, seq=seq)


def _live_run(
    run: RunView, tables: TableCache, start: bytes | None, stop: bytes | None, reverse: bool, seq: int
) -> Iterator[Iterator[list[tuple[bytes, bytes]]]]:
    """:func:`_scan_run`, table by table and without tombstones, for a run that is all there is."""
    for table in _between(run, start, stop, reverse=reverse):
        chunks = tables.get(table.number).scan_chunks(start, stop, reverse=reverse, seq=seq)
        yield map(live, chunks) if table.tombstones else chunks  # type: ignore[misc]  # without tombstones all values are bytes


def _between(run: RunView, start: bytes | None, stop: bytes | None, *, reverse: bool) -> Iterator[TableMeta]:
    """The tables of a run that overlap a range, each when it is asked for."""
    low = 0 if start is None else bisect_left(run.lasts, start)
    high = len(run.tables) if stop is None else bisect_left(run.firsts, stop, low)
    return map(run.tables.__getitem__, range(high - 1, low - 1, -1) if reverse else range(low, high))
