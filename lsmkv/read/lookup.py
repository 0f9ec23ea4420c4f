"""One key: memtables newest first, then the runs newest first; the first version found answers.

The level rule makes stopping at the first hit correct: everything further down is older. This is the hottest path of the
engine, so it is flat: one loop, no helper calls, and readers are peeked at before they are asked for.
"""

from __future__ import annotations

from bisect import bisect_left

from lsmkv.base.keys import MAX_SEQ, Entry
from lsmkv.live.state import ReadState
from lsmkv.live.tables import TableCache

__all__ = ["find_at", "find_below"]


def find_below(state: ReadState, tables: TableCache, key: bytes, seq: int = MAX_SEQ) -> Entry | None:
    """The newest entry of ``key`` up to ``seq`` that is not in the active memtable.

    I/O: at most one block per run whose filter passes; with filters about one in all for a present key.
    """
    for imm in state.imms:
        entry = imm.mem.newest.get(key) if seq == MAX_SEQ else imm.mem.get_at(key, seq)
        if entry is not None:
            return entry
    readers = tables.readers
    for run in state.view.runs:
        lasts = run.lasts
        i = bisect_left(lasts, key)
        if i == len(lasts) or run.firsts[i] > key:
            continue
        number = run.numbers[i]
        reader = readers.get(number)
        if reader is None or tables.crowded:
            reader = tables.get(number)
        entry = reader.get(key, None, seq)
        if entry is not None:
            return entry
    tables.calls.absent += 1
    return None


def find_at(state: ReadState, tables: TableCache, key: bytes, seq: int) -> Entry | None:
    """The newest entry of ``key`` with a sequence number up to ``seq``. I/O: as :func:`find_below`."""
    entry = state.mem.get_at(key, seq)
    return entry if entry is not None else find_below(state, tables, key, seq)
