"""The bytes of whole batches, kept beside the dict so that a flush need not walk its objects.

Most loads are batches of puts with keys of one width and values of one width, and nothing is overwritten before the flush.
Then the joined bytes of the batches, as they went to the log, have all that a flush wants: it sorts and gathers them in NumPy,
at a fraction of the cost of visiting every key and value, and without holding the interpreter. The first batch that is different
ends it, and the flush walks the dict. Until then the bytes of keys and values are held twice, which ``Memtable.bytes`` does not
count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from lsmkv.base.alike import HEAD_BYTES, Alike, alike_of
from lsmkv.base.pauses import UNMINDED, Pause
from lsmkv.base.scattered import Scattered
from lsmkv.memtable.gathering import SortedRows

__all__ = ["PlainBatches"]

FEW = 8
"""Batches smaller than this are not worth remembering."""


class PlainBatches:
    """The batches of one memtable, as long as all are alike."""

    __slots__ = ("_batches", "_given_up", "_overwritten", "_pieces", "_widths")

    def __init__(self) -> None:
        self._widths: tuple[int, int] | None = None
        self._given_up = False
        self._overwritten = False
        self._forget()

    def _forget(self) -> None:
        """Hold nothing."""
        self._pieces: list[bytes] = []
        self._batches: list[tuple[int, int]] = []
        """First sequence number and entries of each piece."""

    def note(self, keys: Sequence[bytes], values: Sequence[bytes | None], first_seq: int, alike: Alike | None = None) -> bool:
        """Remember a batch, or give up on this memtable; whether all its batches have been alike so far."""
        if self._given_up:
            return False
        if alike is None:
            alike = _found_alike(keys, values)
        if alike is None or (self._widths is not None and self._widths != alike.widths):
            self._give_up()
            return False
        self._widths = alike.widths
        if not self._overwritten:
            self._pieces.append(alike.joined)
            self._batches.append((first_seq, alike.entries))
        return True

    def overwritten(self) -> None:
        """A key came a second time: what was joined is more than a flush wants, and would grow with the log."""
        self._forget()
        self._overwritten = True

    def _give_up(self) -> None:
        """Forget everything: this memtable is flushed from its dict."""
        self._forget()
        self._given_up = True

    def rows(self, entries: int, pause: Pause = UNMINDED) -> SortedRows | None:
        """What the batches hold, sorted, if they are all there is: exactly ``entries`` entries; else None.

        ``pause``: as :class:`SortedRows`.
        """
        if not self._batches or self._widths is None:
            return None
        firsts, sizes = np.array(self._batches).T
        if int(sizes.sum()) != entries:
            return None
        key_width, value_width = self._widths
        data = Scattered(self._pieces)
        return SortedRows(data, (data.starts + HEAD_BYTES, sizes, firsts), key_width, value_width, pause)


def _found_alike(keys: Sequence[bytes], values: Sequence[bytes | None]) -> Alike | None:
    """The batch joined, if it is one of several puts of one width each."""
    if len(keys) < FEW or None in values:
        return None
    key_widths, value_widths = set(map(len, keys)), set(map(len, cast("Sequence[bytes]", values)))
    if len(key_widths) > 1 or len(value_widths) > 1 or key_widths == {0}:
        return None
    return alike_of(keys, values, (key_widths.pop(), value_widths.pop()))
