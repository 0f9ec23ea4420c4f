"""Reading a table: one key, a batch of keys, a range, or everything in order.

The way of one key: filter, bisect over the fences, the rows that are kept of its block (:mod:`lsmkv.sstable.rows`), else the
block. A lookup makes Python objects only of what it returns.

A filter saves reads, but asking it about a key that is there costs a third of the whole lookup. So a table whose last
lookups were mostly hits looks into what is *cached* first and asks the filter only about what it did not find there. The
counters read as if the filter had always come first: they measure the tree, not this shortcut.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Literal

from xxhash import xxh3_64_digest

from lsmkv.base.columns import Columns
from lsmkv.base.hashing import KeyBatch, hash_key
from lsmkv.base.keys import MAX_SEQ, Entry
from lsmkv.errors import CorruptionError
from lsmkv.sstable import inspect
from lsmkv.sstable.access import SURE
from lsmkv.sstable.block import Block
from lsmkv.sstable.decode import Pair, to_columns
from lsmkv.sstable.finder import hash_of
from lsmkv.sstable.quick import Value
from lsmkv.sstable.rowreads import RowAccess
from lsmkv.sstable.rows import fits
from lsmkv.sstable.scan import backward, forward
from lsmkv.sstable.tablefile import TableProperties
from lsmkv.sstable.values import ValueLookup, keys_at

__all__ = ["TableReader"]


class TableReader(RowAccess):
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
        if not self.may_hold(key, h):
            return None
        index = bisect_left(self.fences, key)
        if index < self.blocks:
            entry = self.block(index).newest(key)
            if entry is not None:
                if entry[0] > seq:
                    entry = self.older(key, index, seq)
                if entry is None:
                    self.counters.too_new += 1
                else:
                    self.counters.found += 1
                return entry
        self.counters.misses += 1
        return None

    def value(self, key: bytes) -> Value:  # noqa: PLR0911, PLR0912 - the hottest path: each call out of it costs a tenth
        """The newest value of ``key``: None for a tombstone, False if the table does not hold it.

        :meth:`get` at its fastest, for lookups of the present.

        I/O: at most one block read, unless a key has more versions than fit one block.
        """
        asked = not self.likely
        if asked and not self.may_hold(key, None):
            self.streak = 0
            return False
        finder = self.finder
        if finder is not None:  # lookup(), here to save a call
            parts, part_shift, shift, mask, seed = finder
            h = hash_of(key, seed)
            starts, tags, records, size = part = parts[h >> part_shift]
            bucket = h >> shift & mask
            end = starts[bucket + 1]
            row = tags.find(h & 0xFF, starts[bucket], end)
            if row < 0:
                return self._absent(key, asked=asked)
            if not size:
                placed = self.placed(key, part, row, end)
                if placed is not None:
                    self.likely = True
                    return placed
                row = -1
            while row >= 0:
                at = size * row
                value = records[at + 8 : at + size]
                if records.startswith(xxh3_64_digest(key + value, self.seed), at):
                    self.counters.row_hits += 1
                    self.likely = True
                    return value
                row = tags.find(h & 0xFF, row + 1, end)
        else:
            self.patience -= 1
            if self.patience <= 0 and (wish := self.wish) is not None:
                wish(self)
        index = bisect_left(self.fences, key)
        rows = self.rows[index]
        if rows is not None:
            n, each, at, _, _, plain = self.row_layouts[index]
            if plain and (row := rows.find(key[-1:], 0, n)) >= 0:
                if len(rows) > at:
                    at += row * each
                    value = rows[at : at + each]
                    if rows.startswith(xxh3_64_digest(key + value, self.seed), n + 8 * row):
                        self.row_marks[index] = 1
                        self.counters.row_hits += 1
                        self.likely = True
                        return value
                elif each and (found := self.one_row(index, rows, row, key)) is not None:
                    self.likely = True
                    return found
        elif not asked and (index == self.blocks or (self.streak < SURE and self.cached[index] is None)):
            return self._value_filtered(key, index)
        return self._let_through(index, key) if asked else self.guess(index, key)

    def _absent(self, key: bytes, *, asked: bool) -> Literal[False]:
        """The finder does not know ``key``: counted as if the filter had been asked first, if it was not ``asked``."""
        if asked:
            self.streak = 0
            self.counters.misses += 1
            self.counters.cache_hits += 1
        else:
            self._guessed_wrong(key, read=False)
        return False

    def guess(self, index: int, key: bytes) -> Value:
        """:meth:`value` in block ``index`` without asking the filter first; afterwards, for the counters, if that failed.

        I/O: one read if the block is not cached.
        """
        rows, value, read = self.rows[index], None, False
        if rows is not None:
            value = self.by_row(index, rows, key)
            if value is None:  # to be asked as if nothing had been tried
                return self._value_filtered(key, index, by_row=False)
        elif (block := self.cached[index]) is not None:
            value = self._cached(index, block, key)
        else:
            value, read = self.read(index, key), True
        if value is False:
            self._guessed_wrong(key, read=read)
        else:
            self.counters.found += 1
        return value

    def _guessed_wrong(self, key: bytes, *, read: bool) -> None:
        """A block without the key was looked into before the filter was asked: count as if it had been asked first."""
        counters = self.counters
        self.likely = False
        if read:
            self.streak = 0
            counters.block_reads -= 1
        if self.may_hold(key, None):
            counters.misses += 1
            counters.block_reads += read
            counters.cache_hits += not read
        else:
            counters.unfiltered_reads += read

    def _cached(self, index: int, block: Block, key: bytes) -> Value:
        """:meth:`value` in a cached block; a hit is counted, and after the second one the rows of the block are kept.

        Making them takes ten times as long as a hit: after a page store was opened the first get of each block waited for it.
        """
        marks = self.block_tray.marks
        again, marks[index] = marks[index], 1
        value = block.value(key)
        if value is not False:
            self.counters.cache_hits += 1
            if again and self.rows[index] is None and fits(block):
                self.keep_rows(index, block)
        return value

    def _value_filtered(self, key: bytes, index: int, *, by_row: bool = True) -> Value:
        """:meth:`value` in block ``index`` that asks the filter first."""
        if self.may_hold(key, None):
            return self._let_through(index, key, by_row=by_row)
        self.streak = 0
        return False

    def _let_through(self, index: int, key: bytes, *, by_row: bool = True) -> Value:
        """:meth:`value_asked` in block ``index``, if there is one: beyond the last one the filter was wrong."""
        if index < self.blocks:
            return self.value_asked(index, key, by_row=by_row)
        self.streak = 0
        self.counters.misses += 1
        return False

    def value_asked(self, index: int, key: bytes, *, by_row: bool = True) -> Value:
        """:meth:`value` in block ``index`` of a key that the filter let through. I/O: one read if the block is not cached."""
        rows, block, value = self.rows[index], self.cached[index], None
        if rows is not None and by_row:
            value = self.by_row(index, rows, key)
        cached = value is not None
        if value is None and block is not None:
            value, cached = self._cached(index, block, key), True
        elif value is None:
            value = self.read(index, key)
        if value is not False:
            self.counters.found += 1
            self.likely = True
            if self.streak < SURE and not cached:
                self.streak += 1
            return value
        self.streak = 0
        self.counters.misses += 1
        self.counters.cache_hits += cached
        return False

    def may_hold(self, key: bytes, h: tuple[int, int] | None) -> bool:
        """What the filter says; True without one."""
        if self.bloom is None:
            return True
        h1, h2 = hash_key(key) if h is None else h
        if self.bloom.may_contain(h1, h2):
            return True
        self.counters.filter_negatives += 1
        return False

    def values(self, batch: KeyBatch, pick: Sequence[int], seq: int = MAX_SEQ, *, bare: bool = False) -> list[Value]:
        """The value visible at ``seq`` of each key at these positions of a sorted batch, as :meth:`value` gives it.

        With ``bare`` values that are present may come back as ``b""``.

        I/O: at most one read per block that may hold one of the keys; more for versions newer than ``seq``.
        """
        if seq >= self.max_seq:
            return ValueLookup(self, batch, pick, bare=bare).run()
        out: list[Value] = []
        for key in keys_at(batch.keys, pick):
            entry = self.get(key, None, seq)
            out.append(False if entry is None else entry[1])
        return out

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
