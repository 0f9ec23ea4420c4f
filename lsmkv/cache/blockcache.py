"""A byte-bounded cache of decoded blocks: a shelf of slots per table, second chance (clock) eviction over all of them.

A lookup reads ``shelf.blocks[i]`` and counts a hit in ``shelf.marks[i]``: two list accesses, no lock, no hashing. Exact
recency would cost five more cache misses a hit, a quarter of a random lookup. Eviction goes around: a block hit since the
last round stays with its count set back, one that was not leaves. A full cache admits a block at the second miss within a
short while (:data:`SIGHT_SHARE`): the hit rate of steady traffic is the same, most misses cost no admission and no eviction,
a hot block is in after two, and one long scan cannot flush what others use.

A block that is hit again may be *heated*: it then also holds a dict from key to entry, three to five times its packed
weight, and answers in 0.1 us instead of 1. While there is free room :data:`WARM_HITS` hits are enough; in a full cache it
takes :data:`HOT_HITS` within a round, and heat has at most 1/:data:`HEAT_SHARE` of the capacity. The clock takes the heat away
before it takes the block. So a working set that fits is fast, a hot part of one that does not fit is fast, and the rest is
packed tight.

Blocks are charged what they say they weigh plus :data:`ENTRY_BYTES`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from lsmkv.env.sync import Lock

__all__ = ["ENTRY_BYTES", "HOT_HITS", "MOST_HITS", "WARM_HITS", "BlockCache", "Cacheable", "Shelf"]

ENTRY_BYTES = 200
"""Overhead of one block: its place in the clock (~110 B), slot and mark, allocator slack."""

SIGHT_SHARE = 8
"""A full cache takes a block that missed twice in a round of as many misses as it holds blocks, divided by this: a twentieth of
the misses of uniform traffic, the second miss of a hot block, nothing of a long scan."""

FEWEST_SIGHTS = 64
"""A round is at least this long."""

WARM_HITS = 2
"""Hits from which a block is worth a dict while there is room for it."""

HOT_HITS = 6
"""Hits in one round of the clock from which a block is worth a dict (20 us to make); uniform traffic rarely gets there."""

MOST_HITS = 255
"""Hits are counted up to here."""

HEAT_SHARE = 4
"""The inverse of the share of a full cache that heated blocks' dicts may take."""


class Cacheable(Protocol):
    """What the cache asks of a block."""

    hot: dict[bytes, Any] | None
    """From key to newest entry, once heated."""

    @property
    def charge(self) -> int:
        """Bytes of memory it holds, packed."""
        ...

    @property
    def heat_charge(self) -> int:
        """Bytes that heating it adds."""
        ...

    def heated(self) -> dict[bytes, Any]:
        """What to put into ``hot``."""
        ...

    def quick(self) -> tuple[bytes, bytes, Any] | None:
        """What a lookup needs of a packed block, apart from the object: its bytes, what tells likely rows, and the layout."""
        ...


class Shelf:
    """The cached blocks of one table. ``blocks[i]`` is a block or None; ``marks[i]`` counts its hits, up to 255.

    ``payloads[i]``, ``tips[i]`` and ``layouts[i]`` are what :meth:`Cacheable.quick` gave, as long as block i is held and
    not heated: a lookup takes what it needs from these lists and leaves the block object, cold memory, alone. A thread that
    finds a payload may find the tips gone; the layout stays.
    """

    __slots__ = ("blocks", "cache", "heat_at", "layouts", "marks", "number", "payloads", "tips")

    def __init__(self, number: int, count: int, cache: BlockCache | None) -> None:
        self.number = number
        self.blocks: list[Any] = [None] * count
        self.payloads: list[bytes | None] = [None] * count
        self.tips: list[bytes | None] = [None] * count
        self.layouts: list[Any] = [None] * count
        self.marks = bytearray(count)
        self.cache = cache
        self.heat_at = cache.heat_at if cache is not None else bytearray([MOST_HITS])
        """``heat_at[0]`` is the number of hits from which :meth:`heat` is worth calling; it changes as the cache fills."""

    def put(self, index: int, block: Cacheable) -> None:
        """Hold a block that missed, if it is its turn (a shelf without a cache holds none)."""
        if self.cache is not None and self.wants(index, block.charge):
            self.cache.hold(self, index, block)

    def wants(self, index: int, charge: int) -> bool:
        """Whether a block of about this charge that missed should be made and held; ask once per miss."""
        cache = self.cache
        if cache is None:
            return False
        if cache.bytes + charge + ENTRY_BYTES <= cache.capacity_bytes:
            return True
        self.heat_at[0] = HOT_HITS
        turn = cache.turn
        if self.marks[index] == turn:
            return True
        self.marks[index] = turn  # of a block that is not held the mark says when it missed last
        cache.missed += 1
        if cache.missed * SIGHT_SHARE > len(cache) + FEWEST_SIGHTS * SIGHT_SHARE:
            cache.next_turn()
        return False

    def hold(self, index: int, block: Cacheable) -> None:
        """Hold a block that was wanted."""
        if self.cache is not None:
            self.cache.hold(self, index, block)

    def heat(self, index: int) -> None:
        """A block was hit often: heat it if the cache can afford that."""
        block = self.blocks[index]
        if self.cache is not None and block is not None and block.hot is None:
            self.cache.heat(self, index, block)

    def show(self, index: int, block: Cacheable | None) -> None:
        """Put out for lookups what a packed block says, or take away what was there (the cache's lock is held)."""
        quick = block.quick() if block is not None else None
        if quick is None:
            self.payloads[index] = self.tips[index] = None
        else:
            payload, self.tips[index], self.layouts[index] = quick
            self.payloads[index] = payload


