"""Least recently used: a stamp per page. What the store is tested with."""

from __future__ import annotations

import numpy as np

from lsmkv_tensor.retention.protocol import Pages, Prints, Sizes

__all__ = ["Recency"]


class Recency:
    """Ranks pages by their last use."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._stamps = np.zeros(1024, np.int64)
        self._sizes = np.zeros(1024, np.int64)
        self._now = 0

    def on_insert(self, pages: Pages, sizes: Sizes, prints: Prints) -> None:
        """See :class:`~lsmkv_tensor.retention.protocol.Eviction`."""
        assert len(prints) == len(pages)
        need = int(pages.max(initial=-1)) + 1
        if need > len(self._stamps):
            self._stamps = np.concatenate([self._stamps, np.zeros(need, np.int64)])
            self._sizes = np.concatenate([self._sizes, np.zeros(need, np.int64)])
        self._sizes[pages] = sizes
        self.on_hit(pages)

    def on_hit(self, pages: Pages) -> None:
        """See :class:`~lsmkv_tensor.retention.protocol.Eviction`."""
        self._stamps[pages] = np.arange(self._now + 1, self._now + 1 + len(pages))
        self._now += len(pages)

    def on_remove(self, pages: Pages, evicted: bool) -> None:
        """See :class:`~lsmkv_tensor.retention.protocol.Eviction`."""
        assert isinstance(evicted, bool)
        self._stamps[pages] = 0

    def victims(self, nbytes: int) -> Pages:
        """See :class:`~lsmkv_tensor.retention.protocol.Eviction`."""
        there = np.flatnonzero(self._stamps)
        order = there[np.argsort(self._stamps[there])]
        return order[: int(np.searchsorted(np.cumsum(self._sizes[order]), nbytes)) + 1]
