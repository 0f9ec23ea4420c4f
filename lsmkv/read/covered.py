"""Reading where range deletes are: the way of :mod:`lsmkv.read.lookup`, with a look at sequence numbers.

The *cover* of a key is the newest range delete that covers it and that the reader sees. An entry below it does not exist, and
by the level rule no older one of the same key does. Most tables need no look: their numbers lie all above the cover, or all
below. See :mod:`lsmkv.version.rangedeletes`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from lsmkv.base.hashing import hash_key
from lsmkv.base.keys import MAX_SEQ, Entry
from lsmkv.live.state import ReadState, RunView
from lsmkv.live.tables import TableCache
from lsmkv.memtable import Memtable
from lsmkv.sstable.decode import Hidden, Pair
from lsmkv.sstable.quick import Value
from lsmkv.sstable.scan import backward, forward
from lsmkv.version.rangedeletes import RangeDeletes

__all__ = ["covered_sources", "entry_above", "settle_covered", "value_above", "without_covered"]

Chunks = Iterator[list[Pair]]

_TOMBSTONE: Entry = (0, None)


def value_above(state: ReadState, tables: TableCache, key: bytes, cover: int) -> bytes | None:
    """The newest value of ``key`` among what is newer than ``cover`` and not in the active memtable; None: there is none.

    I/O: at most one block per run whose filter passes.
    """
    entry = entry_above(state, tables, key, MAX_SEQ, cover)
    return None if entry is None else entry[1]


def entry_above(state: ReadState, tables: TableCache, key: bytes, seq: int, cover: int) -> Entry | None:
    """The newest entry of ``key`` with a sequence number from ``cover`` to ``seq`` that is not in the active memtable.

    I/O: as :func:`value_above`; more for versions newer than ``seq``.
    """
    for imm in state.imms:
        entry = imm.mem.get_at(key, seq)
        if entry is not None:
            return entry if entry[0] > cover else None
    return _in_tables(state, tables, key, seq, cover)


def _in_tables(state: ReadState, tables: TableCache, key: bytes, seq: int, cover: int) -> Entry | None:
    """:func:`entry_above` in the tables alone; counted as absent if it is in none."""
    h = hash_key(key)
    for run in state.view.runs:
        i = bisect_left(run.lasts, key)
        if i < len(run.lasts) and run.firsts[i] <= key and run.tables[i].max_seq > cover:
            entry = tables.get(run.numbers[i]).get(key, h, seq)
            if entry is not None:
                return entry if entry[0] > cover else None
    tables.calls.absent += 1
    return None


def without_covered(entries: Sequence[Entry | None], covers: Sequence[int]) -> list[Entry | None]:
    """What a full memtable says of keys, with a tombstone in place of each entry below its cover."""
    pairs = zip(entries, covers, strict=True)
    return [_TOMBSTONE if entry is not None and entry[0] < cover else entry for entry, cover in pairs]


def settle_covered(
    state: ReadState, tables: TableCache, keys: Sequence[bytes], seq: int, covers: Sequence[int], found: list[Value] | None
) -> list[Value]:
    """What the memtables say of each key (``found``, None: nothing), and what the tables say of those that have a cover.

    I/O: at most one block per run and covered key.
    """
    out: list[Value] = found if found is not None else [False] * len(keys)
    for i, cover in enumerate(covers):
        if cover and out[i] is False:
            entry = _in_tables(state, tables, keys[i], seq, cover)
            out[i] = None if entry is None else entry[1]
    return out


def covered_sources(
    state: ReadState, tables: TableCache, start: bytes | None, stop: bytes | None, *, reverse: bool, seq: int
) -> list[Chunks]:
    """The chunks of each memtable and run in a range, newest first, as visible at ``seq``."""
    ranges = state.ranges
    assert ranges is not None, "there is something to look at"

    def hidden(key: bytes, of: int) -> bool:
        """Whether an entry is below the cover of its key."""
        return ranges.cover(key, seq) > of

    found: list[Chunks] = []
    if state.mem.entries:
        found.append(state.mem.scan_chunks(start, stop, reverse=reverse, seq=seq))
    mems = [imm.mem for imm in state.imms if imm.mem.entries]
    found += [_of_memtable(mem, mem.scan_chunks(start, stop, reverse=reverse, seq=seq), hidden) for mem in mems]
    return found + [_of_run(run, tables, (start, stop), reverse, seq, ranges, hidden) for run in state.view.runs]


def _of_memtable(mem: Memtable, chunks: Chunks, hidden: Hidden) -> Chunks:
    """The chunks of a full memtable without what is hidden. A range delete that covers one of its entries is newer than all."""
    last = mem.last_seq
    for chunk in chunks:
        if left := [pair for pair in chunk if not hidden(pair[0], last)]:
            yield left


def _of_run(
    run: RunView,
    tables: TableCache,
    bounds: tuple[bytes | None, bytes | None],
    reverse: bool,
    seq: int,
    ranges: RangeDeletes,
    hidden: Hidden,
) -> Chunks:
    """The chunks of the tables of one run without what is hidden; a table that is hidden as a whole is not opened."""
    start, stop = bounds
    first = 0 if start is None else bisect_left(run.lasts, start)
    wanted = [t for t in run.tables[first:] if stop is None or t.smallest < stop]
    for table in reversed(wanted) if reverse else wanted:
        if not ranges.owed(table.smallest, table.largest, table.min_seq, table.swept):
            yield from tables.get(table.number).scan_chunks(start, stop, reverse=reverse, seq=seq)
        elif not (ranges.newest <= seq and ranges.hides(table.smallest, table.largest, table.max_seq)):
            reader = tables.get(table.number)
            limit = seq if seq < table.max_seq else None
            yield from (backward if reverse else forward)(reader, start, stop, limit, hidden)
