"""An eviction policy in 20 lines: ``lsmkv trace replay FILE --index-only --eviction dict_lru:DictLru`` in this directory."""

import numpy as np


class DictLru:
    """The least recently used page goes first."""

    def __init__(self, capacity_bytes):
        self.sizes = {}

    def on_insert(self, pages, sizes, prints):
        self.sizes.update(zip(pages.tolist(), sizes.tolist(), strict=True))

    def on_hit(self, pages):
        for page in pages.tolist():
            self.sizes[page] = self.sizes.pop(page)

    def on_remove(self, pages, evicted):
        for page in pages.tolist():
            del self.sizes[page]

    def victims(self, nbytes):
        pages = np.fromiter(self.sizes, dtype=np.int64)
        sums = np.cumsum(np.fromiter(self.sizes.values(), dtype=np.int64))
        return pages[: np.searchsorted(sums, nbytes) + 1]
