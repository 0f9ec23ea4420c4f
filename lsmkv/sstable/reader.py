"""Reading a table: one key, a batch of keys, a range, or everything in order.

The way of one key: filter, bisect over the fences, block cache, bisect inside the block. Blocks stay packed
(:mod:`lsmkv.sstable.block`): a lookup makes Python objects only of what it returns.

A filter saves reads, but asking it about a key that is there costs a third of the whole lookup. So a table whose last
lookups were mostly hits looks into a *cached* block first and asks the filter only about what it did not find there
(``_likely``). The counters read as if the filter had always come first: they measure the tree, not this shortcut.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from lsmkv.base.columns import I64, Columns
from lsmkv.base.counters import Counters
from lsmkv.base.hashing import KeyBatch, hash_key
from lsmkv.base.keys import MAX_SEQ, Entry
from lsmkv.cache.blockcache import BlockCache, block_key
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError
from lsmkv.sstable import decode, inspect
from lsmkv.sstable.block import Block
from lsmkv.sstable.bloom import Bloom
from lsmkv.sstable.decode import Pair
from lsmkv.sstable.tablefile import TableFile, TableProperties

__all__ = ["TableReader"]

SCALAR_FILTER = 8
"""Up to so many keys, asking the filter one by one beats NumPy's fixed cost."""

FIRST_CHUNK = 16
"""Entries in the first chunk of a scan, so that a short scan does not decode a whole block."""


