"""The bounded set of open tables: file descriptor, fences and filter of each stay in memory while it is in use."""

from __future__ import annotations

from collections import OrderedDict

from lsmkv.base.counters import Counters
from lsmkv.cache.blockcache import BlockCache
from lsmkv.env.fs import FileSystem
from lsmkv.env.sync import Lock
from lsmkv.sstable.reader import TableReader

__all__ = ["TableCache", "table_path"]


def table_path(directory: str, number: int) -> str:
    """Where table ``number`` lives."""
    return f"{directory}/{number:06d}.sst"


class TableCache:
    """Open readers by file number; the least recently used is dropped beyond ``limit``.

    A reader closes its file when its last user drops it, so dropping one here never disturbs a lookup in flight.
    """

    __slots__ = ("_cache", "_counters", "_directory", "_fs", "_limit", "_lock", "crowded", "opened", "readers")

    def __init__(self, fs: FileSystem, directory: str, cache: BlockCache | None, counters: Counters, limit: int) -> None:
        self._fs = fs
        self._directory = directory
        self._cache = cache
        self._counters = counters
        self._limit = limit
        self._lock = Lock()
        self.readers: OrderedDict[int, TableReader] = OrderedDict()
        """Open tables; a lookup may peek here before it calls :meth:`get`."""
        self.crowded = False
        """At the limit: lookups must go through :meth:`get`, so that recency is known."""
        self.opened = 0
        """Times a table file was opened."""

    def get(self, number: int) -> TableReader:
        """The reader of a table, opened if needed (CorruptionError, IOFailedError).

        I/O: none when open; else its footer, index and filter.
        """
        reader = self.readers.get(number)
        if reader is not None:
            if self.crowded:  # recency matters only when there is pressure
                self._touch(number)
            return reader
        reader = TableReader(self._fs, table_path(self._directory, number), number, self._cache, self._counters)
        with self._lock:
            self.opened += 1
            reader = self.readers.setdefault(number, reader)
            while len(self.readers) > self._limit:
                self.readers.popitem(last=False)
            self.crowded = len(self.readers) == self._limit
        return reader

    def _touch(self, number: int) -> None:
        """Count a use."""
        with self._lock:
            if number in self.readers:
                self.readers.move_to_end(number)

    def forget(self, number: int) -> None:
        """Drop a table that is about to be unlinked, and its cached blocks."""
        with self._lock:
            self.readers.pop(number, None)
        if self._cache is not None:
            self._cache.drop(number)

    def clear(self) -> None:
        """Drop all readers."""
        with self._lock:
            self.readers.clear()

    def __len__(self) -> int:
        """Tables open now."""
        return len(self.readers)
