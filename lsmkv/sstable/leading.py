"""How many keys of a batch are the next entries of a table, one after the other: presence without values.

What a prefix probe asks of the pages of a conversation: they lie side by side, so one comparison of joined bytes a block
answers for all of them, and no Python object is made for any.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from lsmkv.sstable.block import Block
from lsmkv.sstable.quick import Layout, joined_rows, row_in, rows_of

if TYPE_CHECKING:
    from lsmkv.sstable.reader import TableReader

__all__ = ["Stretch", "leading"]


class Stretch(NamedTuple):
    """What a table knows of the first of some keys and those that follow it."""

    found: int
    """Keys from the first on that are entries here side by side, none of them a tombstone."""
    clear: bytes | None
    """If the first is not here: no key from it up to here (exclusive) is either; None: none behind it at all. The first key
    itself if its newest version here is a tombstone."""


def leading(table: TableReader, first: bytes, joined: bytes) -> Stretch:
    """How many of the keys joined end to end in ``joined``, as wide as the ``first`` of them, lie here side by side.

    Requires that they are not empty.

    I/O: one read per block that is not cached.
    """
    width, cached, marks, counters = len(first), table.cached, table.block_tray.marks, table.counters
    index = bisect_left(table.fences, first)
    at, end, row, start = 0, len(joined), 0, 0  # at: bytes of ``joined`` that were found
    while at < end and index < table.blocks:
        block = cached[index]
        if block is not None:
            payload, layout = block.payload, block.layout
            marks[index] = 1
            counters.cache_hits += 1
        else:
            payload, layout, start, block = table.look(index, counters)
        plain = layout if layout is not None and layout[2] + layout[4] == width else None
        row = 0 if at else -1 if plain is None else row_in(payload, plain, first)
        if plain is not None and row >= 0:
            size, whole = _by_layout(payload, plain, joined, at, row)
        else:
            block = block or table.file.from_payload(index, payload, start)
            row = row if at else block.find(first)
            if row < 0:
                return Stretch(0, _bound(table, index, block, first))
            size, whole = _by_block(block, joined[at:], row, width)
        if not at and not size:
            return Stretch(0, first)
        at += size
        if not whole:
            break
        index += 1
    counters.found += at // width
    return Stretch(at // width, None)


def _bound(table: TableReader, index: int, block: Block, key: bytes) -> bytes | None:
    """A key above ``key``, which is not in the table, below which there is none; None: there is none behind it."""
    row = block.lower(key)
    if row < block.entries:
        return block.key(row)
    return table.fences[index] + b"\0" if index + 1 < table.blocks else None


def _by_layout(payload: bytes, layout: Layout, joined: bytes, at: int, row: int) -> tuple[int, bool]:
    """Bytes of the joined keys from ``at`` on that are the rows from ``row`` on, and whether all rows were among them."""
    low, values, each, _, skip = layout
    if skip:
        return _rows_again(payload, layout, joined[at:], row)
    low += row * each
    size = min(values - low, len(joined) - at)
    wanted = joined[at : at + size]
    if payload.startswith(wanted, low):
        return size, low + size == values
    return _common(wanted, payload[low : low + size], each), False


def _rows_again(payload: bytes, layout: Layout, joined: bytes, row: int) -> tuple[int, bool]:
    """:func:`_by_layout` in a block that keeps apart what its keys begin with."""
    rows = rows_of(layout) - row
    width = layout[2] + layout[4]
    n = min(rows, len(joined) // width)
    there = joined_rows(payload, layout, row, n)
    if joined.startswith(there):
        return n * width, n == rows
    return _common(joined, there, width), False


def _by_block(block: Block, joined: bytes, row: int, width: int) -> tuple[int, bool]:
    """:func:`_by_layout` where only the Block can tell: tombstones, keys of several widths or versions."""
    if block.prefix_bytes + block.key_width != width or not block.key_width or block.repeats:
        return width * (block.key(row) == joined[:width] and block.entry(row)[1] is not None), False
    layout = (block.keys_at, block.values_at, block.key_width, 0, block.prefix_bytes)
    size, whole = _rows_again(block.payload, layout, joined, row)
    if block.deletes:
        for i, tag in enumerate(block.tags_list(row, row + size // width)):
            if not tag & 0xFF:
                return i * width, False
    return size, whole


def _common(a: bytes, b: bytes, width: int) -> int:
    """Bytes of the strings of ``width`` bytes that both begin with; ``a`` does not begin with all of ``b``."""
    same, high = 0, len(b) // width  # so many are equal, so many are not
    while high - same > 1:
        middle = (same + high) // 2
        if a.startswith(b[: middle * width]):
            same = middle
        else:
            high = middle
    return same * width
