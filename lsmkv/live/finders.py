"""Who gets a finder (:mod:`lsmkv.sstable.finder`): a table that single gets ask often, in a store whose values fit its cache.

The values that a finder holds take the place of rows in the block cache, byte for byte; what it takes beside them counts against
``Options.hash_column_bytes``. With all values one is made only if those of all open tables together fit the share of the cache
that finders may take (:mod:`lsmkv.live.finderroom`). In a store that outgrows it finders with all values go once a table without
one was asked often, and tables get *place finders* instead: such a one holds as many values as its table's share of the memory
has room for, and of the others where they are in the file. Which it holds is left to the hash; what is asked most of the others
becomes a favourite.

A finder is begun once its table was asked for one of :data:`WORTH` of its entries, and made some blocks with every
:data:`PAUSE`-th get, so that few gets wait. Not while flushes or merges run: the table may be about to go.
While one is made, the hashes of its keys take eight bytes an entry more.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from lsmkv.cache.blockcache import BlockCache
from lsmkv.env import background
from lsmkv.env.memory import give_back
from lsmkv.env.rng import seeded
from lsmkv.env.sync import Lock
from lsmkv.errors import CorruptionError, LsmError
from lsmkv.live.directory import Directory
from lsmkv.live.finderroom import SPARE, Room, limit, placed_room, settled, value_bytes
from lsmkv.sstable.access import NEVER
from lsmkv.sstable.finder import (
    LEAST_PLACED,
    MOST_PLACED,
    Favourites,
    Finder,
    FinderMaker,
    UnfitError,
    extra_bytes,
    lookup,
    suits,
)
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

PATIENCE = 32
"""So often a table is put off without a get of the one whose finder is being made: that is asked so seldom that it loses it."""


class Made(NamedTuple):
    """A finder, and what is set aside for it."""

    reader: TableReader
    room: Room


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
        self._made: dict[int, Made] = {}
        self._making: tuple[FinderMaker, Made] | None = None  # what it will be
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
        if making is None or making[1].reader is reader:
            self._refused = 0
        else:  # what is being made goes on meanwhile, so that many tables do not wait for each other's gets
            reader.patience = self._first(reader) // PATIENCE + 1
            self._refused += 1
            if self._refused < PATIENCE:
                reader = making[1].reader
            else:
                self._give_up()
                self._refused = 0
        if self._making is None and not self._begin(reader):
            reader.patience = self._first(reader)
            return
        assert self._making is not None
        maker, made = self._making
        finder = self._step(reader, maker)
        if finder is not None:
            self._making = None
            if made.room.placed:
                made = self._place(made, maker)
            self._made[reader.number] = made
            reader.finder = finder
            give_back()  # the blocks that made room were freed in pieces of 4 KiB, and a part takes 300: half of it would stay

    def _place(self, made: Made, maker: FinderMaker) -> Made:
        """Prepare a table for its place finder, and give back what that does not take (lock held)."""
        reader, room = made.reader, settled(made.room, maker)
        reader.placed_width = maker.each
        reader.favourites = Favourites(room.favourites // Favourites.charge(reader.properties.key_width, maker.each))
        assert self._cache is not None
        self._directory.lend(room.other - made.room.other)
        self._cache.lend(room.cached - made.room.cached)
        return made._replace(room=room)

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
            room = self._directory.room + sum(made.room.other for made in gone)
            cached = self._cached(value_bytes, sum(made.room.cached for made in gone))
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
        return cache is not None and cache.lent - back + value_bytes <= limit(cache)

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
        self._made[reader.number] = Made(reader, Room(lent, extra + values - lent))
        return True

    def _let_go(self, number: int) -> None:
        """Give back what a finder has set aside, and nothing else (lock held)."""
        if (made := self._made.pop(number, None)) is not None:
            self._back(made.room)

    def _begin(self, reader: TableReader) -> bool:
        """Whether a table gets a finder: its making is begun then, and what it will take is set aside."""
        cache, entries = self._cache, reader.properties.meta.entries
        each = suits(reader.file)
        if cache is None or reader.row_tray.cache is not cache:
            return False
        everything = self._everything()
        placed = everything > limit(cache)
        if placed:  # it has outgrown the cache: finders with all values have room that this table, which is asked, needs
            self._clear(cached=True)
        if each < 0 or (placed and not LEAST_PLACED <= each <= MOST_PLACED):
            return False
        room = self._share(reader, cache, each, everything) if placed else Room(each * entries, extra_bytes(entries))
        if not self._directory.lend(room.other):
            return False
        cache.lend(room.cached)
        maker = FinderMaker(reader.file, each, self._seed, cache.seed, room=room.values if placed else None)
        self._making = maker, Made(reader, room)
        return True

    def _share(self, reader: TableReader, cache: BlockCache, each: int, everything: int) -> Room:
        """What a place finder of a table gets in a store with so many bytes of values (lock held).

        If others leave less than half of its share, which they were given when the store was smaller, they go, and come again.
        """
        directory, entries = self._directory, reader.properties.meta.entries
        part = each * entries / everything
        share = int(limit(cache) * part)
        while limit(cache) - cache.lent < share // 2:
            most = max((made for made in self._made.values() if made.room.placed and made.room.cached), key=_part, default=None)
            if most is None:
                break
            self._drop(most.reader.number)
        cached = max(0, min(share, limit(cache) - cache.lent))
        spare = min(int(SPARE * directory.budget_bytes * part), directory.room - extra_bytes(entries, placed=True))
        return placed_room(reader, each, cached, max(0, spare))

    def _everything(self) -> int:
        """Bytes of the values of all open tables that count against the cache."""
        return sum(value_bytes(one) for one in self._open() if not self._elsewhere(one.number))

    def _elsewhere(self, number: int) -> bool:
        """Whether a table has a finder whose values are not counted against the cache."""
        made = self._made.get(number)
        return made is not None and not made.room.cached and not made.room.placed

    def _give_up(self) -> None:
        """Stop making one."""
        if self._making is not None:
            made = self._making[1]
            self._making = None
            self._back(made.room)

    def _back(self, room: Room) -> None:
        """Give back what was set aside."""
        self._directory.lend(-room.other)
        if self._cache is not None:
            self._cache.lend(-room.cached)

    def drop(self, reader: TableReader) -> None:
        """A table is closed or about to be unlinked: its finder goes, and there will be no other."""
        with self._lock:
            reader.wish, reader.patience = None, NEVER
            self._drop(reader.number)
            _lose(reader)  # also of one that has left its place to another

    def _drop(self, number: int) -> None:
        """As :meth:`drop` (lock held)."""
        if self._making is not None and self._making[1].reader.number == number:
            self._give_up()
        if (made := self._made.pop(number, None)) is not None:
            _lose(made.reader)
            self._back(made.room)

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
            small = cache is not None and cache.lent > limit(cache)
            if small or self._directory.room < 0:
                self._clear()
            elif cache is not None and self._everything() <= limit(cache):
                for number in [number for number, made in self._made.items() if made.room.placed]:
                    self._drop(number)

    def _clear(self, *, cached: bool = False) -> None:
        """Let go of all (lock held); ``cached``: of what is being made and of those with all values, if in room of the cache."""
        self._give_up()
        for number, made in list(self._made.items()):
            if not cached or (made.room.cached and not made.room.placed):
                self._drop(number)

    def forked(self) -> None:
        """In a forked child: let go of all. Takes no lock."""
        self._lock = Lock()
        self._making, self._cache = None, None
        for made in self._made.values():
            _lose(made.reader)
        self._made.clear()


def _lose(reader: TableReader) -> None:
    """Take a table's finder."""
    reader.finder = None
    reader.favourites = Favourites(0)


def _part(made: Made) -> float:
    """How much room a place finder has of the cache, as a part of its table's values."""
    return made.room.cached / max(1, value_bytes(made.reader))


def _knows_its_ends(reader: TableReader, finder: Finder) -> bool:
    """Whether a finder that was made elsewhere finds the first and the last key of its table.

    It does not if another version of this program made it: one that was installed while this one runs.
    """
    meta = reader.properties.meta
    return all(isinstance(lookup(finder, key, reader.seed), bytes) for key in (meta.smallest, meta.largest))
