"""Which entries a workload asks for: uniform, zipfian, the latest, and prefixes of conversations.

A draw is an array of positions in the ascending keys. The zipfian one gives rank r (1 the most popular) a chance in proportion
to ``r ** -0.99``, as YCSB does, drawn by the inverse of the exact distribution rather than by YCSB's approximation; a fixed
shuffle says which key has which rank, so that popular keys are no neighbours.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.data import GROUP, Entries
from lsmkv.lab.draws import ZIPF, zipf_ranks

__all__ = ["ACCESSES", "ZIPF", "Access", "Drawer", "zipf_ranks"]

Access: TypeAlias = Literal["uniform", "zipfian", "latest"]

ACCESSES: tuple[Access, ...] = ("uniform", "zipfian", "latest")

_CHAIN_GROUPS = 8
"""Groups of a conversation: 512 pages."""


class Drawer:
    """Draws keys of one set of entries, from one seed."""

    def __init__(self, entries: Entries, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._entries = entries
        self._popular = np.random.default_rng(0).permutation(len(entries.keys))

    def positions(self, access: Access, size: int) -> NDArray[np.int64]:
        """``size`` positions in the ascending keys; "latest" prefers what was inserted last."""
        count = len(self._entries.keys)
        if access == "uniform":
            return self.rng.integers(0, count, size)
        ranks = zipf_ranks(count, size, self.rng)
        if access == "zipfian":
            return self._popular[ranks]
        return self._entries.order[count - 1 - ranks]

    def keys(self, access: Access, size: int) -> list[bytes]:
        """``size`` present keys."""
        keys = self._entries.keys
        return [keys[i] for i in self.positions(access, size).tolist()]

    def absent(self, size: int) -> list[bytes]:
        """``size`` keys that are not there."""
        absent = self._entries.absent
        return [absent[i] for i in self.rng.integers(0, len(absent), size).tolist()]

    def near(self, size: int) -> list[bytes]:
        """``size`` neighbours, from anywhere."""
        start = int(self.rng.integers(0, max(1, len(self._entries.keys) - size)))
        return self._entries.keys[start : start + size]

    def chain(self) -> list[bytes]:
        """The first pages of a conversation, 1 to 512 of them, in order: groups of neighbours, each group somewhere else.

        Conversations are as popular as keys are in "zipfian", and all requests for one begin with the same pages.
        """
        keys = self._entries.keys
        stops = max(1, len(keys) // GROUP)
        conversation = int(zipf_ranks(max(1, stops // _CHAIN_GROUPS), 1, self.rng)[0])
        homes = np.random.default_rng((1, conversation)).integers(0, stops, _CHAIN_GROUPS) * GROUP
        pages = [key for home in homes.tolist() for key in keys[home : home + GROUP]]
        return pages[: int(self.rng.integers(1, len(pages) + 1))]
