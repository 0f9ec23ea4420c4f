"""Many keys of one table at once: grouped by block, each block searched once.

Two rounds at most. If the table likely holds the keys, the first looks into cached blocks without asking the filter; the
counters are kept as if it had been asked. The second asks the filter about what is left, all keys in one step, and reads
the blocks of those it lets through.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from lsmkv.base.columns import I64
from lsmkv.base.hashing import KeyBatch, hash_key
from lsmkv.base.keys import Entry
from lsmkv.cache.blockcache import MOST_HITS
from lsmkv.sstable.access import TableAccess
from lsmkv.sstable.block import Block
from lsmkv.sstable.bloom import Bloom
from lsmkv.sstable.decode import find_group

__all__ = ["BatchLookup"]

SCALAR_FILTER = 8
"""Up to so many keys, asking the filter one by one beats NumPy's fixed cost."""


class BatchLookup:
    """One lookup of the keys at ``pick``: positions found (``at``) and their newest entries (``got``)."""

    __slots__ = ("_batch", "_direct", "_keys", "_pick", "_table", "_uniform", "_values", "at", "got")

    def __init__(self, table: TableAccess, batch: KeyBatch, pick: I64, *, values: bool) -> None:
        self._table = table
        self._batch = batch
        self._pick = pick
        self._keys = batch.at(pick)
        self._uniform = batch.uniform
        self._values = values
        self._direct = 0
        self.at: list[int] = []
        self.got: list[Entry] = []

    def run(self, seq: int) -> tuple[I64, list[Entry]]:
        """The indices found and the version of each that is visible at ``seq``.

        I/O: at most one read per block that may hold one of the keys.
        """
        table, n = self._table, len(self._keys)
        rest: Sequence[int] = range(n)
        if table.likely:
            rest = self._find_cached()
        if rest:
            early = len(self.at)
            self._find_filtered(self._filtered(rest))
            if early:
                order = sorted(range(len(self.at)), key=self.at.__getitem__)
                self.at, self.got = [self.at[i] for i in order], [self.got[i] for i in order]
        table.likely = 2 * len(self.at) >= n
        if seq < table.max_seq:
            self._replace_newer(seq)
        return self._pick[self.at] if len(self.at) < n else self._pick, self.got

    def _find_cached(self) -> list[int]:
        """Look into cached blocks; the positions whose blocks are not cached."""
        table, keys, n = self._table, self._keys, len(self._keys)
        fences, blocks, cached, marks = table.fences, table.blocks, table.cached, table.marks
        at, got, values = self.at, self.got, self._values
        rest: list[int] = []
        i = index = 0
        while i < n:
            key = keys[i]
            index = bisect_left(fences, key, index)
            if index == blocks:
                rest += range(i, n)
                break
            end = i + 1
            if end < n and keys[end] <= fences[index]:
                end = bisect_right(keys, fences[index], end)
            block = cached[index]
            if block is None:
                rest += range(i, end)
                i = end
                continue
            hits, hot = marks[index], block.hot
            if hits < MOST_HITS:
                marks[index] = hits + 1
            if hot is None and hits >= table.heat_at[0]:
                table.shelf.heat(index)
            entry = None
            if end == i + 1:
                entry = block.newest(key) if hot is None else hot.get(key)
            if entry is not None:
                self._direct += 1
                at.append(i)
                got.append(entry if values or entry[1] is None else (entry[0], b""))
            else:
                self._find_group(block, i, end)
            i = end
        counters, direct = table.counters, self._direct
        counters.cache_hits += direct
        counters.found += direct
        return rest

    def _find_group(self, block: Block, i: int, end: int) -> None:
        """Look for keys i..end-1 in their cached block, counting as if the filter had been asked about each first."""
        table, found = self._table, len(self.at)
        which, entries = find_group(block, self._keys[i:end], uniform=self._uniform, values=self._values)
        self.at += range(i, end) if len(which) == end - i else [i + w for w in which]
        self.got += entries
        table.counters.found += len(which)
        passed = self._count_misses(table.bloom, i, end, found) if len(which) < end - i else 0
        if passed or which:
            table.counters.cache_hits += 1

    def _count_misses(self, bloom: Bloom | None, i: int, end: int, found: int) -> int:
        """Count keys i..end-1 that were not found (see ``at[found:]``) as the filter answers; how many it lets through."""
        if bloom is None:
            passed = end - i - (len(self.at) - found)
            self._table.counters.misses += passed
            return passed
        held = set(self.at[found:])
        asked = [self._keys[t] for t in range(i, end) if t not in held]
        passed = sum(bloom.may_contain(*hash_key(key)) for key in asked)
        self._table.counters.filter_negatives += len(asked) - passed
        self._table.counters.misses += passed
        return passed

    def _filtered(self, where: Sequence[int]) -> list[int]:
        """Those of the positions whose keys the filter lets through."""
        bloom, counters, n = self._table.bloom, self._table.counters, len(where)
        if bloom is None:
            return list(where)
        if n <= SCALAR_FILTER:
            passed = [t for t in where if bloom.may_contain(*hash_key(self._keys[t]))]
        else:
            hashes = self._batch.hashes[self._pick if n == len(self._pick) else self._pick[list(where)]]
            passed = [where[i] for i in np.flatnonzero(bloom.check_many(hashes)).tolist()]
        counters.filter_negatives += n - len(passed)
        return passed

    def _find_filtered(self, where: list[int]) -> None:
        """Look up the keys at these positions, reading blocks as needed."""
        table, some, found = self._table, [self._keys[t] for t in where], len(self.at)
        i = index = 0
        while i < len(some):
            index, end = table.group(some, i, index)
            if index == table.blocks:
                break
            which, entries = find_group(table.block(index), some[i:end], uniform=self._uniform, values=self._values)
            self.at += [where[i + w] for w in which]
            self.got += entries
            i = end
        table.counters.found += len(self.at) - found
        table.counters.misses += len(some) - (len(self.at) - found)

    def _replace_newer(self, seq: int) -> None:
        """Replace entries newer than ``seq`` by the version visible there, or leave them out."""
        at: list[int] = []
        got: list[Entry] = []
        for t, newest in zip(self.at, self.got, strict=True):
            entry: Entry | None = newest
            if newest[0] > seq:
                key = self._keys[t]
                entry = self._table.older(key, bisect_left(self._table.fences, key), seq)
                if entry is not None and entry[1] is not None and not self._values:
                    entry = (entry[0], b"")
            if entry is not None:
                at.append(t)
                got.append(entry)
        self._table.counters.found -= len(self.at) - len(at)
        self._table.counters.too_new += len(self.at) - len(at)
        self.at, self.got = at, got
