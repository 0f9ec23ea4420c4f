"""Many bytes objects read as if they were one array, without joining them.

NumPy gathers from one stretch of memory. All objects of a process lie in one: the stretch from the first byte of the lowest to
the last byte of the highest, of which nothing is read but what is inside of them. Joining 20 MB first would hold the
interpreter for 7 ms, and take 20 MB.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsmkv.base.columns import I64, U8, opaque

__all__ = ["WIDE", "Scattered"]

WIDE = 4096
"""Wider strings are copied one by one. NumPy refuses arrays whose length times width is beyond 2^63, and the lowest and the
highest object may be 2^46 bytes apart: one on the heap, one in a mapping of its own."""


class Scattered:
    """The bytes of ``pieces``, at least one, none empty. They are kept alive."""

    __slots__ = ("_ends", "_pieces", "_stretch", "starts")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = tuple(pieces)
        starts = np.array([np.frombuffer(p, np.uint8).__array_interface__["data"][0] for p in self._pieces], np.int64)
        low = int(starts.min())
        self.starts: I64 = starts - low
        """Where each piece begins, in this order; places are counted from the lowest."""
        self._ends = self.starts + np.fromiter(map(len, self._pieces), np.int64, len(self._pieces))
        self._stretch: U8 = np.frombuffer((ctypes.c_ubyte * int(self._ends.max())).from_address(low), np.uint8)

    def gather(self, width: int, places: I64) -> U8:
        """The ``width`` bytes from each of these places on, end to end. Every place and its width lie inside a piece."""
        if not width or not len(places):
            return np.empty(0, np.uint8)
        if width > WIDE:
            return np.concatenate([self._stretch[at : at + width] for at in places.tolist()])
        windows: NDArray[np.void] = np.ndarray((len(self._stretch) - width + 1,), opaque(width), self._stretch, 0, (1,))
        return windows[places].view(np.uint8)

    def check(self, width: int, places: I64) -> None:
        """Assert that every place and its width lie inside a piece."""
        order = np.argsort(self.starts)
        piece = order[np.searchsorted(self.starts[order], places, "right") - 1]
        assert bool((places >= self.starts[piece]).all()), "a place before the first piece"
        assert bool((places + width <= self._ends[piece]).all()), "a place beyond the end of its piece"
