"""Reading a table: one key, a batch of keys, a range, or everything in order.

The way of one key: filter, bisect over the fences, block cache, search inside the block. Blocks stay packed
(:mod:`lsmkv.sstable.block`): a lookup makes Python objects only of what it returns.

A filter saves reads, but asking it about a key that is there costs a third of the whole lookup. So a table whose last
lookups were mostly hits looks into a *cached* block first and asks the filter only about what it did not find there. The
counters read as if the filter had always come first: they measure the tree, not this shortcut.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from lsmkv.base.columns import I64, Columns
from lsmkv.base.hashing import KeyBatch, hash_key
from lsmkv.base.keys import MAX_SEQ, Entry
from lsmkv.cache.blockcache import MOST_HITS
from lsmkv.errors import CorruptionError
from lsmkv.sstable import inspect
from lsmkv.sstable.access import TableAccess
from lsmkv.sstable.batch import BatchLookup
from lsmkv.sstable.decode import Pair, to_columns
from lsmkv.sstable.scan import backward, forward
from lsmkv.sstable.tablefile import TableProperties

__all__ = ["TableReader"]


class TableReader(TableAccess):
    """One open table. Thread-safe. Close it when no reader needs it any more, or just drop it.

    ``TableReader(fs, path, number, cache, counters)``; ``cache`` None reads every block from the file. Every method
    below that reads blocks raises IOFailedError when a read fails and CorruptionError when a block is damaged.
    """

    @property
    def path(self) -> str:
        """The file."""
        return self.file.path

    @property
    def number(self) -> int:
        """The file number."""
        return self.file.number

    @property
    def properties(self) -> TableProperties:
        """What the table says of itself."""
        return self.file.properties

    @property
    def filter_bits(self) -> int:
        """Bits of its Bloom filter; 0: none."""
        return self.file.filter_bits

    def close(self) -> None:
        """Close the file. Blocks in the cache stay until they age out or ``BlockCache.drop``."""
        self.file.close()

    def get(self, key: bytes, h: tuple[int, int] | None = None, seq: int = MAX_SEQ) -> Entry | None:
        """The newest version of ``key`` with a sequence number <= ``seq``, or None. ``h`` is its ``hash_key`` if known.

        I/O: at most one block read, unless the versions of the key span blocks and ``seq`` is old.
        """
        index = -1
        if self.likely:
            index = bisect_left(self.fences, key)
            block = self.cached[index] if index < self.blocks else None
            if block is not None:
                marks, hot = self.marks, block.hot
                hits = marks[index]
                if hits < MOST_HITS:
                    marks[index] = hits + 1
                entry: Entry | None
                if hot is not None:
                    entry = hot.get(key)
                else:
                    entry = block.newest(key)
                    if hits >= self.heat_at[0]:
                        self.shelf.heat(index, block)
                if entry is not None:
                    counters = self.counters
                    counters.cache_hits += 1
                    counters.filter_checks += self.filters
                    return entry if entry[0] <= seq else self.older(key, index, seq)
                self.likely = False
        return self._get_filtered(key, h, seq, index)

    def _get_filtered(self, key: bytes, h: tuple[int, int] | None, seq: int, index: int) -> Entry | None:
        """:meth:`get` that asks the filter first; ``index`` of the key's block, -1 if not looked for yet."""
        counters, bloom = self.counters, self.bloom
        if bloom is not None:
            h1, h2 = hash_key(key) if h is None else h
            counters.filter_checks += 1
            if not bloom.may_contain(h1, h2):
                counters.filter_negatives += 1
                return None
        if index < 0:
            index = bisect_left(self.fences, key)
        if index < self.blocks:
            entry = self.block(index).newest(key)
            if entry is not None:
                self.likely = True
                return entry if entry[0] <= seq else self.older(key, index, seq)
        if bloom is not None:
            counters.filter_false_positives += 1
        return None

    def get_many(self, batch: KeyBatch, pick: I64, seq: int = MAX_SEQ, values: bool = True) -> tuple[I64, list[Entry]]:
        """Versions as :meth:`get` for the keys at ``pick``, indices into the batch in sorted key order.

        Returns the indices of ``pick`` that were found, in their order, and the entry of each. With ``values`` False
        an entry is ``(seq, b"")``, or ``(seq, None)`` for a tombstone.

        I/O: at most one read per block that may hold one of the keys.
        """
        return BatchLookup(self, batch, pick, values=values).run(seq)

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
        return (backward if reverse else forward)(self, start, stop, seq if seq < self.max_seq else None)

    def columns_chunks(self, start: bytes | None, stop: bytes | None, chunk_bytes: int) -> Iterator[Columns]:
        """All versions of the keys in [start, stop), in order, about ``chunk_bytes`` of file at a time; for compaction.

        Neither uses nor fills the block cache.

        I/O: one read per chunk (at least one block each).
        """
        if start is not None and stop is not None and start >= stop:
            return
        low = 0 if start is None else bisect_left(self.fences, start)
        high = self.blocks if stop is None else min(bisect_left(self.fences, stop) + 1, self.blocks)
        for blocks in self.file.block_runs(low, high, chunk_bytes):
            columns = to_columns(blocks)
            keys = columns.keys
            a = 0 if start is None else bisect_left(keys, start)
            b = len(columns) if stop is None else bisect_left(keys, stop, a)
            if a < b:
                yield columns.slice(a, b) if b - a < len(columns) else columns

    def verify(self) -> list[CorruptionError]:
        """Read every block and check everything that can be checked; what is wrong (empty: all is well).

        I/O: reads the whole file once, past the cache.

        Raises:
            IOFailedError: a read failed.
        """
        return inspect.problems(self.file)
