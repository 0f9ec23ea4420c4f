"""S3-FIFO (Yang et al., SOSP 2023): ``lsmkv trace replay FILE --index-only --eviction s3_fifo:S3Fifo`` in this directory.

New pages enter a small queue, a tenth of the capacity. At its front, a page that was hit moves on to the main queue; one that
was not goes, and leaves a ghost. A page with a ghost enters the main queue at once. At the front of the main queue a page that
was hit goes round again, once for each hit (three at most).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class S3Fifo:
    """Small, main and ghost queue."""

    def __init__(self, capacity_bytes: int, small: float = 0.1) -> None:
        self.small_bytes = small * capacity_bytes
        self.small: OrderedDict[int, int] = OrderedDict()  # page -> size
        self.main: OrderedDict[int, int] = OrderedDict()
        self.in_small = 0
        self.due: dict[int, None] = {}  # pages that came to a front without hits: the next to go
        self.hits: dict[int, int] = {}
        self.prints: dict[int, int] = {}
        self.ghosts: OrderedDict[int, None] = OrderedDict()

    def on_insert(self, pages: Ints, sizes: Ints, prints: NDArray[np.uint64]) -> None:
        """Into the small queue, or past it."""
        for page, size, one in zip(pages.tolist(), sizes.tolist(), prints.tolist(), strict=True):
            self.hits[page], self.prints[page] = 0, one
            if one in self.ghosts:
                del self.ghosts[one]
                self.main[page] = size
            else:
                self.small[page] = size
                self.in_small += size

    def on_hit(self, pages: Ints) -> None:
        """Only a counter: nothing moves, but a page that was to go is not."""
        for page in pages.tolist():
            self.hits[page] = min(self.hits[page] + 1, 3)
            self.due.pop(page, None)

    def on_remove(self, pages: Ints, evicted: bool) -> None:
        """A page evicted from the small queue leaves a ghost."""
        for page in pages.tolist():
            one = self.prints.pop(page)
            del self.hits[page]
            self.due.pop(page, None)
            if page in self.main:
                del self.main[page]
                continue
            self.in_small -= self.small.pop(page)
            if evicted:
                self.ghosts[one] = None
        while len(self.ghosts) > max(len(self.hits), 1):
            self.ghosts.popitem(last=False)

    def victims(self, nbytes: int) -> Ints:
        """Pages that have come to a front without hits, in that order. Asked again, it gives the same answer."""
        chosen: list[int] = []
        fronts = self.fronts()
        while nbytes > 0 and (page := next(fronts, None)) is not None:
            chosen.append(page)
            nbytes -= self.small[page] if page in self.small else self.main[page]
        return np.array(chosen, dtype=np.int64)

    def fronts(self) -> Iterator[int]:
        """Those that came to a front before, then those that do as the queues turn."""
        yield from list(self.due)
        small_left = self.in_small - sum(self.small.get(page, 0) for page in self.due)
        while len(self.due) < len(self.hits):
            from_small = next((p for p in self.small if p not in self.due), None)
            from_main = next((p for p in self.main if p not in self.due), None)
            if from_small is not None and (small_left > self.small_bytes or from_main is None):
                small_left -= self.small[from_small]
                if self.hits[from_small] > 0:
                    self.hits[from_small] = 0
                    self.main[from_small] = self.small.pop(from_small)
                    self.in_small -= self.main[from_small]
                    continue
                self.due[from_small] = None
                yield from_small
            elif from_main is not None and self.hits[from_main] > 0:
                self.hits[from_main] -= 1
                self.main.move_to_end(from_main)
            elif from_main is not None:
                self.due[from_main] = None
                yield from_main
