"""The bytes of whole batches, kept beside the dict so that a flush need not walk its objects.

Most loads are batches of puts with keys of one width and values of one width, and nothing is overwritten before the flush.
Then the joined bytes of the batches *are* the columns: a flush sorts and gathers them in NumPy, at a quarter of the cost of
visiting every key and value, and without holding the interpreter. The first batch that is different ends it, and the flush
walks the dict. Until then the bytes of keys and values are held twice, which ``Memtable.bytes`` does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from lsmkv.base.alike import Alike, alike_of
from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.base.order import sort_order

__all__ = ["PlainBatches"]

FEW = 8
"""Batches smaller than this are not worth remembering."""


class PlainBatches:
    """The batches of one memtable, as long as all are alike."""

    __slots__ = ("_firsts", "_keys", "_overwritten", "_sizes", "_values", "_widths")

    def __init__(self) -> None:
        self._widths: tuple[int, int] | None = None
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._firsts: list[int] = []
        self._sizes: list[int] | None = []
        self._overwritten = False

    def note(self, keys: Sequence[bytes], values: Sequence[bytes | None], first_seq: int, alike: Alike | None = None) -> bool:
        """Remember a batch, or give up on this memtable; whether all its batches have been alike so far."""
        if self._sizes is None:
            return False
        if alike is None:
            alike = _found_alike(keys, values)
        if alike is None or (self._widths is not None and self._widths != alike.widths):
            self._give_up()
            return False
        self._widths = alike.widths
        if self._overwritten:
            return True
        self._keys.append(alike.keys)
        self._values.append(alike.values)
        self._firsts.append(first_seq)
        self._sizes.append(len(keys))
        return True

    def overwritten(self) -> None:
        """A key came a second time: what was joined is more than a flush wants, and would grow with the log."""
        self._keys, self._values, self._firsts, self._overwritten = [], [], [], True

    def _give_up(self) -> None:
        """Forget everything: this memtable is flushed from its dict."""
        self._keys, self._values, self._sizes = [], [], None

    def columns(self, entries: int) -> Columns | None:
        """The batches as sorted columns if they are all there is: exactly ``entries`` entries; else None."""
        if not self._sizes or self._overwritten or self._widths is None or sum(self._sizes) != entries:
            return None
        sizes, (key_width, value_width) = np.array(self._sizes), self._widths
        starts = np.cumsum(sizes) - sizes
        seqs = np.arange(entries) + np.repeat(np.array(self._firsts) - starts, sizes)
        tags = seqs.astype(np.uint64) << np.uint64(8) | np.uint64(1)
        keys = ByteColumn.fixed(np.frombuffer(b"".join(self._keys), np.uint8), entries, key_width)
        values = ByteColumn.fixed(np.frombuffer(b"".join(self._values), np.uint8), entries, value_width)
        return Columns(keys, tags, values).take(sort_order(keys))


def _found_alike(keys: Sequence[bytes], values: Sequence[bytes | None]) -> Alike | None:
    """The batch joined, if it is one of several puts of one width each."""
    if len(keys) < FEW or None in values:
        return None
    key_widths, value_widths = set(map(len, keys)), set(map(len, cast("Sequence[bytes]", values)))
    if len(key_widths) > 1 or len(value_widths) > 1 or key_widths == {0}:
        return None
    return alike_of(keys, values, (key_widths.pop(), value_widths.pop()))
