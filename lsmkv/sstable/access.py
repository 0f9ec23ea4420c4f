"""What every way of reading a table shares: its fences, its filter, and its blocks through the cache."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from lsmkv.base.counters import Counters
from lsmkv.base.keys import Entry
from lsmkv.cache.blockcache import MOST_HITS, BlockCache, Shelf
from lsmkv.env.fs import FileSystem
from lsmkv.sstable.block import Block
from lsmkv.sstable.tablefile import TableFile

__all__ = ["SURE", "TableAccess"]

SURE = 16
"""So many uncached finds in a row, and lookups read the next block without asking the filter: three of four lookups of a
store that is one run end in the same file, and the filter, cold memory, costs a third of the read it saves the others."""


class TableAccess:
    """An open table with its cache and counters, one for lookups and one for scans (without it they share one).

    Each key asked is counted once: ``found``, ``filter_negatives``, ``misses``, or ``too_new``.
    ``likely`` is True while most lookups find their key here; lookups then try a cached block before the filter.

    I/O and errors of opening: see :class:`~lsmkv.sstable.tablefile.TableFile`.
    """

    def __init__(
        self, fs: FileSystem, path: str, number: int, cache: BlockCache | None, counters: Counters, scans: Counters | None = None
    ) -> None:
        self.file = file = TableFile(fs, path, number)
        self.shelf = cache.shelf(number, file.blocks) if cache is not None else Shelf(number, file.blocks, None)
        self.cached: list[Block | None] = self.shelf.blocks
        self.payloads, self.tips, self.layouts = self.shelf.payloads, self.shelf.tips, self.shelf.layouts
        self.marks = self.shelf.marks
        self.heat_at = self.shelf.heat_at
        self.counters = counters
        self.scans = counters if scans is None else scans
        self.bloom = file.filter
        self.blocks = file.blocks
        self.fences = file.fences
        self.max_seq = file.properties.meta.max_seq
        self.likely = False
        self.streak = 0
        """Keys found in a row in blocks that were not cached, up to :data:`SURE`."""

    def block(self, index: int, counters: Counters | None = None) -> Block:
        """One block through the cache, counted by ``counters`` (None: those of lookups).

        I/O: one read on a miss.

        Raises:
            IOFailedError: the read failed.
            CorruptionError: the block is damaged.
        """
        if counters is None:
            counters = self.counters
        block = self.cached[index]
        if block is not None:
            if self.marks[index] < MOST_HITS:
                self.marks[index] += 1
            counters.cache_hits += 1
            return block
        block = self.file.block(index)
        counters.block_reads += 1
        extent = self.file.block_extent(index)
        counters.block_bytes += extent
        self.shelf.put(index, block)
        return block

    def group(self, keys: Sequence[bytes], i: int, index: int) -> tuple[int, int]:
        """The block for sorted key i, looking from block ``index`` on, and where the keys for that block end."""
        fences, end = self.fences, i + 1
        index = bisect_left(fences, keys[i], index)
        if index == self.blocks:
            return index, len(keys)
        if end < len(keys) and keys[end] <= fences[index]:
            end = bisect_right(keys, fences[index], end)
        return index, end

    def older(self, key: bytes, index: int, seq: int) -> Entry | None:
        """The newest version of ``key`` that is <= ``seq``, looking from block ``index`` on."""
        while True:
            block = self.block(index)
            i = max(0, block.find(key))
            while i < block.entries and block.key(i) == key:
                entry = block.entry(i)
                if entry[0] <= seq:
                    return entry
                i += 1
            index += 1
            if i < block.entries or index == self.blocks or self.fences[index - 1] != key:
                return None
