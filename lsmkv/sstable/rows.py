"""What point lookups keep of a block: where each row is and how to know it again.

::

    tips      n bytes       one byte of each key: which rows are worth a look
    seals     8 n bytes     xxh3 of key and value, seeded anew in every process: whether what was found is that key's value
    ends      u32 [n + 1]   where each value starts in the value column; only if values differ in length
    values    end to end    only while there is room for them: without, a row is read from the file

A lookup makes no key and compares none: key and value, sealed together, match the eight bytes kept or they do not, with the
certainty of the block's own checksum. Values read from the file need no other check, so a lookup reads the 28 bytes it wants
instead of the 4,096 around them, and a row that was damaged, or was written over in memory, is not believed either.

Of small entries the rows weigh half of their block with the values and a ninth without. All is one string, because a random
lookup waits for memory and not for the interpreter: an object a part would be three more cold lines and two more pages. Blocks
with tombstones or with more than :data:`MOST_ROWS` rows are not kept this way.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, TypeAlias

from xxhash import xxh3_64_digest, xxh3_64_intdigest

if TYPE_CHECKING:
    from lsmkv.sstable.block import Block

__all__ = ["MOST_TRIES", "RowLayout", "Rows", "fits", "make_rows", "tip_of", "trim", "weight"]

MOST_ROWS = 512
"""With more rows than this, too many share a tip."""

MOST_TRIES = 8
"""Rows with the key's tip that are looked at before the block itself is asked."""

SEAL_BYTES = 8

MOST_LAYOUTS = 1 << 12
"""Layouts remembered for sharing."""

OBJECT_BYTES = 48
"""Of the string beside what it holds, rounded up."""

LAYOUT_BYTES = 200
"""Of a layout that no neighbour shares: that of values which differ in length."""

ENDS = Struct("<II")

Rows: TypeAlias = bytes


RowLayout: TypeAlias = tuple[int, int, int, int, int, bool]
"""Where things are in the rows of a block; neighbouring blocks share one. In this order:

rows; width of every value (-1: they differ, and there are ends); where the values start, if they are held; where the value
column starts in the block's frame in the file (0: rows cannot be read from there, it is compressed); bytes of that column;
whether the tip of a key is its last byte and values have one width, the fast way (else the tip is a byte of the key's hash)."""


_layouts: dict[RowLayout, RowLayout] = {}


def fits(block: Block) -> bool:
    """Whether a block can be kept this way."""
    return block.entries <= MOST_ROWS and not block.deletes


def make_rows(block: Block, seed: int, *, held: bool) -> tuple[Rows, RowLayout]:
    """The rows of a block that :func:`fits`, with the values if they are to be ``held`` (or cannot be read by themselves)."""
    n = block.entries
    keys, values = block.keys_list(0, n), block.values_list(0, n)
    each = block.value_each
    tips = block.last_bytes() if each >= 0 else b""
    plain = 2 * len(set(tips)) > n
    if not plain:
        tips = bytes(map(tip_of, keys))
    seals = b"".join([xxh3_64_digest(key + value, seed) for key, value in zip(keys, values, strict=True)])  # type: ignore[operator] # no tombstones
    ends = b"" if each >= 0 else block.value_ends_bytes()
    at = (1 + SEAL_BYTES) * n + len(ends)
    column = block.payload[block.values_at :]
    layout = (n, each, at, block.values_at if block.in_place else 0, len(column), plain)
    if len(_layouts) > MOST_LAYOUTS:
        _layouts.clear()
    parts = (tips, seals, ends, column if held or not block.in_place else b"")
    return b"".join(parts), _layouts.setdefault(layout, layout)


def tip_of(key: bytes) -> int:
    """The tip of a key where last bytes are too much alike."""
    return xxh3_64_intdigest(key) & 0xFF


def weight(layout: RowLayout, rows: Rows) -> int:
    """What rows are charged in the cache."""
    return len(rows) + OBJECT_BYTES + (LAYOUT_BYTES if layout[1] < 0 else 0)


def trim(layout: RowLayout, rows: Rows) -> tuple[Rows, int] | None:
    """Rows without their values, and what they weigh; None if there are none, or if a row cannot be read from the file."""
    values_at, column_at = layout[2:4]
    if not column_at or len(rows) <= values_at:
        return None
    left = rows[:values_at]
    return left, weight(layout, left)
