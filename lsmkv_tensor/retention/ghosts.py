"""Ghosts: what is remembered of evicted pages, 13 bytes each and a little slack.

A ghost is a print, how often the page had been used, and which eviction it was. It is remembered for ``limit`` evictions,
however many others came back in the meantime. Ghosts lie in arrays sorted by print; new ones wait in a dict and are merged in
when it has grown to a part of the arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.protocol import Prints

__all__ = ["Ghosts"]

Uses = NDArray[np.uint8]
SHARE = 64
"""New ghosts wait until they are 1/64 of the limit."""
LEAST, MOST = 256, 1 << 13


class Ghosts:
    """Evicted pages by print."""

    def __init__(self) -> None:
        self.limit = 0
        """For how many evictions one is remembered."""
        self.evictions = 0
        """Evictions ever told of."""
        self._prints: Prints = np.zeros(0, dtype=np.uint64)
        self._numbers: NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)
        self._uses: Uses = np.zeros(0, dtype=np.uint8)
        self._base = 0
        """The eviction that number 0 stands for."""
        self._new: dict[int, tuple[int, int]] = {}

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays (what waits in the dict is bounded)."""
        return self._prints.nbytes + self._numbers.nbytes + self._uses.nbytes

    def add(self, prints: Prints, uses: Uses) -> None:
        """Remember pages just evicted, in this order."""
        for one, used in zip(prints.tolist(), uses.tolist(), strict=True):
            self.evictions += 1
            self._new[one] = (self.evictions, used)
        if len(self._new) >= min(max(self.limit // SHARE, LEAST), MOST):
            self._merge()

    def take(self, prints: Prints) -> Uses:
        """How often each page had been used, 0 for those that are not remembered; they are forgotten."""
        found = np.zeros(len(prints), dtype=np.uint8)
        oldest = self.evictions - self.limit
        if len(self._prints):
            at = np.minimum(np.searchsorted(self._prints, prints), len(self._prints) - 1)
            known = (self._prints[at] == prints) & (self._numbers[at].astype(np.int64) + self._base > oldest)
            found[known] = self._uses[at[known]]
            self._uses[at[known]] = 0
        if self._new:
            for i, one in enumerate(prints.tolist()):
                number, used = self._new.pop(one, (oldest, 0))
                if number > oldest:
                    found[i] = used
        return found

    def listed(self) -> tuple[Prints, Uses]:
        """All ghosts, the oldest first."""
        self._merge()
        order = np.argsort(self._numbers, kind="stable")
        return self._prints[order], self._uses[order]

    def _merge(self) -> None:
        """Put the new ones into the arrays, drop those that came back or are too old."""
        new = sorted(self._new.items())
        self._new.clear()
        oldest = self.evictions - self.limit
        keep = (self._uses > 0) & (self._numbers.astype(np.int64) + self._base > oldest)
        new = [(one, told) for one, told in new if told[0] > oldest]
        shift = max(oldest - self._base, 0)  # the limit may have grown
        prints = np.array([one for one, _ in new], dtype=np.uint64)
        old, numbers, uses = self._prints[keep], self._numbers[keep] - np.uint32(shift), self._uses[keep]
        self._base += shift
        at = np.searchsorted(old, prints)
        self._prints = np.insert(old, at, prints)
        self._numbers = np.insert(numbers, at, np.array([told[0] - self._base for _, told in new], dtype=np.uint32))
        self._uses = np.insert(uses, at, np.array([told[1] for _, told in new], dtype=np.uint8))
