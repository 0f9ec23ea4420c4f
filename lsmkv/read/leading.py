"""How many keys from the first on exist without a gap: what a cache of prefixes is asked before anything else.

Keys that lie side by side, as the pages of a conversation do, are found in groups by one comparison of bytes a block. The
answer is exact whatever is missing in between: every key up to it is looked at, in the newest run that speaks of it. Keys that
lie apart are first bounded by halving (a prefix is most often whole up to where it ends), then all asked at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from lsmkv.arguments import checked_keys, same_width
from lsmkv.base.hashing import hash_key
from lsmkv.base.keys import Entry
from lsmkv.live.state import ReadState, RunView
from lsmkv.live.tables import TableCache
from lsmkv.read.multiget import find_many
from lsmkv.sstable.leading import leading
from lsmkv.sstable.reader import TableReader

__all__ = ["GROUP", "count_leading"]

GROUP = 64
"""Keys looked at together. Callers whose keys are neighbours in groups of another size lose little."""

FEWEST = 8
"""A group of which fewer keys than this lie side by side is scattered. The first one often is, and only the first: the beginnings
of all sequences are one group of their index, where they lie between each other. After a second one the rest is taken to lie
apart."""

Memory: TypeAlias = Mapping[bytes, Entry]


def count_leading(state: ReadState, tables: TableCache, keys: Sequence[bytes], prefix: bytes) -> int:
    """How many of the keys, each with ``prefix`` before it, exist from the first on.

    I/O: as :func:`lsmkv.read.multiget.find_many` for the keys that exist, and a few more.
    """
    known, n, scattered = 0, len(keys), 0
    memories: list[Memory] = [mem.newest for mem in (state.mem, *(imm.mem for imm in state.imms)) if mem.newest]
    while known < n:
        group = keys[known : known + GROUP - known % GROUP]
        found = 0
        if type(group[0]) is bytes and same_width(group, len(group[0])):
            if state.ranges is None and (prefix or group[0]):
                found = _side_by_side(state, tables, memories, group, prefix)
        else:
            checked_keys(group)
        known += found
        if found < len(group):
            if not _exists(state, tables, memories, prefix + keys[known]):
                return known
            if found >= min(FEWEST, len(group)):
                continue
            scattered += 1
            if scattered > 1:
                return known + _apart(state, tables, memories, checked_keys(keys[known:]), prefix)
            there = find_many(state, tables, [prefix + key for key in group[found:]], bare=True)
            if None in there:
                return known + there.index(None)
            known += len(there)
    return known


def _exists(state: ReadState, tables: TableCache, memories: Sequence[Memory], key: bytes) -> bool:
    """Whether there is such a key. A ``get`` would keep rows in the cache where the next probe wants whole blocks."""
    if state.ranges is not None or not key:
        return find_many(state, tables, [key], bare=True)[0] is not None
    for newest in memories:
        entry = newest.get(key)
        if entry is not None:
            return entry[1] is not None
    h = hash_key(key)
    for run in state.view.runs:
        reader = _reader(tables, run, key)
        if reader is None:
            continue
        if reader.bloom is not None and not reader.bloom.may_contain(*h):
            reader.counters.filter_negatives += 1
            continue
        found, clear = leading(reader, key, key)
        if found:
            return True
        if clear == key:
            return False
        reader.counters.misses += 1
    tables.calls.absent += 1
    return False


def _reader(tables: TableCache, run: RunView, key: bytes) -> TableReader | None:
    """The table of the run whose range holds the key; None if there is none."""
    i = bisect_left(run.lasts, key)
    if i == len(run.lasts) or run.firsts[i] > key:
        return None
    reader = run.readers[i]
    if reader is None or tables.crowded:
        reader = run.readers[i] = tables.get(run.numbers[i])
    return reader


def _apart(state: ReadState, tables: TableCache, memories: Sequence[Memory], keys: Sequence[bytes], prefix: bytes) -> int:
    """:func:`count_leading` of keys that lie apart; the first exists."""
    there, absent = 0, len(keys)  # the last one seen to exist, the first one seen not to
    if _exists(state, tables, memories, prefix + keys[-1]):
        there = absent
    while absent - there > 1:
        middle = (there + absent) // 2
        if _exists(state, tables, memories, prefix + keys[middle]):
            there = middle
        else:
            absent = middle
    found = find_many(state, tables, [prefix + key for key in keys[:absent]], bare=True)
    return found.index(None) if None in found else absent


def _side_by_side(state: ReadState, tables: TableCache, memories: Sequence[Memory], keys: Sequence[bytes], prefix: bytes) -> int:
    """How many of the keys, of one width, exist from the first on, as far as one memtable or one run shows it.

    More of them may: a newer run or memtable that knows one of them, or any key between them, ends the stretch there. Requires
    that there are no range deletes.
    """
    if memories:
        whole = [prefix + key for key in keys]
        for newest in memories:
            if newest.keys().isdisjoint(whole):
                continue
            here = [entry is not None for entry in map(newest.get, whole)]
            if here[0]:
                stop = here.index(False) if False in here else len(here)
                alive = [newest[key][1] is not None for key in whole[:stop]]
                return alive.index(False) if False in alive else stop
            keys = keys[: here.index(True)]
            whole = whole[: len(keys)]
    joined = prefix + prefix.join(keys)
    first, limit = joined[: len(prefix) + len(keys[0])], None
    for run in state.view.runs:
        reader = _reader(tables, run, first)
        if reader is None:
            i = bisect_left(run.firsts, first)
            bound = run.firsts[i] if i < len(run.firsts) else None
        else:
            found, bound = leading(reader, first, joined)
            if found:
                return found if limit is None else _below(joined, len(first), found, limit)
            if bound == first:
                return 0
        if bound is not None and (limit is None or bound < limit):
            limit = bound
    return 0


def _below(joined: bytes, width: int, n: int, limit: bytes) -> int:
    """How many of the first ``n`` joined keys, which ascend, are below ``limit``."""
    return bisect_left(range(n), limit, key=lambda i: joined[i * width : (i + 1) * width])
