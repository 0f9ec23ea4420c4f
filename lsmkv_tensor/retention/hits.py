"""Hits on their way to the policy: single reads are many, so they are told together, in their order. Pure."""

from __future__ import annotations

import numpy as np

from lsmkv_tensor.retention.protocol import Eviction, Pages

__all__ = ["Hits"]


class Hits:
    """Pages hit, of which the policy is told when one is hit again, or when the owner says so."""

    def __init__(self, policy: Eviction) -> None:
        self._policy = policy
        self._waiting: list[Pages] = []
        self._slots: set[int] = set()

    def add(self, slots: Pages) -> None:
        """These distinct pages were hit."""
        listed = slots.tolist()
        if not self._slots.isdisjoint(listed):
            self.tell()
        self._slots.update(listed)
        self._waiting.append(slots)

    def tell(self) -> None:
        """Tell the policy of what waits."""
        if self._waiting:
            hits = np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
            self._waiting.clear()
            self._slots.clear()
            self._policy.on_hit(hits)
