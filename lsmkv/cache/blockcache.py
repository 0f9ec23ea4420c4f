"""A byte-bounded cache of what is kept of blocks: a tray of slots per table and kind, second chance (clock) over all of them.

A lookup reads ``tray.items[i]`` and sets ``tray.marks[i]``: two accesses, no lock, no hashing. Exact recency would cost five
more cache misses a hit, a quarter of a random lookup. Eviction goes around: what is marked stays with its mark lowered, what is
not is trimmed if it can be (some of it goes, the rest gets :data:`LAST_CHANCES` more rounds), else it leaves.

A full cache takes what misses twice within a while (:class:`Rule`): the hit rate of steady traffic is the same, most misses
cost no admission and no eviction, a hot block is in after two, and one long scan cannot flush what others use.

Items are charged what their owner says plus :data:`ENTRY_BYTES`. The cache knows nothing of what they are: scans and batches
keep decoded blocks in one tray, point lookups keep rows (:mod:`lsmkv.sstable.rows`) in another.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from lsmkv.env.sync import Lock

__all__ = ["ENTRY_BYTES", "LAST_CHANCES", "BlockCache", "Tray", "Trim"]

ENTRY_BYTES = 200
"""Overhead of one item: its place in the clock (~130 B), slot and marks, allocator slack."""

FEWEST_SIGHTS = 64
"""A round of misses is at least this long."""

LAST_CHANCES = 3
"""Rounds of the clock that what was trimmed stays without a hit: it is small, and dear to make again."""

TURNS = 255
"""Rounds are numbered from 1 to this, over and over."""

Kind: TypeAlias = Literal["blocks", "rows"]
KINDS: Final[tuple[Kind, ...]] = ("blocks", "rows")

Trim: TypeAlias = Callable[[Any, Any], tuple[Any, int] | None]
"""``trim(note, item)``: what is left of an item and what that is charged; None: it goes as a whole."""


class Rule:
    """When something that missed is taken: always while there is room.

    A full cache takes it at its second miss within a round of as many misses as it holds items, divided by ``share``: with a
    share of 8 a twentieth of the misses of uniform traffic over twice what fits, with one of 1 a third.
    """

    __slots__ = ("missed", "share", "turn")

    def __init__(self, share: int) -> None:
        self.share = share
        self.missed = 0
        self.turn = 1
        """What missed in this round is marked with it."""

    def missed_one(self, held: int) -> None:
        """Count a miss that was not taken by a full cache of so many items; forget the old ones at the end of a round."""
        self.missed += 1
        if self.missed * self.share > held + FEWEST_SIGHTS * self.share:
            self.missed = 0
            self.turn = self.turn % TURNS + 1


class Tray:
    """What is kept of the blocks of one table, of one kind.

    ``items[i]`` is that of block i or None; ``marks[i]`` is set when it is hit: so many rounds of the clock it stays.
    ``items`` has one more slot than there are blocks, always None: a lookup beyond the last block finds nothing there.
    ``notes[i]`` is what the owner of the tray remembers of block i, whether an item is held or not.
    """

    __slots__ = ("_places", "_sights", "_trim", "cache", "items", "marks", "notes")

    def __init__(self, count: int, cache: BlockCache | None, trim: Trim | None = None) -> None:
        self.items: list[Any] = [None] * (count + 1)
        self.notes: list[Any] = [None] * count
        self.marks = bytearray(count)
        self.cache = cache
        self._sights = bytearray(count)
        self._places = array("i", bytes(4 * count))
        self._trim = trim

    def wants(self, index: int, charge: int, rule: Rule) -> bool:
        """Whether something of about this charge that missed should be made and held; ask once per miss."""
        cache, sights = self.cache, self._sights
        if cache is None:
            return False
        if cache.bytes + charge + ENTRY_BYTES <= cache.capacity_bytes:
            return True
        if sights[index] == rule.turn:
            sights[index] = 0
            return True
        sights[index] = rule.turn
        rule.missed_one(len(cache))
        return False

    def wants_block(self, index: int, charge: int) -> bool:
        """:meth:`wants` by the rule for blocks."""
        return self.cache is not None and self.wants(index, charge, self.cache.blocks)

    def room(self, charge: int) -> bool:
        """Whether something of this charge fits without anything else leaving."""
        cache = self.cache
        return cache is not None and cache.bytes + charge + ENTRY_BYTES <= cache.capacity_bytes

    def hold(self, index: int, item: object, charge: int) -> None:
        """Hold an item that was wanted, in place of the one of this block; nothing is held that is larger than the cache."""
        if self.cache is not None:
            self.cache.hold(self, index, item, charge)

    def trimmed(self, index: int) -> tuple[Any, int] | None:
        """What would be left of an item."""
        return None if self._trim is None else self._trim(self.notes[index], self.items[index])

    def let_go(self, index: int) -> None:
        """Hold the item of a block no longer."""
        if self.cache is not None:
            self.cache.let_go(self, index)

    def place(self, index: int) -> int:
        """Where in the clock the item is, if there is one."""
        return self._places[index]

    def show(self, index: int, item: object, place: int) -> None:
        """Put an item out for lookups (the cache's lock is held)."""
        self._places[index] = place
        self.marks[index] = 0
        self.items[index] = item


class BlockCache:
    """What was not used lately goes first once more than ``capacity_bytes`` are charged. Thread-safe.

    Statistics: ``evictions``, ``trims``, ``bytes`` (charged now), ``lent``, ``len(cache)``. ``seed`` is for whoever keeps digests
    in it.
    """

    def __init__(self, capacity_bytes: int, seed: int = 0) -> None:
        self.capacity_bytes = capacity_bytes
        self.seed = seed
        self.bytes = 0
        self.lent = 0
        """Bytes of the capacity that are lent out: what holds values elsewhere takes room from here."""
        self.evictions = 0
        self.trims = 0
        self.blocks, self.rows = Rule(8), Rule(1)
        """When blocks are taken, and when rows."""
        self._lock = Lock()
        self._trays: dict[tuple[int, Kind], Tray] = {}
        self._clock: list[tuple[Tray, int, int] | None] = []  # tray, index and charge of each item; None: a free place
        self._free: list[int] = []  # free places of the clock
        self._hand = 0

    def __len__(self) -> int:
        """Number of items held."""
        return len(self._clock) - len(self._free)

    def tray(self, number: int, kind: Kind, count: int, trim: Trim | None = None) -> Tray:
        """The tray of that kind of table ``number``, which has ``count`` blocks; the same one until the table is dropped."""
        with self._lock:
            tray = self._trays.get((number, kind))
            if tray is None:
                tray = self._trays[number, kind] = Tray(count, self, trim)
            return tray

    def hold(self, tray: Tray, index: int, item: object, charge: int) -> None:
        """See :meth:`Tray.hold`."""
        charge += ENTRY_BYTES
        with self._lock:
            if tray.cache is None or charge > self.capacity_bytes:
                return
            if tray.items[index] is not None:
                self._remove(tray.place(index))
            self.bytes += charge
            while self.bytes > self.capacity_bytes:
                self._advance()
            held = (tray, index, charge)
            if self._free:
                place = self._free.pop()
                self._clock[place] = held
            else:
                place = len(self._clock)
                self._clock.append(held)
            tray.show(index, item, place)

    def let_go(self, tray: Tray, index: int) -> None:
        """See :meth:`Tray.let_go`."""
        with self._lock:
            if tray.cache is not None and tray.items[index] is not None:
                self._remove(tray.place(index))

    def resize(self, capacity_bytes: int) -> None:
        """Hold at most so many bytes from now on, less what is lent out."""
        with self._lock:
            self._fit(capacity_bytes - self.lent)

    def lend(self, charge: int) -> None:
        """Hold so many bytes less from now on (below 0: they are given back)."""
        with self._lock:
            self.lent += charge
            self._fit(self.capacity_bytes - charge)

    def _fit(self, capacity_bytes: int) -> None:
        """Let go of what does not fit (lock held)."""
        self.capacity_bytes = capacity_bytes
        while self.bytes > max(capacity_bytes, 0):
            self._advance()

    def _advance(self) -> None:
        """Advance the clock by one place: an item that was hit stays, another one is trimmed or goes."""
        hand = self._hand if self._hand < len(self._clock) else 0
        self._hand = hand + 1
        held = self._clock[hand]
        if held is None:
            return
        tray, index, charge = held
        if tray.marks[index]:
            tray.marks[index] -= 1
        elif (left := tray.trimmed(index)) is not None:
            item, less = left
            tray.items[index] = item
            tray.marks[index] = LAST_CHANCES
            self._clock[hand] = (tray, index, less + ENTRY_BYTES)
            self.bytes += less + ENTRY_BYTES - charge
            self.trims += 1
        else:
            self._remove(hand)
            self.evictions += 1

    def _remove(self, place: int) -> None:
        """Forget the item at a place of the clock."""
        held = self._clock[place]
        assert held is not None
        tray, index, charge = held
        tray.items[index] = None
        self._clock[place] = None
        self._free.append(place)
        self.bytes -= charge

    def drop(self, number: int) -> None:
        """Forget every block of one file (it was deleted), and hold none of it from now on."""
        with self._lock:
            for kind in KINDS:
                tray = self._trays.pop((number, kind), None)
                if tray is None:
                    continue
                tray.cache = None
                for index, item in enumerate(tray.items):
                    if item is not None:
                        self._remove(tray.place(index))

    def clear(self) -> None:
        """Forget every block."""
        with self._lock:
            for place, held in enumerate(self._clock):
                if held is not None:
                    self._remove(place)
