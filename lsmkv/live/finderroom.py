"""How much memory finders get (:mod:`lsmkv.live.finders`): of the block cache, for values, and of the memory for hash columns.

In a store that has outgrown its cache a table gets its share by size, of the cache and of :data:`SPARE` of the memory for hash
columns. A part of it is for favourites, the rest for values that its place finder holds; of what is left, it has the places.
"""

from __future__ import annotations

from typing import NamedTuple

from lsmkv.cache.blockcache import BlockCache
from lsmkv.sstable.finder import PLACE_BYTES, Favourites, FinderMaker, extra_bytes
from lsmkv.sstable.reader import TableReader

__all__ = ["FAVOURED", "SHARE", "SPARE", "Room", "limit", "placed_room", "settled", "value_bytes"]

SHARE = 15 / 16
"""Of the block cache that values held by finders may take."""

SPARE = 1 / 10
"""Of the memory for hash columns that values of place finders may take: an eighth would, by default, push the values of 50 MB out
of the columns."""

FAVOURED = 1 / 32
"""Of a table's share of the cache that favourites may take: 2,000 of 256 bytes in a cache of 32 MiB. Under zipfian traffic to a
million keys the first 2,000 are 57 % of the gets, ten times as many 73 %."""


class Room(NamedTuple):
    """What is set aside for a finder."""

    cached: int
    """Bytes of the block cache."""
    other: int
    """Bytes of the memory for hash columns."""
    placed: bool = False
    """It is a place finder."""
    favourites: int = 0
    """Of the bytes of the cache, those for favourites."""
    spare: int = 0
    """Of the other bytes, those for values."""

    @property
    def values(self) -> int:
        """Bytes of values that a place finder may hold."""
        return self.cached - self.favourites + self.spare


def limit(cache: BlockCache) -> int:
    """Bytes of the cache that finders may take."""
    return int(SHARE * (cache.capacity_bytes + cache.lent))


def placed_room(reader: TableReader, each: int, cached: int, spare: int) -> Room:
    """What to set aside for the place finder of a table with values of ``each`` bytes, given its shares of either memory."""
    entries = reader.properties.meta.entries
    charge = Favourites.charge(reader.properties.key_width, each)
    favourites = int(cached * FAVOURED) // charge * charge
    cached = min(cached, each * entries + favourites)
    spare = min(spare, each * entries + favourites - cached)
    return Room(cached, extra_bytes(entries, placed=True) + spare, placed=True, favourites=favourites, spare=spare)


def settled(room: Room, maker: FinderMaker) -> Room:
    """What a place finder takes indeed, of neither memory more than was set aside: how much it holds is known once it is made."""
    held = maker.held_bytes
    spare = max(0, held - (room.cached - room.favourites))
    other = extra_bytes(maker.entries) + PLACE_BYTES * (maker.entries - held // maker.each) + spare
    assert spare <= room.spare
    assert other <= room.other
    return room._replace(cached=held - spare + room.favourites, other=other, spare=spare)


def value_bytes(reader: TableReader) -> int:
    """Bytes of the values of a table; of its keys, too, where these are of mixed widths."""
    meta, width = reader.properties.meta, reader.properties.key_width
    return meta.raw_bytes - max(width, 0) * meta.entries
