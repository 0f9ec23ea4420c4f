"""Batches that are alike, sorted: keys and tags as columns, values gathered from where they are as they are wanted.

Values are most of the bytes. They are copied once, from the batches into the part of the flush that is being written, which
stays small enough to be memory that was used before.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from lsmkv.base.columns import I64, U64, ByteColumn, Columns
from lsmkv.base.order import sort_order
from lsmkv.base.pauses import UNMINDED, Pause
from lsmkv.base.scattered import Scattered

__all__ = ["SortedRows"]


class SortedRows:
    """The entries of batches of puts of one shape, by key; every key comes once.

    ``data`` holds the batches; ``places`` are, for each of them, where its first key begins in there, how many entries it has,
    and the sequence number of the first. Behind its keys are its values.
    """

    def __init__(
        self,
        data: Scattered,
        places: tuple[I64, I64, I64],
        key_width: int,
        value_width: int,
        pause: Pause = UNMINDED,
    ) -> None:
        """``pause`` is entered while keys are sorted: that needs no interpreter."""
        starts, sizes, firsts = places
        before = np.cumsum(sizes) - sizes
        number = np.arange(int(sizes.sum()))
        keys = data.gather(key_width, number * key_width + np.repeat(starts - before * key_width, sizes))
        column = ByteColumn.fixed(keys, len(number), key_width)
        with pause:
            order = sort_order(column)
        values_at = number * value_width + np.repeat(starts + sizes * key_width - before * value_width, sizes)
        seqs = number + np.repeat(firsts - before, sizes)
        self._data = data
        self._value_width = value_width
        self._values_at: I64 = values_at[order]
        self._tags: U64 = seqs[order].astype(np.uint64) << np.uint64(8) | np.uint64(1)
        self._keys = column.take(order)

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._tags)

    def part(self, start: int, stop: int) -> Columns:
        """Entries start..stop-1."""
        values = self._data.gather(self._value_width, self._values_at[start:stop])
        column = ByteColumn.fixed(values, stop - start, self._value_width)
        return Columns(self._keys.slice(start, stop), self._tags[start:stop], column)

    def check(self) -> None:
        """Assert every structural invariant."""
        self._data.check(self._value_width, self._values_at)
        keys = self._keys.tolist()
        assert all(a < b for a, b in pairwise(keys)), "keys do not ascend, or one comes twice"
        assert len(keys) == len(self._tags) == len(self._values_at), "columns of several lengths"

    def parts(self, part_bytes: int) -> Iterator[Columns]:
        """All entries, about ``part_bytes`` of keys and values at a time."""
        n = len(self)
        step = max(1, part_bytes // (self._keys.width + self._value_width))
        for start in range(0, n, step):
            yield self.part(start, min(start + step, n))
