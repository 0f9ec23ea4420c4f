"""Many keys at once: sorted once, hashed once, and asked of each run together.

Neighbouring keys then share filters, fences and blocks; that is where an ordered store beats a hash table on prefixes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import le

from lsmkv.base.hashing import KeyBatch
from lsmkv.base.keys import MAX_SEQ
from lsmkv.live.directory import FEWEST as FEWEST_BY_COLUMN
from lsmkv.live.state import ReadState, RunView
from lsmkv.live.tables import TableCache
from lsmkv.read.bycolumn import look
from lsmkv.read.covered import settle_covered, without_covered
from lsmkv.sstable.quick import Value
from lsmkv.sstable.values import neighbours

__all__ = ["find_many"]

MOST_AT_ONCE = 4096
"""Keys that columns are asked for together: what a batch takes beside its values is bounded, however large it is."""

FEWEST = 8
"""Fewer keys are not tried as neighbours first."""


def find_many(
    state: ReadState, tables: TableCache, keys: Sequence[bytes], seq: int = MAX_SEQ, *, bare: bool = False, longest: int = 0
) -> list[bytes | None]:
    """The newest value of each key up to ``seq``, None if deleted or absent; ``bare``: values in tables may come as ``b""``.

    ``longest`` is the length of the longest key, if that is known.

    Memtables are read in one step of the interpreter each, so a concurrent batch is seen whole or not at all.

    I/O: each block that may hold one of the keys is read once per run.
    """
    covers = state.ranges.covers(keys, seq) if state.ranges is not None else None
    found = _in_memory(state, keys, seq, covers) if state.imms or state.mem.newest else None
    if covers is not None:
        found = settle_covered(state, tables, keys, seq, covers, found)
    elif found is None and seq == MAX_SEQ and (found := _side_by_side(state, tables, keys, longest)) is not None:
        return found  # type: ignore[return-value]  # all were found
    if found is None:
        found = _in_tables(state, tables, keys, seq, bare)
    elif False in found:
        missing = [i for i, value in enumerate(found) if value is False]
        for i, value in zip(missing, _in_tables(state, tables, [keys[i] for i in missing], seq, bare), strict=True):
            found[i] = value
    if False in found:
        return [None if value is False else value for value in found]
    return found  # type: ignore[return-value]  # no False is left


def _in_memory(state: ReadState, keys: Sequence[bytes], seq: int, covers: Sequence[int] | None) -> list[Value] | None:
    """What the memtables say of each key, newest first, False where nothing; None if they hold none of them."""
    found: list[Value] | None = None
    for mem in (state.mem, *(imm.mem for imm in state.imms)):
        if not mem.newest:
            continue
        entries = list(map(mem.newest.get, keys)) if seq == MAX_SEQ else [mem.get_at(key, seq) for key in keys]
        if covers is not None and mem is not state.mem:
            entries = without_covered(entries, covers)
        if found is None:
            if any(entries):
                found = [False if entry is None else entry[1] for entry in entries]
        else:
            for i, entry in enumerate(entries):
                if entry is not None and found[i] is False:
                    found[i] = entry[1]
    return found


def _side_by_side(state: ReadState, tables: TableCache, keys: Sequence[bytes], longest: int) -> list[Value] | None:
    """The values of keys that lie side by side in the newest run, the pages of a conversation say; None if they do not."""
    runs = state.view.runs
    if len(keys) < FEWEST or not runs or not keys[0] < keys[1] < keys[2] < keys[-1]:
        return None
    run = runs[0]
    i = bisect_left(run.lasts, keys[-1])
    if i == len(run.lasts) or run.firsts[i] > keys[0] or (longest or max(map(len, keys))) > len(keys[0]):
        return None
    reader = run.readers[i]
    if reader is None or tables.crowded:
        reader = run.readers[i] = tables.get(run.numbers[i])
    return neighbours(reader, keys)


def _in_tables(state: ReadState, tables: TableCache, keys: Sequence[bytes], seq: int, bare: bool) -> list[Value]:
    """What the runs say of each key, newest first; False where nothing, counted as absent."""
    if len(keys) < FEWEST_BY_COLUMN or seq != MAX_SEQ or not tables.directory.budget_bytes:
        return _by_run(state, tables, keys, seq, bare)
    plan = tables.directory.plan(state.view, tables.get, len(keys))
    if plan is None:
        return _by_run(state, tables, keys, seq, bare)
    values: list[Value] = []
    left: list[int] = []
    for start in range(0, len(keys), MOST_AT_ONCE):
        found = look(plan, state.view, tables, keys[start : start + MOST_AT_ONCE] if len(keys) > MOST_AT_ONCE else keys)
        values += found.values
        left += [start + i for i in found.left]
    if left:
        rest = _by_run(state, tables, [keys[i] for i in left], seq, bare)
        for i, value in zip(left, rest, strict=True):
            values[i] = value
    return values


def _by_run(state: ReadState, tables: TableCache, keys: Sequence[bytes], seq: int, bare: bool) -> list[Value]:
    """:func:`_in_tables` run by run, in key order."""
    order = None if all(map(le, keys, islice(keys, 1, None))) else sorted(range(len(keys)), key=keys.__getitem__)
    batch = KeyBatch(keys if order is None else [keys[i] for i in order])
    out = _in_runs(state, tables, batch, seq, bare)
    absent = out.count(False)
    tables.calls.absent += absent
    if order is None:
        return out
    found: list[Value] = [False] * len(keys)
    for i, value in zip(order, out, strict=True):
        found[i] = value
    return found


def _in_runs(state: ReadState, tables: TableCache, batch: KeyBatch, seq: int, bare: bool) -> list[Value]:
    """:func:`_in_tables` for sorted keys."""
    n = len(batch.keys)
    out: list[Value] = [False] * n
    pending: Sequence[int] = range(n)
    for run in state.view.runs if n else ():
        for number, pick in _by_table(run, batch.keys, pending):
            values = tables.get(number).values(batch, pick, seq, bare=bare)
            if len(pick) == n:
                out = values
            elif isinstance(pick, range):
                out[pick.start : pick.stop] = values
            else:
                for i, value in zip(pick, values, strict=True):
                    out[i] = value
        if False not in out:
            break
        pending = [i for i in pending if out[i] is False]
    return out


def _by_table(run: RunView, keys: Sequence[bytes], pending: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Cut the pending keys (positions in key order) at the table boundaries of a run."""
    n = len(pending)
    wanted = keys if n == len(keys) else [keys[i] for i in pending]
    low = 0
    for table in run.tables[bisect_left(run.lasts, wanted[0]) :]:
        low = bisect_left(wanted, table.smallest, low)
        if low == n:
            return
        high = bisect_right(wanted, table.largest, low)
        if high > low:
            yield table.number, pending[low:high]
        low = high
