"""Entries as columns: the one shape in which many entries travel (WAL frame, flush, block, merge).

A :class:`ByteColumn` holds n byte strings as one byte array and n+1 offsets; :class:`Columns` holds n entries as a key
column, a tag column (``seq << 8 | kind``) and a value column (empty for tombstones).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["I64", "U8", "U64", "ByteColumn", "Columns", "opaque", "split"]

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

LONG_BYTES = 256
"""Mean length from which copying slice by slice beats a byte-index gather."""


@dataclass(frozen=True, slots=True)
class ByteColumn:
    """n byte strings: string i is ``data[offsets[i]:offsets[i + 1]]``.

    ``width`` is the common length of all strings, or -1 when they differ (a column of 0 strings has width 0).
    ``offsets[0]`` need not be 0: slices share their parent's data.
    """

    data: U8
    offsets: I64
    width: int

    @classmethod
    def from_list(cls, items: Sequence[bytes]) -> ByteColumn:
        """Copy a list of byte strings."""
        n = len(items)
        lengths = np.fromiter(map(len, items), np.int64, n)
        return cls.from_parts(np.frombuffer(b"".join(items), np.uint8), lengths)

    @classmethod
    def from_parts(cls, data: U8, lengths: NDArray[Any]) -> ByteColumn:
        """Bytes laid end to end, and their lengths."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(data, offsets, _common_width(lengths))

    @classmethod
    def fixed(cls, data: U8, n: int, width: int) -> ByteColumn:
        """``n`` strings of ``width`` bytes laid end to end."""
        return cls(data, np.arange(n + 1, dtype=np.int64) * width, width)

    @classmethod
    def concat(cls, parts: Sequence[ByteColumn]) -> ByteColumn:
        """All strings of all parts, in order (copies)."""
        parts = [p for p in parts if len(p)]
        if not parts:
            return cls.fixed(np.empty(0, np.uint8), 0, 0)
        if len(parts) == 1:
            return parts[0]
        data = np.concatenate([p.span() for p in parts])
        lengths = np.concatenate([p.lengths() for p in parts])
        return cls.from_parts(data, lengths)

    def __len__(self) -> int:
        """Number of strings."""
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> bytes:
        """String i (0 <= i < n)."""
        return self.data[self.offsets[i] : self.offsets[i + 1]].tobytes()

    def lengths(self) -> I64:
        """Length of each string, in bytes."""
        return np.diff(self.offsets)

    def span(self) -> U8:
        """The bytes of all strings, end to end (a view)."""
        return self.data[self.offsets[0] : self.offsets[-1]]

    @property
    def nbytes(self) -> int:
        """Bytes of all strings together."""
        return int(self.offsets[-1] - self.offsets[0])

    def slice(self, start: int, stop: int) -> ByteColumn:
        """Strings start..stop-1, sharing the data."""
        offsets = self.offsets[start : stop + 1]
        return ByteColumn(self.data, offsets, self.width if self.width >= 0 else _common_width(np.diff(offsets)))

    def take(self, index: NDArray[Any]) -> ByteColumn:
        """The strings at ``index``, in that order (copies)."""
        if self.width >= 0:
            return ByteColumn.fixed(_rows(self.span(), self.width, index), len(index), self.width)
        width = self._only_length()
        if width:
            starts, stops = self.offsets[index], self.offsets[np.asarray(index) + 1]
            rows = (starts - self.offsets[0])[starts < stops] // width
            return ByteColumn.from_parts(_rows(self.span(), width, rows), stops - starts)
        starts, lengths = self.offsets[index], self.offsets[np.asarray(index) + 1] - self.offsets[index]
        total = int(lengths.sum())
        if total > LONG_BYTES * len(index):
            raw = memoryview(np.ascontiguousarray(self.data)).cast("B")
            ends = (starts + lengths).tolist()
            data = b"".join([raw[a:b] for a, b in zip(starts.tolist(), ends, strict=True)])
            return ByteColumn.from_parts(np.frombuffer(data, np.uint8), lengths)
        ends = np.cumsum(lengths)
        where = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
        return ByteColumn.from_parts(self.data[where], lengths)

    def _only_length(self) -> int:
        """The one length of all strings that are not empty (values beside tombstones), or 0."""
        lengths = np.diff(self.offsets)
        longest = int(lengths.max(initial=0))
        return longest if bool(((lengths == 0) | (lengths == longest)).all()) else 0

    def tolist(self) -> list[bytes]:
        """All strings as Python bytes."""
        if self.width > 0:
            return split(np.ascontiguousarray(self.span()), 0, self.width, len(self))
        raw = self.span().tobytes()
        at = (self.offsets - self.offsets[0]).tolist()
        return [raw[a:b] for a, b in itertools.pairwise(at)]

    def as_fixed(self) -> NDArray[np.bytes_]:
        """Equal-width strings as an ``S{width}`` view, for comparing and searching only.

        NumPy strips trailing zero bytes when it extracts an ``S`` element, so never read keys through this view.
        Requires width > 0.
        """
        return np.ascontiguousarray(self.span()).view(f"S{self.width}")


@dataclass(frozen=True, slots=True)
class Columns:
    """n entries: keys, tags (``seq << 8 | kind``) and values; a sorted run when keys ascend and tags descend within a key."""

    keys: ByteColumn
    tags: U64
    values: ByteColumn

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.tags)

    @property
    def nbytes(self) -> int:
        """Bytes of keys, tags and values."""
        return self.keys.nbytes + self.values.nbytes + 8 * len(self.tags)

    @property
    def widths(self) -> tuple[int, int]:
        """The common width of the keys and that of the values, -1: they differ."""
        return self.keys.width, self.values.width

    def slice(self, start: int, stop: int) -> Columns:
        """Entries start..stop-1, sharing the data."""
        return Columns(self.keys.slice(start, stop), self.tags[start:stop], self.values.slice(start, stop))

    def take(self, index: NDArray[Any]) -> Columns:
        """The entries at ``index``, in that order (copies)."""
        return Columns(self.keys.take(index), self.tags[index], self.values.take(index))

    @classmethod
    def concat(cls, parts: Sequence[Columns]) -> Columns:
        """All entries of all parts, in order (copies)."""
        tags = np.concatenate([p.tags for p in parts]) if parts else np.empty(0, np.uint64)
        return cls(ByteColumn.concat([p.keys for p in parts]), tags, ByteColumn.concat([p.values for p in parts]))


@cache
def opaque(width: int) -> np.dtype[np.void]:
    """The type of an item of so many bytes that means nothing to NumPy."""
    return np.dtype((np.void, width))


def split(data: bytes | U8, start: int, width: int, count: int) -> list[bytes]:
    """``count`` strings of ``width`` > 0 bytes that lie end to end from byte ``start`` on.

    Opaque items become bytes of their full width (``S`` would strip zeros), in a third of the time of slicing.
    """
    items: list[bytes] = np.frombuffer(data, opaque(width), count, start).tolist()
    return items


def _rows(data: U8, width: int, index: NDArray[Any]) -> U8:
    """Rows of ``width`` bytes, end to end (as opaque items: ten times faster than indexing a uint8 matrix)."""
    if not width:
        return np.empty(0, np.uint8)
    return np.ascontiguousarray(data).view(opaque(width)).take(index).view(np.uint8)


def _common_width(lengths: NDArray[Any]) -> int:
    """The one length of all strings, -1 if they differ, 0 for none."""
    if not len(lengths):
        return 0
    first = int(lengths[0])
    return first if bool((lengths == first).all()) else -1
