"""Blocks of a table that were checked, as patterns: what some of them side by side are like, worked out once for all such places.

Blocks of entries of one width differ in little: whether their keys begin alike, so that the prefix is kept apart, and how many
bytes a tag takes. So a stretch of a few blocks is one of few patterns, and where its frames, keys and values lie in bytes read
at once needs no arithmetic a block: a table keeps a byte a block that says which layout it has, and a few of those bytes name
the pattern.

A block that begins with an older version of the key before it is of no kind, nor are those that are compressed, hold tombstones,
or whose keys or values differ in width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from typing import NamedTuple, TypeAlias

from lsmkv.sstable.quick import Layout, joined_rows, rows_of

__all__ = ["MOST_BLOCKS", "MOST_ROWS", "Kinds", "Pattern"]

MOST_BLOCKS = 12
"""Blocks of a pattern: longer ones are rarely met twice, and 128 neighbours of 256 bytes lie in eleven."""

MOST_ROWS = 1024
"""Rows of a pattern: to know where they are takes 32 bytes each."""

NARROW = 64
"""Values up to this width are joined and those that are wanted cut out: that takes less than to make some for nothing."""

MOST_KINDS = 255
"""Layouts of a table that have a number; blocks of others are of no kind."""

MOST_PATTERNS = 256
"""Patterns that a table knows, and that all tables share: at most 8 MiB, if every block is full of tiny entries."""


Cut: TypeAlias = Callable[[bytes, int], Sequence[bytes]]
"""Takes strings out of bytes in which the first frame starts at the given place."""


class Pattern(NamedTuple):
    """Some blocks side by side whose keys have one width, as have their values."""

    width: int
    """Of a key, prefix included."""
    rows: int
    """Of the first block."""
    blocks: int
    frames: tuple[slice, ...]
    """Where each frame lies in the bytes of all."""
    keys: Cut
    """Gives the joined keys of each block."""
    values: Cut
    """Gives the value of each row, or if they are narrow the joined values of each block."""
    narrow: int
    """Width of a narrow value, else 0."""


class Kinds:
    """What the checked blocks of one table are like. Thread-safe: all that is stored stays true."""

    __slots__ = ("_kinds", "_layouts", "_numbers", "_patterns")

    def __init__(self, count: int) -> None:
        self._kinds = bytearray(count)
        self._numbers: dict[Layout, int] = {}
        self._layouts: list[Layout] = []
        self._patterns: dict[bytes, Pattern] = {}

    def know(self, index: int, layout: Layout) -> None:
        """Block ``index`` was checked, lies in the file as it is, has this layout, and begins with a key of its own."""
        number = self._numbers.get(layout)
        if number is None:
            if len(self._layouts) >= MOST_KINDS:
                return
            self._layouts.append(layout)  # another thread may append the same one: then both mean the first
            number = self._numbers[layout] = self._layouts.index(layout) + 1
        if number <= MOST_KINDS:
            self._kinds[index] = number

    def patterns(self, index: int, stop: int, width: int) -> Sequence[Pattern] | None:
        """Of blocks ``index`` to ``stop - 1``, some at a time; None if some are not alike, or have keys of another width."""
        known = self._patterns
        if stop - index <= MOST_BLOCKS and (pattern := known.get(bytes(self._kinds[index:stop]))) is not None:
            return (pattern,) if pattern.width == width else None
        found: list[Pattern] = []
        for at in range(index, stop, MOST_BLOCKS):
            name = bytes(self._kinds[at : min(at + MOST_BLOCKS, stop)])
            pattern = known.get(name) or self._meet(name)
            if pattern is None or pattern.width != width:
                return None
            found.append(pattern)
        return found

    def _meet(self, name: bytes) -> Pattern | None:
        """The pattern of a name that is new, remembered if there is one."""
        if 0 in name:
            return None
        pattern = _pattern(tuple([self._layouts[number - 1] for number in name]))
        if pattern is not None:
            if len(self._patterns) >= MOST_PATTERNS:
                self._patterns.clear()
            self._patterns[name] = pattern
        return pattern


@lru_cache(MOST_PATTERNS)
def _pattern(layouts: tuple[Layout, ...]) -> Pattern | None:
    """The pattern of blocks with these layouts; None if their entries differ in width, have no value, or are too many."""
    widths = {(width + skip, each) for _, _, width, each, skip in layouts}
    width, each = widths.pop()
    rows = [rows_of(layout) for layout in layouts]
    if widths or not each or sum(rows) > MOST_ROWS:
        return None
    frames: list[slice] = []
    end, values, narrow = 0, [], each if each <= NARROW else 0
    for (_, values_at, *_), n in zip(layouts, rows, strict=True):
        frames.append(slice(end, end + values_at + n * each))
        end += values_at + n * each
        values.append(f"{values_at}x" + (f"{n * each}s" if narrow else f"{each}s" * n))
    return Pattern(width, rows[0], len(rows), tuple(frames), _keys(layouts, frames), Struct("".join(values)).unpack_from, narrow)


def _keys(layouts: Sequence[Layout], frames: Sequence[slice]) -> Cut:
    """What gives the joined keys of each block with these layouts, whose frames lie there."""
    if not any(skip for *_, skip in layouts):
        parts, end = [], 0
        for (low, values_at, *_), frame in zip(layouts, frames, strict=True):
            parts.append(f"{frame.start + low - end}x{values_at - low}s")
            end = frame.start + values_at
        return Struct("".join(parts)).unpack_from
    places = [(layout, frame.start, rows_of(layout)) for layout, frame in zip(layouts, frames, strict=True)]
    return lambda data, at: [joined_rows(data, layout, 0, n, at + start) for layout, start, n in places]
