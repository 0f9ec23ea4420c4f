"""One key: memtables newest first, then the runs newest first; the first version found answers.

The level rule makes stopping at the first hit correct: everything further down is older. This is the hottest path of the
engine, so it is flat: one loop, no helper calls, and readers are peeked at before they are asked for.
"""

from __future__ import annotations

from bisect import bisect_left

from lsmkv.base.hashing import hash_key
from lsmkv.base.keys import Entry
from lsmkv.live.state import ReadState
from lsmkv.live.tables import TableCache
from lsmkv.read.covered import entry_above, value_above

__all__ = ["find_at", "value_below"]


def value_below(state: ReadState, tables: TableCache, key: bytes) -> bytes | None:
    """The newest value of ``key`` among what is not in the active memtable; None if it is deleted or nowhere.

    I/O: at most one block per run whose filter passes; with filters about one in all for a present key.
    """
    if state.ranges is not None and (cover := state.ranges.cover(key)):
        return value_above(state, tables, key, cover)
    for imm in state.imms:
        entry = imm.mem.newest.get(key)
        if entry is not None:
            return entry[1]
    view = state.view
    level0 = view.level0
    if level0 is not None:
        level0.left -= 1
        if level0.left <= 0:
            level0.sample(tables, key)
        entry = level0.newest.get(key)
        if entry is not None:
            level0.counters.row_hits += 1
            return entry[1]
    for run in view.below:
        lasts = run.lasts
        i = bisect_left(lasts, key)
        if i == len(lasts) or run.firsts[i] > key:
            continue
        reader = run.readers[i]
        if reader is None or tables.crowded:
            reader = run.readers[i] = tables.get(run.numbers[i])
        value = reader.value(key)
        if value is not False:
            return value
    tables.calls.absent += 1
    return None


def find_at(state: ReadState, tables: TableCache, key: bytes, seq: int) -> Entry | None:
    """The newest entry of ``key`` with a sequence number up to ``seq``. I/O: as :func:`value_below`."""
    entry = state.mem.get_at(key, seq)
    if entry is not None:
        return entry
    if state.ranges is not None and (cover := state.ranges.cover(key, seq)):
        return entry_above(state, tables, key, seq, cover)
    for imm in state.imms:
        entry = imm.mem.get_at(key, seq)
        if entry is not None:
            return entry
    h = hash_key(key)
    for run in state.view.runs:
        i = bisect_left(run.lasts, key)
        if i < len(run.lasts) and run.firsts[i] <= key:
            entry = tables.get(run.numbers[i]).get(key, h, seq)
            if entry is not None:
                return entry
    tables.calls.absent += 1
    return None
