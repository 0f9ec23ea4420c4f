"""Pages that may not go: pins, counted by page, and their bytes, which are bounded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.residents import Residents, key_rows
from lsmkv_tensor.vlog.layout import padded

__all__ = ["Pins"]

Slots: TypeAlias = NDArray[np.int64]

MAX_PINS = (1 << 16) - 1
"""Pins on one page."""


class Pins:
    """The part of :class:`lsmkv_tensor.retention.keeper.Keeper` that pins. Its attributes are that one's own."""

    table: Residents
    pinned_bytes: int
    _pin_limit_bytes: int
    _pins_due: dict[bytes, int]

    @abstractmethod
    def fill(self) -> None:
        """Know every page."""

    @abstractmethod
    def find(self, keys: Sequence[bytes]) -> Slots:
        """The slots of those of these keys that are known."""

    @abstractmethod
    def keys(self, slots: Slots) -> list[bytes]:
        """The index keys of the pages in these slots."""

    @abstractmethod
    def sizes(self, slots: Slots) -> NDArray[np.int64]:
        """Bytes the pages in these slots take."""

    def pin(self, keys: Sequence[bytes]) -> list[bool]:
        """Pin pages of distinct keys, in order, while the limit allows; which are pinned now (once more)."""
        if not keys:
            return []
        slots = self.table.find(key_rows(keys))
        if len(slots) == 1:
            return [self._pin_one(int(slots[0]))]
        may = slots >= 0
        may[may] = self.table.pins[slots[may]] < MAX_PINS
        new = may.copy()
        new[may] = self.table.pins[slots[may]] == 0
        sizes = np.zeros(len(slots), np.int64)
        sizes[new] = self.sizes(slots[new])
        may &= ~new | (self.pinned_bytes + np.cumsum(sizes) <= self._pin_limit_bytes)
        self._pin(slots[may])
        flags: list[bool] = may.tolist()
        return flags

    def hold(self, keys: Sequence[bytes]) -> None:
        """Keep these pages from going until :meth:`let_go`, once for each time."""
        slots = self.find(keys)
        self._pin(slots[self.table.pins[slots] < MAX_PINS])

    def pins(self) -> dict[bytes, int]:
        """How often each page is pinned, by index key; those that are not are left out."""
        slots = self.table.slots()
        slots = slots[self.table.pins[slots] > 0]
        return self._pins_due | dict(zip(self.keys(slots), self.table.pins[slots].tolist(), strict=True))

    def _pin_again(self, pins: Mapping[bytes, int]) -> None:
        """Pin those of these pages that are there, so many times each."""
        for key, count in pins.items():
            slots = self.find([key])
            self._pin(slots)
            self.table.pins[slots] = count

    def let_go(self, keys: Sequence[bytes]) -> None:
        """Undo :meth:`hold`, or a pin. A page that was deleted meanwhile is passed over. I/O: :meth:`fill`, after a reopening."""
        if self._pins_due:
            self.fill()
        slots = self.find(keys)
        if len(slots) == 1:
            self._unpin_one(int(slots[0]))
        else:
            self._unpin(slots[self.table.pins[slots] > 0])

    def _pin(self, slots: Slots) -> None:
        """Count a pin more on each page."""
        new = slots[self.table.pins[slots] == 0]
        self.pinned_bytes += int(self.sizes(new).sum())
        self.table.pins[slots] += 1

    def _unpin(self, slots: Slots) -> None:
        """Count a pin less on each page."""
        self.table.pins[slots] -= 1
        free = slots[self.table.pins[slots] == 0]
        self.pinned_bytes -= int(self.sizes(free).sum())

    def _pin_one(self, slot: int) -> bool:
        """:meth:`pin` of one page: arrays of one element would take most of the time of a lookup that locks it."""
        if slot < 0 or (pins := int(self.table.pins[slot])) >= MAX_PINS:
            return False
        if not pins:
            size = padded(int(self.table.lengths[slot]))
            if self.pinned_bytes + size > self._pin_limit_bytes:
                return False
            self.pinned_bytes += size
        self.table.pins[slot] = pins + 1
        return True

    def _unpin_one(self, slot: int) -> None:
        """:meth:`let_go` of one page."""
        pins = int(self.table.pins[slot])
        if pins:
            self.table.pins[slot] = pins - 1
            if pins == 1:
                self.pinned_bytes -= padded(int(self.table.lengths[slot]))
