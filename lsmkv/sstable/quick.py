"""One value out of a block without touching a :class:`~lsmkv.sstable.block.Block`: the fastest way of a single get.

A lookup in a cache of tens of megabytes waits for memory, not for the interpreter: the object, its integers, its tags and
half of its keys would each be one more cold line. Five numbers that neighbouring blocks share and the last byte of every key
say where the one key and the one value lie. What they cannot tell is left to the Block.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["Layout", "Value", "shared", "value_by_tip", "value_in"]

Value: TypeAlias = bytes | Literal[False] | None
"""What a lookup of the present finds; None: a tombstone, False: the key is not here."""

Layout: TypeAlias = tuple[int, int, int, int, int]
"""Where the keys and the values of a block start, the width of either, and of the prefix: all a lookup must know of a block
whose keys have one width, as have its values, and that holds no tombstone. Neighbouring blocks share one."""

MOST_LAYOUTS = 1 << 12
"""Layouts remembered for sharing."""

_LOOKS = range(4)
"""Rows whose last byte is the key's that are compared before the whole column is searched."""

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


def value_by_tip(payload: bytes, tips: bytes, layout: Layout, key: bytes) -> Value:
    """:func:`value_in` for a block in cold memory: ``tips``, the last byte of every key, says which rows are worth a look."""
    low, values, width, each, skip = layout
    if len(key) != skip + width:
        return False
    tip = key[-1]
    if skip and not payload.startswith(key[:skip], low - skip):
        return False
    suffix = key[skip:]
    row = tips.find(tip)
    for _ in _LOOKS:
        if row < 0:
            return False
        if payload.startswith(suffix, low + row * width):
            values += row * each
            return payload[values : values + each]
        row = tips.find(tip, row + 1)
    return value_in(payload, layout, key)
