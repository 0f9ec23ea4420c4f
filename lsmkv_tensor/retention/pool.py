"""The pages that go first, in order, without keeping all pages in order.

Every page has a rank: (priority, stamp), the lowest goes first. Touching a page gives it a new stamp, and with it a rank that
is never lower than before. So it is enough to look at all pages now and then, to take the lowest few into a *pool* with the
highest of their priorities as its *bound*, and from then on to skip what was touched since. Who is outside the pool stays
above the bound, except for pages touched later whose new rank is at most the bound: these join it (``offer``).

This is exact, and costs what a linked list in arrays would cost, without its 8 bytes a page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.protocol import Pages
from lsmkv_tensor.retention.slots import SlotArrays

__all__ = ["Pool", "Priorities"]

Ints: TypeAlias = NDArray[np.int64]
Priorities: TypeAlias = Callable[[NDArray[np.uint32], NDArray[np.uint8]], Ints]
"""Priorities from stamps and uses; at least the stamp."""

SHARE = 64
"""A look takes the lowest 1/64 of all pages."""
LEAST, MOST = 256, 1 << 14
"""Pages, at least and at most."""
CHUNK = 1 << 16
"""Slots looked at together: bounds memory."""
NONE_BELOW = -1
"""The bound of an empty pool: every priority is higher."""


class Pool:
    """The lowest ranks of what is in ``slots``."""

    def __init__(self, slots: SlotArrays) -> None:
        self._slots = slots
        self._late: list[tuple[Ints, Ints, Pages]] = []
        self.forget()

    def forget(self) -> None:
        """Ranks are no longer what they were: look again at the next question."""
        empty = np.zeros(0, dtype=np.int64)
        self._ranks, self._stamps, self._pages = empty, empty, empty
        self._late.clear()
        self._waiting = 0
        self.bound = NONE_BELOW
        self.whole = False
        """Whether every page was in the pool when it was filled."""

    def offer(self, priorities: Ints, stamps: NDArray[np.uint32], pages: Pages) -> None:
        """These pages were just touched, in this order."""
        joins = priorities <= self.bound
        if joins.any():
            self._waiting += int(joins.sum())
            if self._waiting > MOST:  # nobody has asked for victims for long
                self.forget()
                return
            self._late.append((priorities[joins], stamps[joins].astype(np.int64), pages[joins]))

    def front(self, nbytes: int) -> Pages | None:
        """The first pages in order of rank, together at least ``nbytes``; None if the pool holds fewer."""
        self._merge()
        start, step, found, total = 0, LEAST, [], 0
        while start < len(self._pages):
            pages = self._pages[start : start + step]
            pages = pages[self._slots.stamps[pages] == self._stamps[start : start + step]]
            sums = np.cumsum(self._slots.sizes(pages))
            enough = int(np.searchsorted(sums, nbytes - total))
            found.append(pages[: enough + 1])
            if enough < len(pages):
                return np.concatenate(found)
            total += int(sums[-1]) if len(sums) else 0
            if not total:
                self._ranks, self._stamps, self._pages = (a[step:] for a in (self._ranks, self._stamps, self._pages))
            else:
                start += step
            step *= 2
        if self.whole:
            return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        return None

    def fill(self, priorities: Priorities, nbytes: int) -> None:
        """Look at all pages: keep the lowest, enough for ``nbytes`` of an average size and for a while."""
        slots = self._slots
        self.forget()
        wanted = min(max(slots.pages // SHARE, LEAST), MOST)
        wanted = max(wanted, 2 * slots.pages * nbytes // max(slots.nbytes, 1))
        self.whole = wanted >= slots.pages
        bound = np.iinfo(np.int64).max
        ranks, pages = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        for start in range(0, len(slots.stamps), CHUNK):
            stamps = slots.stamps[start : start + CHUNK]
            here = priorities(stamps, slots.uses[start : start + CHUNK])
            low = np.flatnonzero((stamps > 0) & (here <= bound))
            ranks, pages = np.append(ranks, here[low]), np.append(pages, low + start)
            if len(ranks) > wanted and not self.whole:
                bound = int(np.partition(ranks, wanted - 1)[wanted - 1])
                kept = ranks <= bound  # all that are equal to the last: their stamps decide, later
                ranks, pages = ranks[kept], pages[kept]
        touched = slots.stamps[pages].astype(np.int64)
        order = np.lexsort((touched, ranks))
        self._ranks, self._stamps, self._pages = ranks[order], touched[order], pages[order]
        self.bound = bound

    def _merge(self) -> None:
        """Put what was offered where it belongs; it is younger than everything of equal priority."""
        if not self._late:
            return
        ranks, stamps, pages = (np.concatenate(parts) for parts in zip(*self._late, strict=True))
        self._late.clear()
        self._waiting = 0
        current = self._slots.stamps[pages] == stamps
        ranks, stamps, pages = ranks[current], stamps[current], pages[current]
        order = np.lexsort((stamps, ranks))
        ranks, stamps, pages = ranks[order], stamps[order], pages[order]
        if len(self._pages) > 2 * MOST:
            valid = self._slots.stamps[self._pages] == self._stamps
            self._ranks, self._stamps, self._pages = (a[valid] for a in (self._ranks, self._stamps, self._pages))
        at = np.searchsorted(self._ranks, ranks, side="right")
        self._ranks = np.insert(self._ranks, at, ranks)
        self._stamps = np.insert(self._stamps, at, stamps)
        self._pages = np.insert(self._pages, at, pages)
