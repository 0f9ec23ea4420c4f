"""ARC (Megiddo, Modha; FAST 2003): ``lsmkv trace replay FILE --index-only --eviction arc:Arc`` in this directory.

Two lists, each least recently used first: pages used once and pages used more often, and the ghosts of both. A ghost that comes
back says which list is too short, and the target for the first list moves. Lengths are counted in pages.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Arc:
    """T1, T2, B1, B2 and the target p of the paper."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.once: OrderedDict[int, int] = OrderedDict()  # T1: page -> size
        self.often: OrderedDict[int, int] = OrderedDict()  # T2
        self.once_ghosts: OrderedDict[int, None] = OrderedDict()  # B1: prints
        self.often_ghosts: OrderedDict[int, None] = OrderedDict()  # B2
        self.prints: dict[int, int] = {}
        self.target = 0.0

    def on_insert(self, pages: Ints, sizes: Ints, prints: NDArray[np.uint64]) -> None:
        """Into the list its past says; a ghost moves the target."""
        b1, b2 = self.once_ghosts, self.often_ghosts
        for page, size, one in zip(pages.tolist(), sizes.tolist(), prints.tolist(), strict=True):
            self.prints[page] = one
            if one in b1:
                self.target = min(self.target + max(1.0, len(b2) / len(b1)), float(len(self.prints)))
                del b1[one]
                self.often[page] = size
            elif one in b2:
                self.target = max(self.target - max(1.0, len(b1) / len(b2)), 0.0)
                del b2[one]
                self.often[page] = size
            else:
                self.once[page] = size

    def on_hit(self, pages: Ints) -> None:
        """To the recent end of the list of pages used often."""
        for page in pages.tolist():
            size = self.once.pop(page, None)
            self.often[page] = self.often.pop(page) if size is None else size

    def on_remove(self, pages: Ints, evicted: bool) -> None:
        """An evicted page leaves a ghost; each list and its ghosts stay within bounds."""
        for page in pages.tolist():
            one = self.prints.pop(page)
            ghosts = self.once_ghosts if self.once.pop(page, None) is not None else self.often_ghosts
            self.often.pop(page, None)
            if evicted:
                ghosts[one] = None
        most = max(len(self.prints), 1)
        while len(self.once_ghosts) > most:
            self.once_ghosts.popitem(last=False)
        while len(self.often_ghosts) > most:
            self.often_ghosts.popitem(last=False)

    def victims(self, nbytes: int) -> Ints:
        """The oldest of the first list while it is longer than its target, else the oldest of the second."""
        chosen: list[int] = []
        once, often = iter(self.once.items()), iter(self.often.items())
        left = len(self.once)
        while nbytes > 0 and len(chosen) < len(self.prints):
            found = next(once if left > self.target else often, None) or next(once, None) or next(often, None)
            if found is None:
                break
            page, size = found
            left -= page in self.once
            chosen.append(page)
            nbytes -= size
        return np.array(chosen, dtype=np.int64)
