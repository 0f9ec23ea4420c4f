"""Many keys at once: hashed once, sorted once, and asked of each run together.

Neighbouring keys then share filters, fences and blocks; that is where an ordered store beats a hash table on prefixes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from lsmkv.base.columns import I64
from lsmkv.base.hashing import KeyBatch
from lsmkv.base.keys import MAX_SEQ, Entry
from lsmkv.live.state import ReadState, RunView
from lsmkv.live.tables import TableCache

__all__ = ["find_many"]


def find_many(
    state: ReadState, tables: TableCache, keys: Sequence[bytes], seq: int = MAX_SEQ, *, values: bool = True
) -> list[Entry | None]:
    """The newest entry of each key up to ``seq``, or None; with ``values=False`` table values come back as ``b""``.

    Memtables are read in one step of the interpreter each, so a concurrent batch is seen whole or not at all.

    I/O: each block that may hold one of the keys is read once per run.
    """
    if seq == MAX_SEQ:
        found: list[Entry | None] = list(map(state.mem.newest.get, keys))
    else:
        found = [state.mem.get_at(key, seq) for key in keys]
    missing = [i for i, entry in enumerate(found) if entry is None] if None in found else []
    for imm in state.imms:
        if not missing:
            return found
        get = imm.mem.newest.get if seq == MAX_SEQ else None
        for i in missing:
            found[i] = get(keys[i]) if get is not None else imm.mem.get_at(keys[i], seq)
        missing = [i for i in missing if found[i] is None]
    if missing:
        whole = len(missing) == len(keys)
        _find_in_tables(state, tables, keys if whole else [keys[i] for i in missing], missing, found, seq, values)
    return found


def _find_in_tables(
    state: ReadState,
    tables: TableCache,
    keys: Sequence[bytes],
    where: list[int],
    found: list[Entry | None],
    seq: int,
    values: bool,
) -> None:
    """Fill ``found[where[i]]`` for ``keys[i]`` from the runs, newest first, and count those that no run holds."""
    batch = KeyBatch(keys)
    pending = batch.order
    for run in state.view.runs:
        hits: list[I64] = []
        for number, pick in _by_table(run, batch, pending):
            index, entries = tables.get(number).get_many(batch, pick, seq, values=values)
            if entries:
                hits.append(index)
                for i, entry in zip(index.tolist(), entries, strict=True):
                    found[where[i]] = entry
        if hits:
            gone = np.zeros(len(keys), np.bool_)
            for index in hits:
                gone[index] = True
            pending = pending[~gone[pending]]
            if not len(pending):
                return
    tables.calls.absent += len(pending)


def _by_table(run: RunView, batch: KeyBatch, pending: I64) -> list[tuple[int, I64]]:
    """Cut the pending keys (in key order) at the table boundaries of a run."""
    keys = batch.keys
    out: list[tuple[int, I64]] = []
    n = len(pending)
    low = 0
    first = bisect_left(run.lasts, keys[int(pending[0])])
    for table in run.tables[first:]:
        low = bisect_left(pending, table.smallest, low, n, key=keys.__getitem__)
        if low == n:
            break
        high = bisect_right(pending, table.largest, low, n, key=keys.__getitem__)
        if high > low:
            out.append((table.number, pending[low:high]))
        low = high
    return out
