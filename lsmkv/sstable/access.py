"""What every way of reading a table shares: its fences, its filter, and its blocks through the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from lsmkv.base.counters import Counters
from lsmkv.base.keys import Entry
from lsmkv.cache.blockcache import BlockCache, Tray
from lsmkv.env.fs import FileSystem
from lsmkv.sstable.block import Block
from lsmkv.sstable.finder import Favourites, Finder
from lsmkv.sstable.quick import Layout
from lsmkv.sstable.rows import RowLayout, Rows, trim
from lsmkv.sstable.tablefile import TableFile

__all__ = ["GROW_EVERY", "NEVER", "SURE", "Look", "TableAccess"]

SURE = 16
"""So many uncached finds in a row, and lookups read the next block without asking the filter: three of four lookups of a
store that is one run end in the same file, and the filter, cold memory, costs a third of the read it saves the others."""


NEVER = 1 << 59
"""More gets than there will be."""

GROW_EVERY = 64
"""Holding a column costs twenty times what it saves a lookup: who is often read gets it soon, others hardly ever."""


LOOK_EVERY = 4
"""Of the blocks that neighbours miss, one in so many is held while there is room: to ask costs a part of what it saves."""

HOLD_EVERY = 256
"""... and one in so many may be held in a full cache: making a block and
evicting for it costs ten times what it saves the next batch, unless that had to ask the disk. (One in 32 was a tenth of a
batch of 128 values of 256 bytes.)"""


ASK_EVERY = 8
"""Of the blocks that scans and probes miss, a full cache is asked about one in so many: to ask takes as long as to check one."""


Look: TypeAlias = tuple[bytes, Layout | None, int, Block | None]
"""A checked block as it is in memory: its payload, where things are in it (None: only a Block can tell), where it starts in the
payload if there is no Block of it yet, and the Block if there is one."""


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
        count = file.blocks
        self.block_tray = cache.tray(number, "blocks", count) if cache is not None else Tray(count, None)
        self.row_tray = cache.tray(number, "rows", count, trim) if cache is not None else Tray(count, None)
        self.cached: list[Block | None] = self.block_tray.items
        self.rows: list[Rows | None] = self.row_tray.items
        self.row_layouts: list[RowLayout] = self.row_tray.notes
        """Of the blocks of which ``rows`` are held, or were."""
        self.row_marks = self.row_tray.marks
        self.seed = cache.seed if cache is not None else 0
        self.counters = counters
        self.scans = counters if scans is None else scans
        self.bloom = file.filter
        self.blocks = file.blocks
        self.fences = file.fences
        self.offsets = file.offsets
        self.max_seq = file.properties.meta.max_seq
        self.finder: Finder | None = None
        """Set once it is made (:mod:`lsmkv.live.finders`)."""
        self.favourites = Favourites(0)
        """What is asked most of the values of which the finder has the places only."""
        self.placed_width = 0
        """Bytes of a value that has a place."""
        self.wish: Callable[[Any], None] | None = None
        """To be called with this table when ``patience`` more gets came; not bound to it: that would keep the file open."""
        self.patience = NEVER
        self.likely = False
        self.streak = 0
        """Keys found in a row in blocks that were not cached, up to :data:`SURE`."""
        self.near_left = LOOK_EVERY
        """When batches of neighbours have missed so many more blocks, the cache is asked about the last of them."""
        self.look_left = 0
        """When scans have missed so many more blocks in a full cache, it is asked about one."""
        self.row_reads = 0
        """Rows read from the file one by one; every :data:`GROW_EVERY`-th time the whole column is read and held instead."""

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
            self.block_tray.marks[index] = 1
            counters.cache_hits += 1
            return block
        block = self.file.block(index)
        counters.block_reads += 1
        extent = self.file.block_extent(index)
        counters.block_bytes += extent
        self.keep_block(index, block)
        return block

    def look(self, index: int, counters: Counters) -> Look:
        """As :meth:`block`, but a Block is made only for the cache: most can be read without. I/O and errors likewise."""
        block = self.cached[index]
        if block is not None:
            self.block_tray.marks[index] = 1
            counters.cache_hits += 1
            return block.payload, block.layout, 0, block
        payload, layout, at, size = self.file.frame(index)
        counters.block_reads += 1
        counters.block_bytes += size
        self.look_left -= 1
        if self.look_left <= 0 and self.wants_look(index, size):
            block = self.hold_block(index, payload, at)
        return payload, layout, at, block

    def wants_look(self, index: int, charge: int) -> bool:
        """Whether to hold a block that a scan or a probe missed, and when to ask again: at once while there is room."""
        tray = self.block_tray
        if tray.room(charge):
            return True
        self.look_left = ASK_EVERY
        return tray.wants_block(index, charge)

    def wants_near(self, index: int, charge: int) -> bool:
        """Whether to hold a block that a batch of neighbours missed, and when to ask again: soon while there is room."""
        tray = self.block_tray
        if tray.room(charge):
            self.near_left += LOOK_EVERY
            return True
        self.near_left += HOLD_EVERY
        return tray.wants_block(index, charge)

    def hold_block(self, index: int, payload: bytes, at: int) -> Block:
        """Make the block of a payload, and hold it."""
        block = self.file.from_payload(index, payload, at)
        self.block_tray.hold(index, block, block.charge)
        return block

    def keep_block(self, index: int, block: Block) -> None:
        """Hold a block that missed, if the cache wants it."""
        tray = self.block_tray
        if tray.wants_block(index, block.charge):
            tray.hold(index, block, block.charge)

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
