"""Multi-Queue (Zhou, Philbin, Li; USENIX ATC 2001): queues for pages used 1, 2-3, 4-7 ... times, and a memory of evicted ones.

In its original form a page moves to the next lower queue when it has not been used for a *lifetime*; the lowest queue evicts its
oldest page. A page of queue q, last used at s, is therefore in the lowest queue from s + q * lifetime on, and has the place
there of a page that came at that time. So all queues together are one ranking by

    priority = last use + lifetime * log2(uses)

with log2 rounded down to the number of a queue. This is how it is kept here (:class:`Ranked`). We do not round: there is no
reason to treat 3 uses as 2, and it gives some hits more.

The lifetime decides how good it is. By default it is learned (:mod:`lsmkv_tensor.retention.lifetime`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.evictions import doublings
from lsmkv_tensor.retention.lifetime import TOGETHER, Lifetime
from lsmkv_tensor.retention.protocol import Prints
from lsmkv_tensor.retention.ranked import Ranked

__all__ = ["MultiQueue"]


QUEUES = 8
LEAST_GHOSTS = 1 << 14
"""A small store can afford to remember more: these take 210 KiB."""


class MultiQueue(Ranked):
    """Pages used often wait longer for their next use; uses are remembered after eviction."""

    least_ghosts = LEAST_GHOSTS
    together = TOGETHER

    def __init__(self, capacity_bytes: int, lifetime: int | None = None, ghosts: float = 4.0, queues: str = "smooth") -> None:
        """``lifetime``: touches (pages inserted or hit) that each doubling of the uses is worth; None: learned.

        ``ghosts``: see :class:`Ranked`; a small store remembers LEAST_GHOSTS evictions. ``queues``: "smooth", or "whole" for
        log2 rounded down to one of 8 queues, as in the original.
        """
        super().__init__(capacity_bytes, ghosts)
        if lifetime is not None and (type(lifetime) is not int or not 0 <= lifetime < 1 << 40):
            raise ValueError(f"lifetime = {lifetime!r}: must be a whole number of touches, at least 0")
        if queues not in ("smooth", "whole"):
            raise ValueError(f'queues = {queues!r}: must be "smooth" or "whole"')
        self._curve = doublings() if queues == "smooth" else np.minimum(np.floor(doublings()), QUEUES - 1)
        self._lifetime = lifetime
        self._lessons: Lifetime | None = None
        self._before = 0

    @property
    def lifetime(self) -> int:
        """The lifetime in use, in touches."""
        if self._lifetime is not None:
            return self._lifetime
        return self._lessons.lifetime if self._lessons is not None else self._before

    @property
    def learned(self) -> int:
        """The lifetime."""
        return self.lifetime

    def learn(self, learned: int) -> None:
        """Begin with this lifetime."""
        self._before = learned

    def bonus(self) -> NDArray[np.int64]:
        """See :class:`Ranked`."""
        found: NDArray[np.int64] = np.rint(self.lifetime * self._curve).astype(np.int64)
        return found

    def touched(self, prints: Prints, first_stamp: int) -> None:
        """See :class:`Ranked`."""
        if self._lifetime is not None or not len(prints):
            return
        pages = self.pages_in_capacity()
        if self._lessons is None or not self._lessons.capacity_pages // 2 <= pages <= self._lessons.capacity_pages * 2:
            self._lessons = Lifetime(pages, self._curve, self.lifetime)
        if self._lessons.touch(prints, first_stamp):
            self._look_again()