class BlockCache:
    """Blocks not used lately go first once more than ``capacity_bytes`` are charged. Thread-safe.

    Statistics: ``evictions``, ``heated`` (times), ``cooled`` (times), ``bytes`` (charged now), ``len(cache)``.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.bytes = 0
        self.evictions = 0
        self.heat_bytes = 0
        self.heat_at = bytearray([WARM_HITS])
        self.heated = 0
        self.cooled = 0
        self._lock = Lock()
        self._shelves: dict[int, Shelf] = {}
        self._clock: list[tuple[Shelf, int, int] | None] = []  # shelf, index and charge of each block; None: a free place
        self._free: list[int] = []  # free places of the clock
        self._hot: deque[tuple[Shelf, int]] = deque()  # heated blocks, and some that were
        self._hand = 0
        self.missed = 0
        self.turn = 1
        """Blocks that are not held and are marked so missed lately; 1 to MOST_HITS, over and over."""

    def __len__(self) -> int:
        """Number of blocks held."""
        return len(self._clock) - len(self._free)

    def shelf(self, number: int, count: int) -> Shelf:
        """The shelf of table ``number``, which has ``count`` blocks; the same one at every call until it is dropped."""
        with self._lock:
            shelf = self._shelves.get(number)
            if shelf is None:
                shelf = self._shelves[number] = Shelf(number, count, self)
            return shelf

    def next_turn(self) -> None:
        """Forget which blocks missed lately."""
        self.missed = 0
        self.turn = self.turn % MOST_HITS + 1

    def hold(self, shelf: Shelf, index: int, block: Cacheable) -> None:
        """Hold a block, unless it is held already (a block never changes) or too large."""
        charge = block.charge + ENTRY_BYTES
        with self._lock:
            if shelf.cache is None or shelf.blocks[index] is not None or charge > self.capacity_bytes:
                return
            self.bytes += charge
            while self.bytes > self.capacity_bytes:
                self._turn()
            place = (shelf, index, charge)
            if self._free:
                self._clock[self._free.pop()] = place
            else:
                self._clock.append(place)
            shelf.marks[index] = 0
            shelf.blocks[index] = block
            shelf.show(index, block)

    def _turn(self) -> None:
        """Advance the clock by one place: a block that was hit stays, cooled unless it was hit often; another one goes."""
        hand = self._hand if self._hand < len(self._clock) else 0
        self._hand = hand + 1
        held = self._clock[hand]
        if held is None:
            return
        shelf, index, _ = held
        hits = shelf.marks[index]
        if hits:
            shelf.marks[index] = 0
            if hits < HOT_HITS:
                self._cool(shelf, index)
        else:
            self._remove(hand, held)
            self.evictions += 1

    def _cool(self, shelf: Shelf, index: int) -> None:
        """Take the dict of a heated block away."""
        block = shelf.blocks[index]
        if block.hot is not None:
            block.hot = None
            shelf.show(index, block)
            self.bytes -= block.heat_charge
            self.heat_bytes -= block.heat_charge
            self.cooled += 1

    def _remove(self, place: int, held: tuple[Shelf, int, int]) -> None:
        """Forget the block at a place of the clock."""
        shelf, index, charge = held
        self._cool(shelf, index)
        shelf.show(index, None)
        shelf.blocks[index] = None
        self._clock[place] = None
        self._free.append(place)
        self.bytes -= charge

    def _affords(self, extra: int) -> bool:
        """Whether a dict of this many bytes may be added."""
        capacity = self.capacity_bytes
        return self.bytes + extra <= capacity or (self.heat_bytes + extra) * HEAT_SHARE <= capacity

    def heat(self, shelf: Shelf, index: int, block: Cacheable) -> None:
        """Heat a block that is still held, as far as the cache affords it; else let one that is hot for longest cool."""
        extra = block.heat_charge
        with self._lock:
            if shelf.blocks[index] is not block or block.hot is not None:
                return
            if self.bytes + extra > self.capacity_bytes:
                self.heat_at[0] = HOT_HITS
                if shelf.marks[index] < HOT_HITS:
                    return
            if not self._affords(extra):
                shelf.marks[index] = 1  # ask again when it was hit as often once more
                self._cool_one()
                return
            block.hot = block.heated()
            shelf.show(index, None)
            self._hot.append((shelf, index))
            self.bytes += extra
            self.heat_bytes += extra
            self.heated += 1
            while self.bytes > self.capacity_bytes:
                self._turn()

    def _cool_one(self) -> None:
        """Cool the block that was heated first, unless it was hit often since its last turn."""
        while self._hot:
            shelf, index = self._hot.popleft()
            block = shelf.blocks[index]
            if block is None or block.hot is None:
                continue
            if shelf.marks[index] >= HOT_HITS:
                shelf.marks[index] = 1
                self._hot.append((shelf, index))
            else:
                self._cool(shelf, index)
            return

    def drop(self, number: int) -> None:
        """Forget every block of one file (it was deleted), and hold none of it from now on."""
        with self._lock:
            shelf = self._shelves.pop(number, None)
            if shelf is not None:
                shelf.cache = None
                self._hot = deque(held for held in self._hot if held[0] is not shelf)
                for place, held in enumerate(self._clock):
                    if held is not None and held[0] is shelf:
                        self._remove(place, held)
                self.heat_at[0] = WARM_HITS

    def resize(self, capacity_bytes: int) -> None:
        """Hold at most so many bytes from now on; what is too much is evicted at once."""
        with self._lock:
            self.capacity_bytes = capacity_bytes
            while self.bytes > capacity_bytes:
                self._turn()
            self.heat_at[0] = WARM_HITS

    def clear(self) -> None:
        """Forget every block."""
        with self._lock:
            for place, held in enumerate(self._clock):
                if held is not None:
                    self._remove(place, held)
            self.heat_at[0] = WARM_HITS
