"""The bounded set of open tables: file descriptor, fences and filter of each stay in memory while it is in use.

It also knows the level of each table, so that a reader counts in the books of that level. A table that moves takes its reader
with it.

Who reads files that others may unlink holds them: :meth:`TableCache.hold` gives a set of its own, whose tables stay open
until it is dropped.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping

from lsmkv.base.columns import Columns
from lsmkv.base.counters import WorkCounters
from lsmkv.base.keys import Entry
from lsmkv.base.ledger import Ledger
from lsmkv.cache.blockcache import BlockCache
from lsmkv.env.fs import FileSystem
from lsmkv.env.process import open_files_limit
from lsmkv.env.sync import Lock
from lsmkv.live.directory import Directory
from lsmkv.live.finders import Finders
from lsmkv.live.kept import KeptMemtables
from lsmkv.sstable.reader import TableReader
from lsmkv.sstable.scan import everything
from lsmkv.version.shape import TableMeta

__all__ = ["TableCache", "table_path"]


FEWEST = 512
"""Keys that single gets must have looked for in memory between two flushes, or merges, for anything to be kept for them."""

WORTH = 8
"""A memtable is kept if, since the last flush, they looked for one for so many of its entries."""

WORTH_APART = 32
"""... and a merge makes finders, if they looked for one for so many of its entries since the last merge."""


def table_path(directory: str, number: int) -> str:
    """Where table ``number`` lives."""
    return f"{directory}/{number:06d}.sst"


class _Demand:
    """Whether single gets ask a store enough, from one look to the next."""

    __slots__ = ("_ledger", "_seen")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen = ledger.single_gets

    def asked(self, least: int) -> bool:
        """Whether single gets looked for so many keys, and at least :data:`FEWEST`, in memory since the last look."""
        seen, self._seen = self._seen, self._ledger.single_gets
        return self._seen - seen >= max(least, FEWEST)


class TableCache:
    """Open readers by file number, at most ``limit`` and half of the files this process may open.

    The least recently used is dropped beyond that and gives its descriptor back. Who still reads from it (a scan or a merge
    over more tables than may be open) goes on, at one opening a read.
    """

    __slots__ = (
        "__weakref__",
        "_cache",
        "_fs",
        "_held",
        "_ledger",
        "_levels",
        "_limit",
        "_lock",
        "_owed",
        "_path",
        "_since_flush",
        "_since_merge",
        "calls",
        "crowded",
        "directory",
        "finders",
        "kept",
        "readers",
    )

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        cache: BlockCache | None,
        ledger: Ledger,
        limit: int,
        columns: Directory | int,
        finders: Finders | None = None,
    ) -> None:
        """``columns``: the hash columns of these tables, or the bytes they may take; ``finders`` comes with columns."""
        self._fs = fs
        self._path = path
        self._cache = cache
        self._ledger = ledger
        self._levels: dict[int, int] = {}
        self._limit = max(1, min(limit, open_files_limit() // 2))
        self._lock = Lock()
        self._held: weakref.WeakKeyDictionary[TableCache, frozenset[int]] = weakref.WeakKeyDictionary()
        self._owed: weakref.WeakSet[TableReader] = weakref.WeakSet()  # dropped while somebody held them
        self.readers: OrderedDict[int, TableReader] = OrderedDict()
        """Open tables; a lookup may peek here before it calls :meth:`get`."""
        self.crowded = False
        """The limit was reached: from then on lookups must go through :meth:`get`, so that recency is known and none uses
        a reader that was dropped."""
        self.directory = directory = columns if isinstance(columns, Directory) else Directory(columns)
        """The hash columns of these tables."""
        me = weakref.ref(self)
        self.finders = Finders(cache, directory, lambda: _open_tables(me())) if finders is None else finders
        """The finders of these tables."""
        self.kept = KeptMemtables(directory)
        """The memtables that are kept for some of these tables."""
        ledger.settle = directory.settle
        self._since_flush, self._since_merge = _Demand(ledger), _Demand(ledger)
        self.calls = ledger.calls
        """Where lookups and scans are counted as they arrive here."""

    def get(self, number: int) -> TableReader:
        """The reader of a table, opened if needed (CorruptionError, IOFailedError).

        I/O: none when open; else its footer, index and filter.
        """
        reader = self.readers.get(number)
        if reader is not None:
            if self.crowded:  # recency matters only when there is pressure
                self._touch(number)
            return reader
        cache = self._cache
        reader = self._open(number)
        with self._lock:
            if cache is not self._cache:  # another one since: this reader serves the call at hand only
                return reader
            reader = self.readers.setdefault(number, reader)
            self._point(reader)  # it may have moved meanwhile
            self.finders.new(reader)
            while len(self.readers) > self._limit:
                self._let_rest(*self.readers.popitem(last=False))
            self.crowded = self.crowded or len(self.readers) == self._limit
        return reader

    def _let_rest(self, number: int, reader: TableReader) -> None:
        """Take the descriptor of a table that was dropped, and of those dropped while they were held and are not (lock held)."""
        self.finders.drop(reader)
        held = frozenset().union(*self._held.values())
        if number not in held and not self._owed:
            reader.file.rest()
            return
        self._owed.add(reader)
        for owed in list(self._owed):
            if owed.number not in held:
                owed.file.rest()
                self._owed.discard(owed)

    def hold(self, numbers: Iterable[int]) -> TableCache:
        """A set of its own with these tables open: they are read to the end whatever happens to their names.

        They count like those opened here; dropping the set lets go of them. Errors as :meth:`get`.

        I/O: as :meth:`get` for each table that is not open.
        """
        wanted = frozenset(numbers)
        held = TableCache(self._fs, self._path, self._cache, self._ledger, len(wanted), self.directory, self.finders)
        with self._lock:
            self._held[held] = wanted  # before the first one is taken: from now on none of them is put to rest
        for number in wanted:
            held.readers[number] = self.get(number)
        return held

    def _open(self, number: int) -> TableReader:
        """A new reader, counted."""
        level = self._ledger.level(self._levels.get(number, 0))
        path = table_path(self._path, number)
        reader = TableReader(self._fs, path, number, self._cache, level.gets, level.scans)  # of its kind: see _point
        with self._lock:
            level.opens.tasks += 1
            level.opens.reads += reader.file.load_reads
            level.opens.read_bytes += reader.file.load_bytes
        return reader

    def _point(self, reader: TableReader) -> None:
        """Have a reader count in the books of its table's level."""
        level = self._ledger.level(self._levels.get(reader.number, 0))
        reader.counters = level.gets if reader.bloom is not None else level.bare_gets
        reader.scans = level.scans

    def keep(self, table: TableMeta, newest: Mapping[bytes, Entry], charge: int) -> None:
        """Have a memtable of ``charge`` bytes that is becoming the newest table of level 0 answer for it, if single gets ask.

        With the install lock held.
        """
        if self._since_flush.asked(table.entries // WORTH):
            level = self._ledger.level(0)
            self.kept.keep(table, newest, charge, level.gets if table.filter_bits else level.bare_gets)
        else:
            self.kept.clear()

    def wanted(self, entries: int) -> bool:
        """Whether a merge of so many entries should make what single gets find them by; ask once a merge.

        It is made in another process, so it may cost more there than gets gain here.
        """
        return self._since_merge.asked(entries // WORTH_APART)

    def stay(self, numbers: Iterable[int]) -> None:
        """These tables were about to give their places to others and do not: their finders go, and may be made again."""
        for number in numbers:
            reader = self.readers.get(number)
            if reader is not None:
                self.finders.drop(reader)
                self.finders.new(reader)

    def leave(self, numbers: Iterable[int]) -> None:
        """These tables have given their places to others: finders go at once, though scans may keep the tables for long."""
        for number in numbers:
            reader = self.readers.get(number)
            if reader is not None:
                self.finders.drop(reader)

    def place(self, added: Iterable[tuple[int, int, TableMeta]]) -> None:
        """Learn the levels of tables, given as (level, run, table); open readers count there from now on."""
        with self._lock:
            for level, _, table in added:
                self._levels[table.number] = level
                if level:
                    self.kept.drop(table.number)
                reader = self.readers.get(table.number)
                if reader is not None:
                    self._point(reader)

    def stream(self, number: int, chunk_bytes: int, counts: WorkCounters) -> Iterator[Columns]:
        """Every entry of a table in order, counted by ``counts`` as it is read; for compaction.

        I/O: one read per chunk of about ``chunk_bytes``, past the cache. Errors as :meth:`get`.
        """
        yield from everything(self.get(number), chunk_bytes, counts)

    def _touch(self, number: int) -> None:
        """Count a use."""
        with self._lock:
            if number in self.readers:
                self.readers.move_to_end(number)

    def bound(self, limit: int) -> None:
        """Keep at most so many tables open from now on; what is too much is closed at once."""
        with self._lock:
            self._limit = max(1, min(limit, open_files_limit() // 2))
            while len(self.readers) > self._limit:
                reader = self.readers.popitem(last=False)[1]
                self.finders.drop(reader)
                reader.file.rest()
            self.crowded = self.crowded or len(self.readers) == self._limit

    def use(self, cache: BlockCache | None) -> None:
        """Open tables anew, with another cache or none; who still reads from one goes on with the old."""
        with self._lock:
            self._cache = cache
            self.finders.use(cache)
            self.readers.clear()

    def forget(self, number: int) -> None:
        """Drop a table that is about to be unlinked, and its cached blocks."""
        with self._lock:
            reader = self.readers.pop(number, None)
            self._levels.pop(number, None)
        if reader is not None:
            self.finders.drop(reader)
        self.directory.drop(number)
        self.kept.drop(number)
        if self._cache is not None:
            self._cache.drop(number)

    def clear(self) -> None:
        """Drop all readers, those held included."""
        self.finders.use(None)
        with self._lock:
            self.readers.clear()
            for held in list(self._held):
                held.readers.clear()
        self.kept.clear()
        self.directory.close()

    def forked(self) -> None:
        """In a forked child: give the descriptors back. Takes no lock."""
        self.finders.forked()
        self.readers.clear()
        self.directory.forked()
        self.kept.clear()

    def __len__(self) -> int:
        """Tables open now."""
        return len(self.readers)


def _open_tables(tables: TableCache | None) -> list[TableReader]:
    """The open tables of a set that may be gone."""
    return [] if tables is None else list(tables.readers.values())
