"""One key: memtables newest first, then the runs newest first; the first version found answers.

The level rule makes stopping at the first hit correct: everything further down is older.
"""

from __future__ import annotations

from lsmkv.base.hashing import hash_key
from lsmkv.base.keys import MAX_SEQ, Entry
from lsmkv.live.state import ReadState
from lsmkv.live.tables import TableCache

__all__ = ["find_at", "find_below"]


def find_below(state: ReadState, tables: TableCache, key: bytes) -> Entry | None:
    """The newest entry of ``key`` that is not in the active memtable.

    I/O: at most one block per run whose filter passes; with filters about one in all for a present key.
    """
    for imm in state.imms:
        entry = imm.mem.newest.get(key)
        if entry is not None:
            return entry
    return _in_tables(state, tables, key, MAX_SEQ)


def find_at(state: ReadState, tables: TableCache, key: bytes, seq: int) -> Entry | None:
    """The newest entry of ``key`` with a sequence number up to ``seq``. I/O: as :func:`find_below`."""
    entry = state.mem.get_at(key, seq)
    if entry is not None:
        return entry
    for imm in state.imms:
        entry = imm.mem.get_at(key, seq)
        if entry is not None:
            return entry
    return _in_tables(state, tables, key, seq)


def _in_tables(state: ReadState, tables: TableCache, key: bytes, seq: int) -> Entry | None:
    """The newest entry up to ``seq`` in the runs; the key is hashed once for all filters."""
    hashed = None
    for run in state.view.runs:
        table = run.table_for(key)
        if table is None:
            continue
        if hashed is None:
            hashed = hash_key(key)
        entry = tables.get(table.number).get(key, hashed, seq)
        if entry is not None:
            return entry
    return None