class TableReader:
    """One open table. Thread-safe. Close it when no reader needs it any more, or just drop it.

    ``cache`` None reads every block from the file. I/O and errors of opening: see
    :class:`~lsmkv.sstable.tablefile.TableFile`; every method below that reads blocks raises IOFailedError when a read
    fails and CorruptionError when a block is damaged.
    """

    def __init__(self, fs: FileSystem, path: str, number: int, cache: BlockCache | None, counters: Counters) -> None:
        self._table = table = TableFile(fs, path, number)
        self._cache = cache
        self._counters = counters
        self._cache_base = block_key(number, 0)
        self._bloom = table.filter
        self._filters = int(table.filter is not None)
        self._likely = False
        self._blocks = table.blocks
        self._max_seq = table.properties.meta.max_seq

    @property
    def path(self) -> str:
        """The file."""
        return self._table.path

    @property
    def number(self) -> int:
        """The file number."""
        return self._table.number

    @property
    def properties(self) -> TableProperties:
        """What the table says of itself."""
        return self._table.properties

    @property
    def filter_bits(self) -> int:
        """Bits of its Bloom filter; 0: none."""
        return self._table.filter_bits

    @cached_property
    def _fences(self) -> list[bytes]:
        """The fences as Python bytes for bisection, made at the first lookup."""
        return self._table.fences.tolist()

    def close(self) -> None:
        """Close the file. Blocks in the cache stay until they age out or ``BlockCache.drop``."""
        self._table.close()

    def _block(self, index: int) -> Block:
        """One block through the cache."""
        cache, counters = self._cache, self._counters
        if cache is not None:
            block: Block | None = cache.get(self._cache_base + index)
            if block is not None:
                counters.cache_hits += 1
                return block
        block = self._table.block(index)
        counters.block_reads += 1
        counters.block_bytes += self._table.block_extent(index)
        if cache is not None:
            cache.put(self._cache_base + index, block, block.charge)
        return block

    def get(self, key: bytes, h: tuple[int, int] | None = None, seq: int = MAX_SEQ) -> Entry | None:
        """The newest version of ``key`` with a sequence number <= ``seq``, or None. ``h`` is its ``hash_key`` if known.

        I/O: at most one block read, unless the versions of the key span blocks and ``seq`` is old.
        """
        cache = self._cache
        if self._likely and cache is not None:
            index = bisect_left(self._fences, key)
            if index < self._blocks:
                block = cache.get(self._cache_base + index)
                if block is not None:
                    entry: Entry | None = block.newest(key)
                    if entry is not None:
                        counters = self._counters
                        counters.cache_hits += 1
                        counters.filter_checks += self._filters
                        return entry if entry[0] <= seq else self._older(key, index, seq)
                    self._likely = False
        return self._get_filtered(key, h, seq)

    def _get_filtered(self, key: bytes, h: tuple[int, int] | None, seq: int) -> Entry | None:
        """:meth:`get` that asks the filter first."""
        counters, bloom = self._counters, self._bloom
        if bloom is not None:
            h1, h2 = hash_key(key) if h is None else h
            counters.filter_checks += 1
            if not bloom.may_contain(h1, h2):
                counters.filter_negatives += 1
                return None
        index = bisect_left(self._fences, key)
        if index < self._blocks:
            entry = self._block(index).newest(key)
            if entry is not None:
                self._likely = True
                return entry if entry[0] <= seq else self._older(key, index, seq)
        if bloom is not None:
            counters.filter_false_positives += 1
        return None

    def _older(self, key: bytes, index: int, seq: int) -> Entry | None:
        """The newest version of ``key`` that is <= ``seq``, looking from block ``index`` on."""
        while True:
            block = self._block(index)
            i = max(0, block.find(key))
            while i < block.entries and block.key(i) == key:
                entry = block.entry(i)
                if entry[0] <= seq:
                    return entry
                i += 1
            index += 1
            if i < block.entries or index == self._blocks or self._fences[index - 1] != key:
                return None

    def get_many(self, batch: KeyBatch, pick: I64, seq: int = MAX_SEQ, values: bool = True) -> tuple[I64, list[Entry]]:
        """Versions as :meth:`get` for the keys at ``pick``, indices into the batch in sorted key order.

        Returns the indices of ``pick`` that were found, in their order, and the entry of each. With ``values`` False
        an entry is ``(seq, b"")``, or ``(seq, None)`` for a tombstone.

        I/O: at most one read per block that may hold one of the keys.
        """
        keys = list(map(batch.keys.__getitem__, pick.tolist()))
        at: list[int] = []
        got: list[Entry] = []
        rest: Sequence[int] = range(len(keys))
        if self._likely and self._cache is not None:
            rest = self._find_cached(self._cache, keys, at, got, uniform=batch.uniform)
        if rest:
            early = len(at)
            self._find_filtered(batch, keys, self._filtered(batch, pick, rest), at, got)
            if early:
                order = sorted(range(len(at)), key=at.__getitem__)
                at, got = [at[i] for i in order], [got[i] for i in order]
        self._likely = 2 * len(at) >= len(keys)
        if seq < self._max_seq:
            at, got = self._not_newer(keys, at, got, seq)
        if not values:
            got = [e if e[1] is None else (e[0], b"") for e in got]
        return pick[at] if len(at) < len(keys) else pick, got

    def _find_cached(self, cache: BlockCache, keys: list[bytes], at: list[int], got: list[Entry], *, uniform: bool) -> list[int]:
        """Look up keys in cached blocks, filling ``at`` and ``got``; the positions whose blocks are not cached."""
        counters, rest = self._counters, list[int]()
        i = index = 0
        while i < len(keys):
            index, end = self._group(keys, i, index)
            block = cache.get(self._cache_base + index) if index < self._blocks else None
            if block is None:
                rest += range(i, end)
            else:
                which, entries = decode.find_group(block, keys[i:end], uniform=uniform)
                at += [i + w for w in which] if i else which
                got += entries
                passed = 0
                if self._bloom is not None:
                    counters.filter_checks += end - i
                    if len(which) < end - i:
                        passed = self._count_misses(self._bloom, keys, i, end, which)
                if which or passed or self._bloom is None:
                    counters.cache_hits += 1
            i = end
        return rest

    def _group(self, keys: list[bytes], i: int, index: int) -> tuple[int, int]:
        """The block of sorted key i, looking from block ``index`` on, and where the keys of that block end."""
        fences, end = self._fences, i + 1
        index = bisect_left(fences, keys[i], index)
        if index == self._blocks:
            return index, len(keys)
        if end < len(keys) and keys[end] <= fences[index]:
            end = bisect_right(keys, fences[index], end)
        return index, end

    def _count_misses(self, bloom: Bloom, keys: list[bytes], i: int, end: int, which: list[int]) -> int:
        """Count keys i..end-1 that a cached block does not hold as the filter would have; how many it lets through."""
        held = set(which)
        asked = [keys[t] for t in range(i, end) if t - i not in held]
        passed = sum(bloom.may_contain(*hash_key(key)) for key in asked)
        self._counters.filter_negatives += len(asked) - passed
        self._counters.filter_false_positives += passed
        return passed

    def _find_filtered(self, batch: KeyBatch, keys: list[bytes], where: list[int], at: list[int], got: list[Entry]) -> None:
        """Look up the keys at these positions, which passed the filter, filling ``at`` and ``got``."""
        some, uniform = [keys[t] for t in where], batch.uniform
        i = index = 0
        held = len(at)
        while i < len(some):
            index, end = self._group(some, i, index)
            if index == self._blocks:
                break
            which, entries = decode.find_group(self._block(index), some[i:end], uniform=uniform)
            at += [where[i + w] for w in which]
            got += entries
            i = end
        if self._bloom is not None:
            self._counters.filter_false_positives += len(some) - (len(at) - held)

    def _filtered(self, batch: KeyBatch, pick: I64, where: Sequence[int]) -> list[int]:
        """The positions in ``pick`` whose keys the filter lets through."""
        bloom, counters, n = self._bloom, self._counters, len(where)
        if bloom is None:
            return list(where)
        if n <= SCALAR_FILTER:
            chosen = [batch.keys[i] for i in pick[list(where)].tolist()]
            passed = [t for t, key in zip(where, chosen, strict=True) if bloom.may_contain(*hash_key(key))]
        else:
            hashes = batch.hashes[pick if n == len(pick) else pick[list(where)]]
            passed = [where[i] for i in np.flatnonzero(bloom.check_many(hashes)).tolist()]
        counters.filter_checks += n
        counters.filter_negatives += n - len(passed)
        return passed

    def _not_newer(self, keys: list[bytes], at: list[int], newest: list[Entry], seq: int) -> tuple[list[int], list[Entry]]:
        """Replace entries newer than ``seq`` by the version visible there, or leave them out."""
        where: list[int] = []
        entries: list[Entry] = []
        for t, entry in zip(at, newest, strict=True):
            seen = entry if entry[0] <= seq else self._older(keys[t], bisect_left(self._fences, keys[t]), seq)
            if seen is not None:
                where.append(t)
                entries.append(seen)
        return where, entries

    def scan_chunks(
        self,
        start: bytes | None,
        stop: bytes | None,
        *,
        reverse: bool,
        seq: int = MAX_SEQ,
    ) -> Iterator[list[Pair]]:
        """Visible versions at ``seq`` of the keys in [start, stop), one per key, tombstones as None, in chunks.

        Keys ascend, or descend with ``reverse``, within and over chunks; the first chunk is small.

        I/O: one read per block in the range, each when it is needed.
        """
        if start is not None and stop is not None and start >= stop:
            return iter(())
        limit = seq if seq < self._max_seq else None
        return self._backward(start, stop, limit) if reverse else self._forward(start, stop, limit)

    def _forward(self, start: bytes | None, stop: bytes | None, seq: int | None) -> Iterator[list[Pair]]:
        """Ascending chunks; ``seq`` None: every version is visible."""
        fences = self._fences
        index = 0 if start is None else bisect_left(fences, start)
        emitted: bytes | None = None
        first = FIRST_CHUNK
        while index < self._blocks:
            block = self._block(index)
            low = 0 if start is None else block.lower(start)
            start = None
            last = stop is not None and fences[index] >= stop
            high = block.lower(stop) if last and stop is not None else block.entries
            if first and high - low > first and not block.repeats:
                pairs = decode.visible_pairs(block, low, low + first, seq)
                low += first
                if pairs:
                    yield pairs
            first = 0
            pairs = decode.visible_pairs(block, low, high, seq)
            if pairs and pairs[0][0] == emitted:
                del pairs[0]
            if pairs:
                yield pairs
                emitted = pairs[-1][0]
            if last:
                return
            index += 1

    def _backward(self, start: bytes | None, stop: bytes | None, seq: int | None) -> Iterator[list[Pair]]:
        """Descending chunks. A key whose versions continue from the block before waits (``carry``) for the newer ones."""
        fences = self._fences
        index = self._blocks - 1 if stop is None else min(bisect_left(fences, stop), self._blocks - 1)
        carry: list[Pair] = []
        while index >= 0:
            block = self._block(index)
            low = 0 if start is None else block.lower(start)
            high = block.entries if stop is None else block.lower(stop)
            pairs = decode.visible_pairs(block, low, high, seq)
            if carry and not (pairs and pairs[-1][0] == carry[0][0]):
                pairs += carry
            carry = []
            if pairs and low == 0 and index and fences[index - 1] == pairs[0][0]:
                carry, pairs = pairs[:1], pairs[1:]
            if pairs:
                pairs.reverse()
                yield pairs
            if low > 0:
                return
            index -= 1

    def columns_chunks(self, start: bytes | None, stop: bytes | None, chunk_bytes: int) -> Iterator[Columns]:
        """All versions of the keys in [start, stop), in order, about ``chunk_bytes`` of file at a time; for compaction.

        Neither uses nor fills the block cache.

        I/O: one read per chunk (at least one block each).
        """
        if start is not None and stop is not None and start >= stop:
            return
        low = 0 if start is None else bisect_left(self._fences, start)
        high = self._blocks if stop is None else min(bisect_left(self._fences, stop) + 1, self._blocks)
        for blocks in self._table.block_runs(low, high, chunk_bytes):
            columns = decode.to_columns(blocks)
            keys = columns.keys
            a = 0 if start is None else bisect_left(keys, start)
            b = len(columns) if stop is None else bisect_left(keys, stop, a)
            if a < b:
                yield columns.slice(a, b) if (a, b) != (0, len(columns)) else columns

    def verify(self) -> list[CorruptionError]:
        """Read every block and check everything that can be checked; what is wrong (empty: all is well).

        I/O: reads the whole file once, past the cache.

        Raises:
            IOFailedError: a read failed.
        """
        return inspect.problems(self._table)
