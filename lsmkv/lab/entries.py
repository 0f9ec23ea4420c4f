"""Entries without values: what a table holds, as far as compaction is concerned, in two NumPy columns.

A key is an integer; a tag is ``sequence number << 1 | live``, so a tombstone has an even tag. Merging does to them what
:func:`lsmkv.read.merge.visible` does to real entries when no snapshot is held: of each key the newest version stays, and
a tombstone goes once nothing older can lie below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["I64", "U32", "Entries", "Sizes", "key_bytes_of", "merge"]

I64: TypeAlias = NDArray[np.int64]
U32: TypeAlias = NDArray[np.uint32]

MOST_SEQ = (1 << 31) - 1
"""Sequence numbers share 32 bits with the live flag."""

TAG_BYTES = 8
"""What an entry takes beside its key and value (:class:`lsmkv.base.columns.Columns`)."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one entry."""

    key_bytes: int
    value_bytes: int

    def raw(self, entries: int, tombstones: int) -> int:
        """Bytes of keys and values; a tombstone has no value."""
        return entries * self.key_bytes + (entries - tombstones) * self.value_bytes


@dataclass(frozen=True, slots=True)
class Entries:
    """Distinct keys, ascending, and their tags."""

    keys: I64
    tags: U32

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.keys)

    def slice(self, start: int, stop: int) -> Entries:
        """Entries start..stop-1, sharing the data."""
        return Entries(self.keys[start:stop], self.tags[start:stop])

    @property
    def tombstones(self) -> int:
        """How many of them are tombstones."""
        return len(self.tags) - int(np.count_nonzero(self.tags & np.uint32(1)))

    def cut(self, table_bytes: int | None, sizes: Sizes) -> list[Entries]:
        """The tables that the engine makes of them: each takes entries until keys, values and tags reach ``table_bytes``.

        None: all of them are one table.
        """
        n = len(self)
        if not n or table_bytes is None:
            return [self] if n else []
        widths = sizes.key_bytes + TAG_BYTES + sizes.value_bytes * (self.tags & np.uint32(1)).astype(np.int64)
        ends = np.cumsum(widths)
        tables: list[Entries] = []
        start = done = 0
        while start < n:
            stop = min(int(np.searchsorted(ends, done + table_bytes)) + 1, n)
            tables.append(self.slice(start, stop))
            start, done = stop, int(ends[stop - 1])
        return tables


def merge(newest_first: Sequence[Entries], *, bottom: bool) -> Entries:
    """One run of several: the newest version of each key; with ``bottom`` no tombstones either."""
    if len(newest_first) == 1:
        keys, tags = newest_first[0].keys, newest_first[0].tags
    else:
        keys = np.concatenate([e.keys for e in newest_first])
        tags = np.concatenate([e.tags for e in newest_first])
        order = np.argsort(keys, kind="stable")
        keys, tags = keys[order], tags[order]
        keep = np.ones(len(keys), np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=keep[1:])
        if not keep.all():
            keys, tags = keys[keep], tags[keep]
    if bottom:
        live = (tags & np.uint32(1)).astype(np.bool_)
        if not live.all():
            keys, tags = keys[live], tags[live]
    return Entries(keys, tags)


def key_bytes_of(key: int) -> bytes:
    """The key as the tree's shape shows it: eight bytes that sort as the integers do (not negative)."""
    return key.to_bytes(8, "big")
