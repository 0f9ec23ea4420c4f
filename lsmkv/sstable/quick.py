"""One value out of a block just read, without making a :class:`~lsmkv.sstable.block.Block`: the way of a lookup that misses.

Five numbers that neighbouring blocks share say where keys and values lie. What they cannot tell is left to the Block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Literal, TypeAlias

__all__ = [
    "Layout",
    "Value",
    "joined_rows",
    "pairs_from",
    "row_in",
    "rows_of",
    "shared",
    "value_in",
    "values_from",
    "values_of",
]

Value: TypeAlias = bytes | Literal[False] | None
"""What a lookup of the present finds; None: a tombstone, False: the key is not here."""

Layout: TypeAlias = tuple[int, int, int, int, int]
"""Where the keys and the values of a block start, the width of either, and of the prefix: all a lookup must know of a block
whose keys have one width, as have its values, and that holds no tombstone and no key twice. Neighbouring blocks share one."""

MOST_LAYOUTS = 1 << 12
"""Layouts remembered for sharing."""

_layouts: dict[Layout, Layout] = {}


def shared(layout: Layout) -> Layout:
    """The one object that stands for this layout."""
    if len(_layouts) > MOST_LAYOUTS:
        _layouts.clear()
    return _layouts.setdefault(layout, layout)


def value_in(payload: bytes, layout: Layout, key: bytes) -> Value:
    """:meth:`Block.value` without a Block, for one that is looked at once; None if only a Block can tell.

    Just read, it is in the processor's cache: searching all of it costs less than making the object.
    """
    low, values, width, each, skip = layout
    if len(key) != skip + width:
        return False
    if skip:
        if not payload.startswith(key[:skip], low - skip):
            return False
        key = key[skip:]
    row = payload.find(key, low, values) - low
    if row < 0:
        return False
    if row % width:
        return None
    values += row // width * each
    return payload[values : values + each]


def row_in(payload: bytes, layout: Layout, key: bytes, start: int = 0) -> int:
    """The row of ``key``; below 0 if it is not here or only a Block can tell. The block begins at byte ``start``."""
    low, values, width, _, skip = layout
    low += start
    if len(key) != skip + width or (skip and not payload.startswith(key[:skip], low - skip)):
        return -1
    at = payload.find(key[skip:], low, values + start) - low
    return at // width if at >= 0 and not at % width else -1


def rows_of(layout: Layout) -> int:
    """How many rows there are."""
    low, values, width, _, _ = layout
    return (values - low) // width


def values_from(payload: bytes, layout: Layout, keys: Sequence[bytes], row: int) -> tuple[bytes, ...] | None:
    """The values of the rows from ``row`` on, if they are exactly these keys of one width, side by side; else None."""
    width = layout[2] + layout[4]
    return values_of(payload, layout, b"".join(keys), row) if len(keys[0]) == width else None


def values_of(payload: bytes, layout: Layout, joined: bytes, row: int, start: int = 0) -> tuple[bytes, ...] | None:
    """:func:`values_from` for keys of the block's width that are joined already. Requires that there are so many rows.

    The block begins at byte ``start`` of the payload.
    """
    low, values, width, each, skip = layout
    low, values = low + start, values + start
    n, odd = divmod(len(joined), width + skip)
    at = low + row * width
    if skip:  # to give the rows their prefix back is cheaper than to take it off the keys, and looks at all of each
        prefix = payload[low - skip : low]
        if odd or joined != prefix + prefix.join(cutter(width, n)(payload, at)):
            return None
    elif odd or not payload.startswith(joined, at):
        return None
    return cutter(each, n)(payload, values + row * each) if each else (b"",) * n


def joined_rows(payload: bytes, layout: Layout, row: int, n: int, start: int = 0) -> bytes:
    """The keys of ``n`` rows from ``row`` on, end to end. The block begins at byte ``start``."""
    low, _, width, _, skip = layout
    low += start
    at = low + row * width
    if not skip or not n:
        return payload[at : at + n * width]
    prefix = payload[low - skip : low]
    return prefix + prefix.join(cutter(width, n)(payload, at))


def pairs_from(payload: bytes, layout: Layout, start: int, stop: int) -> list[tuple[bytes, bytes | None]]:
    """Keys and values of rows start..stop-1."""
    low, values, width, each, skip = layout
    n = stop - start
    keys: Iterable[bytes] = cutter(width, n)(payload, low + start * width)
    if skip:
        prefix = payload[low - skip : low]
        keys = [prefix + key for key in keys]
    return list(zip(keys, cutter(each, n)(payload, values + start * each) if each else (b"",) * n, strict=True))


@lru_cache(1 << 12)
def cutter(width: int, count: int) -> Callable[[bytes, int], tuple[bytes, ...]]:
    """Takes ``count`` strings of ``width`` bytes that lie end to end: a fifth of the time of slicing."""
    return Struct(f"{width}s" * count).unpack_from
