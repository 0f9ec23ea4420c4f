"""A range delete as point deletes, where that takes only a few.

How many keys are alive in a range is found out by a scan, so the scan has to be bounded in what it reads as well as in what it
finds: a range of a million tombstones has no live key, and is not small.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from lsmkv.base.keys import MAX_SEQ
from lsmkv.framing import Frame
from lsmkv.live.state import ReadState
from lsmkv.live.tables import TableCache
from lsmkv.read.merge import merge_chunks
from lsmkv.read.scan import sources
from lsmkv.wal.batch import RangeAt

__all__ = ["SMALL_BLOCKS", "as_points"]

SMALL_BLOCKS = 32
"""Most blocks that are read to find the live keys of a range."""

_CHUNKS = 64
"""Most chunks of the merged scan that are looked at: memtables full of tombstones are not small either."""


def as_points(
    tables: TableCache,
    keys: Sequence[bytes],
    values: Sequence[bytes | None],
    ranges: Sequence[RangeAt],
    limit: int,
    state: ReadState,
) -> Frame | None:
    """A batch with a delete of each live key in place of each range delete; None if that takes more than ``limit``.

    I/O: at most SMALL_BLOCKS blocks for each range, and opening the tables of the range.
    """
    new_keys: list[bytes] = []
    new_values: list[bytes | None] = []
    deletes, after = 0, 0
    for at, start, stop in ranges:
        new_keys += keys[after:at]
        new_values += values[after:at]
        after = at + 1
        live = _live_keys(state, tables, start, stop, limit - deletes)
        if live is None:
            return None
        own = {key for key in new_keys if key >= start and (stop is None or key < stop)}
        gone = sorted(own.union(live))
        deletes += len(gone)
        if deletes > limit:
            return None
        new_keys += gone
        new_values += [None] * len(gone)
    new_keys += keys[after:]
    new_values += values[after:]
    size = sum(map(len, new_keys)) + sum(len(value) for value in new_values if value is not None)
    return Frame(tuple(new_keys), tuple(new_values), size)


def _live_keys(state: ReadState, tables: TableCache, start: bytes, stop: bytes | None, limit: int) -> list[bytes] | None:
    """The live keys in a range; None if there are more than ``limit``, or to find out takes too much."""
    blocks = 0
    for run in state.view.runs:
        for table in run.tables[bisect_left(run.lasts, start) :]:
            if stop is not None and table.smallest >= stop:
                break
            fences = tables.get(table.number).fences
            last = len(fences) if stop is None else bisect_left(fences, stop) + 1
            blocks += last - bisect_left(fences, start)
            if blocks > SMALL_BLOCKS:
                return None
    found: list[bytes] = []
    chunks = merge_chunks(sources(state, tables, start, stop, reverse=False, seq=MAX_SEQ), reverse=False)
    for number, chunk in enumerate(chunks):
        found += [key for key, _ in chunk]
        if len(found) > limit or number == _CHUNKS:
            return None
    return found
