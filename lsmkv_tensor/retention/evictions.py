"""The simple built-in eviction policies: FIFO, LRU, CountLRU. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.ranked import Ranked
from lsmkv_tensor.retention.slots import MOST_USES

__all__ = ["CountLru", "Fifo", "Lru", "doublings"]


def doublings() -> NDArray[np.float64]:
    """log2 of the uses, for 0 (as for 1) .. 255 uses."""
    return np.log2(np.maximum(np.arange(MOST_USES + 1), 1))


class Fifo(Ranked):
    """First in, first out: hits change nothing."""

    moves_on_hit = False


class Lru(Ranked):
    """The least recently used page goes first."""


class CountLru(Ranked):
    """priority = last use + bonus * capacity * log2(uses), the capacity in pages; uses are remembered after eviction."""

    def __init__(self, capacity_bytes: int, bonus: float = 0.5, ghosts: float = 4.0) -> None:
        """``bonus``: what each doubling of the uses is worth, in capacities. ``ghosts``: see :class:`Ranked`."""
        super().__init__(capacity_bytes, ghosts)
        if not 0 <= bonus <= 1024:
            raise ValueError(f"bonus = {bonus}: must be between 0 and 1024")
        self._per_doubling = bonus

    def bonus(self) -> NDArray[np.int64]:
        """See :class:`Ranked`."""
        found: NDArray[np.int64] = np.rint(self._per_doubling * self.capacity_pages * doublings()).astype(np.int64)
        return found
