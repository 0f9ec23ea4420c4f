"""Who gets a finder (:mod:`lsmkv.sstable.finder`): a table that single gets ask often, in a store whose values fit its cache.

The values that a finder holds take the place of rows in the block cache, byte for byte; what it takes beside them counts against
``Options.hash_column_bytes``. One is made only if the values of all open tables together fit :data:`SHARE` of the cache. Beyond
that what is asked most must stay, and the cache's clock knows what that is, a finder does not: in a store that outgrows its cache
those with values go once a table without one was asked often. Its tables get *place finders* instead, which hold where each value
is in the file. Now and then a get goes the way of the block, so that the cache, asked first, holds what is asked most as before.

A finder is begun once its table was asked for one of :data:`WORTH` of its entries, and made some blocks with every
:data:`PAUSE`-th get, so that few gets wait. Not while flushes or merges run: the table may be about to go.
While one is made, the hashes of its keys take eight bytes an entry more.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from lsmkv.cache.blockcache import BlockCache
from lsmkv.env import background
from lsmkv.env.memory import give_back
from lsmkv.env.rng import seeded
from lsmkv.env.sync import Lock
from lsmkv.errors import CorruptionError, LsmError
from lsmkv.live.directory import Directory
from lsmkv.sstable.access import NEVER
from lsmkv.sstable.finder import LEAST_PLACED, MOST_PLACED, Finder, FinderMaker, UnfitError, extra_bytes, lookup, suits
from lsmkv.sstable.finderbytes import PackedFinder, unpack
from lsmkv.sstable.reader import TableReader

__all__ = ["FEWEST", "PAUSE", "WORTH", "Finders"]

Read: TypeAlias = Callable[[int, int], bytes]

WORTH = 8
"""A finder is begun once its table was asked for one of so many of its entries: making one costs 0.9 us an entry, and it saves
each get 1.5."""

FEWEST = 512
"""Gets that a table must have had at least."""

PAUSE = 128
"""Gets of a table between two steps of making its finder: a step takes a millisecond, which the 99th percentile does not see."""

SHARE = 7 / 8
"""Of the block cache that values held by finders may take."""

PATIENCE = 32
"""So often a table is put off without a get of the one whose finder is being made: that is asked so seldom that it loses it."""


class Finders:
    """The finders of one store's tables. One thread at a time makes them; losing and using them needs no lock of the caller."""

    __slots__ = ("__weakref__", "_cache", "_directory", "_lock", "_made", "_making", "_open", "_refused", "_seed", "_tell")

    def __init__(self, cache: BlockCache | None, directory: Directory, readers: Callable[[], Iterable[TableReader]]) -> None:
        """``readers``: the open tables. ``directory``: whose budget is shared."""
        self._cache = cache
        self._directory = directory
        self._open = readers
        self._seed = seeded().getrandbits(64)
        self._lock = Lock()
        self._made: dict[int, tuple[TableReader, int, int]] = {}  # reader, bytes of the cache, other bytes
        self._making: tuple[TableReader, FinderMaker, int, int] | None = None  # as in _made; the maker
        self._refused = 0
        me = weakref.ref(self)  # tables must not keep alive what keeps them: their files close when the last user drops them

        def tell(reader: TableReader) -> None:
            """Pass a wish on."""
            finders = me()
            if finders is not None:
                finders.wish(reader)

        self._tell = tell

    def new(self, reader: TableReader) -> None:
        """Watch a table that was opened."""
        reader.wish, reader.patience = self._tell, self._first(reader)

    @staticmethod
    def _first(reader: TableReader) -> int:
        """Gets until a table may get a finder."""
        return max(FEWEST, reader.properties.meta.entries // WORTH)

    def wish(self, reader: TableReader) -> None:
        """A table was asked often. Never fails: what is wrong with its file is the business of who needs it.

        I/O: at most one read of some blocks.
        """
        reader.patience = PAUSE
        if background.running or not self._lock.acquire(blocking=False):
            return
        try:
            if reader.wish is not None:  # not dropped meanwhile
                self._advance(reader)
        finally:
            self._lock.release()

    def _advance(self, reader: TableReader) -> None:
        """Begin or go on."""
        making = self._making
        if making is None or making[0] is reader:
            self._refused = 0
        else:  # what is being made goes on meanwhile, so that many tables do not wait for each other's gets
            reader.patience = self._first(reader) // PATIENCE + 1
            self._refused += 1
            if self._refused < PATIENCE:
                reader = making[0]
            else:
                self._give_up()
                self._refused = 0
        if self._making is None and not self._begin(reader):
            reader.patience = self._first(reader)
            return
        assert self._making is not None
        _, maker, cached, other = self._making
        finder = self._step(reader, maker)
        if finder is not None:
            self._made[reader.number] = reader, cached, other
            self._making = None
            if maker.placed:
                reader.placed_width = maker.each  # first: gets go on meanwhile
                reader.places = finder
            else:
                reader.finder = finder
            give_back()  # the blocks that made room were freed in pieces of 4 KiB, and a part takes 300: half of it would stay

    def _step(self, reader: TableReader, maker: FinderMaker) -> Finder | None:
        """One step; the finder after the last one. If that fails nothing is being made any more."""
        try:
            return maker.advance(reader.counters)
        except (CorruptionError, UnfitError) as error:
            self._give_up()
            if maker.placed and type(error) is UnfitError:  # with its values it may fit one day
                reader.patience = self._first(reader)
            else:
                reader.wish, reader.patience = None, NEVER
        except LsmError:  # the disk may do better when the table was asked as often once more
            self._give_up()
            reader.patience = self._first(reader)
        except BaseException:
            self._give_up()
            raise
        return None

    def seeds(self, entries: int, value_bytes: int, leaving: Iterable[int]) -> tuple[int, int] | None:
        """With which seeds (of hashes, of seals) to make finders elsewhere for tables that take the place of others.

        None: there will be no room for all of them.
        """
        with self._lock:
            cache = self._cache
            if cache is None or entries <= 0:
                return None
            gone = [made for number in leaving if (made := self._made.get(number)) is not None]
            extra = extra_bytes(entries)
            room = self._directory.room + sum(made[2] for made in gone)
            cached = self._cached(value_bytes, sum(made[1] for made in gone))
            return (self._seed, cache.seed) if extra + (0 if cached else value_bytes) <= room else None

    def adopt(self, finders: Sequence[tuple[TableReader, PackedFinder]], leaving: Iterable[int], read: Read) -> None:
        """Take finders that were made elsewhere, as far as there is room, for tables that will take the place of others.

        What those had set aside is given back at once; they keep their finders until they are dropped, because they are still
        asked: for so long there is more in memory than the budgets say. ``read(size, offset)``: the bytes of the finders.

        Values that do not all fit the block cache count against the memory for hash columns.
        """
        with self._lock:
            for number in leaving:
                self._let_go(number)
            cached = self._cached(sum(packed.each * packed.entries for _, packed in finders))
            for reader, packed in finders:
                if not self._set_aside(reader, packed, cached=cached):
                    continue
                try:
                    finder = unpack(packed, read)
                except BaseException:
                    self._let_go(reader.number)
                    raise
                if _knows_its_ends(reader, finder):
                    reader.finder = finder
                else:
                    self._let_go(reader.number)

    def _cached(self, value_bytes: int, back: int = 0) -> bool:
        """Whether so many bytes of values fit the cache's share once ``back`` bytes of it are given back (lock held)."""
        cache = self._cache
        return cache is not None and cache.lent - back + value_bytes <= SHARE * (cache.capacity_bytes + cache.lent)

    def _set_aside(self, reader: TableReader, packed: PackedFinder, *, cached: bool) -> bool:
        """Whether there is room for a finder: it is set aside then, that of its values in the cache or not (lock held)."""
        cache, entries = self._cache, reader.properties.meta.entries
        if cache is None or reader.row_tray.cache is not cache or packed.seeds != (self._seed, cache.seed):
            return False
        if reader.wish is None:  # dropped meanwhile, for others that are open: nobody will ask this reader
            return False
        values, extra = packed.each * entries, extra_bytes(entries)
        lent = values if cached else 0
        if not self._directory.lend(extra + values - lent):
            return False
        cache.lend(lent)
        self._made[reader.number] = reader, lent, extra + values - lent
        return True

    def _let_go(self, number: int) -> None:
        """Give back what a finder has set aside, and nothing else (lock held)."""
        if (made := self._made.pop(number, None)) is not None:
            self._back(made[1], made[2])

    def _begin(self, reader: TableReader) -> bool:
        """Whether a table gets a finder: its making is begun then, and what it will take is set aside."""
        cache, entries = self._cache, reader.properties.meta.entries
        each = suits(reader.file)
        if cache is None or reader.row_tray.cache is not cache:
            return False
        placed = self._outgrown(cache)
        if placed:  # it has outgrown the cache: finders with values have room that this table, which is asked, needs
            self._clear(cached=True)
        if each < 0 or (placed and not LEAST_PLACED <= each <= MOST_PLACED):
            return False
        other, cached = extra_bytes(entries, placed=placed), 0 if placed else each * entries
        if not self._directory.lend(other):
            return False
        cache.lend(cached)
        self._making = reader, FinderMaker(reader.file, each, self._seed, cache.seed, placed=placed), cached, other
        return True

    def _outgrown(self, cache: BlockCache) -> bool:
        """Whether the values of all open tables are more than finders may hold."""
        everything = sum(_value_bytes(one) for one in self._open() if not self._elsewhere(one.number))
        return everything > SHARE * (cache.capacity_bytes + cache.lent)

    def _elsewhere(self, number: int) -> bool:
        """Whether a table has a finder whose values are not counted against the cache."""
        made = self._made.get(number)
        return made is not None and not made[1] and made[0].places is None

    def _give_up(self) -> None:
        """Stop making one."""
        if self._making is not None:
            _, _, cached, other = self._making
            self._making = None
            self._back(cached, other)

    def _back(self, cached: int, extra: int) -> None:
        """Give back what was set aside."""
        self._directory.lend(-extra)
        if self._cache is not None:
            self._cache.lend(-cached)

    def drop(self, reader: TableReader) -> None:
        """A table is closed or about to be unlinked: its finder goes, and there will be no other."""
        with self._lock:
            reader.wish, reader.patience = None, NEVER
            self._drop(reader.number)
            reader.finder = reader.places = None  # also of one that has left its place to another

    def _drop(self, number: int) -> None:
        """As :meth:`drop` (lock held)."""
        if self._making is not None and self._making[0].number == number:
            self._give_up()
        if (made := self._made.pop(number, None)) is not None:
            reader, cached, extra = made
            reader.finder = reader.places = None
            self._back(cached, extra)

    def use(self, cache: BlockCache | None) -> None:
        """Let go of all, and begin anew with another cache or none."""
        with self._lock:
            self._clear()
            self._cache = cache

    def bound(self) -> None:
        """The budgets have changed: if the finders take more than they may now, all go. Those that pay are made again.

        So are place finders, with the values, if there is room for these now.
        """
        with self._lock:
            cache = self._cache
            small = cache is not None and cache.lent > SHARE * (cache.capacity_bytes + cache.lent)
            if small or self._directory.room < 0:
                self._clear()
            elif cache is not None and not self._outgrown(cache):
                for number in [number for number, made in self._made.items() if made[0].places is not None]:
                    self._drop(number)

    def _clear(self, *, cached: bool = False) -> None:
        """Let go of all (lock held); ``cached``: only of those that have room of the cache, and of what is being made."""
        self._give_up()
        for number in [number for number, made in self._made.items() if made[1] or not cached]:
            self._drop(number)

    def forked(self) -> None:
        """In a forked child: let go of all. Takes no lock."""
        self._lock = Lock()
        self._making, self._cache = None, None
        for reader, _, _ in self._made.values():
            reader.finder = reader.places = None
        self._made.clear()


def _knows_its_ends(reader: TableReader, finder: Finder) -> bool:
    """Whether a finder that was made elsewhere finds the first and the last key of its table.

    It does not if another version of this program made it: one that was installed while this one runs.
    """
    meta = reader.properties.meta
    return all(isinstance(lookup(finder, key, reader.seed), bytes) for key in (meta.smallest, meta.largest))


def _value_bytes(reader: TableReader) -> int:
    """Bytes of the values of a table; of its keys, too, where these are of mixed widths."""
    meta, width = reader.properties.meta, reader.properties.key_width
    return meta.raw_bytes - max(width, 0) * meta.entries
