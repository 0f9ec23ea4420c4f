"""Lesson 7, starter code: an eviction policy that knows only when a page was last used."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Keep:
    """Says which pages go first: `lsmkv trace replay FILE --index-only --eviction exercise:Keep` in this directory."""

    def __init__(self, capacity_bytes: int) -> None:
        """Begin with nothing stored, in a store of so many bytes."""
        self.capacity_bytes = capacity_bytes
        self.fit = 1.0  # pages that fit into the store
        self.now = 0
        self.last: dict[int, int] = {}  # page -> when it was last used
        self.sizes: dict[int, int] = {}
        self.prints: dict[int, int] = {}  # page -> fingerprint of its key, which is the same when it comes back
        self.uses: dict[int, int] = {}  # fingerprint -> how often it was used, also before it was evicted: for you

    def touch(self, page: int) -> None:
        """A page was stored or used."""
        self.now += 1
        self.last[page] = self.now

    def rank(self, page: int) -> float:
        """The lower, the earlier it goes."""
        # YOUR TURN: a page that was used often should be as good as one that was used more recently. How much more recently?
        return self.last[page]

    def on_insert(self, pages: Ints, sizes: Ints, prints: NDArray[np.uint64]) -> None:
        """These pages are stored from now on."""
        self.fit = self.capacity_bytes / max(1.0, float(np.mean(sizes)))
        for page, size, one in zip(pages.tolist(), sizes.tolist(), prints.tolist(), strict=True):
            self.sizes[page], self.prints[page] = size, one
            self.touch(page)

    def on_hit(self, pages: Ints) -> None:
        """These pages were used, leaf before root."""
        for page in pages.tolist():
            self.touch(page)

    def on_remove(self, pages: Ints, evicted: bool) -> None:
        """These pages are gone."""
        for page in pages.tolist():
            del self.last[page], self.sizes[page], self.prints[page]

    def victims(self, nbytes: int) -> Ints:
        """The pages to evict next, together at least ``nbytes``."""
        order = sorted(self.last, key=self.rank)
        sums = np.cumsum([self.sizes[page] for page in order])
        return np.array(order[: int(np.searchsorted(sums, nbytes)) + 1], dtype=np.int64)
