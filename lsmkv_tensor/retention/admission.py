"""Admission policies: which offered pages are worth a write. Pure.

Most pages of a prompt are never asked for again (76 % in the Mooncake conversation trace). *Second sight* stores a page when it
is offered a second time: a fifth of the writes, and in a small store more hits, since what is kept is not pushed out by what is
never read. In a large store it loses the first return of everything. *Adaptive* does the one or the other, by what it sees.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.budget import WriteBudget
from lsmkv_tensor.retention.protocol import Prints, Seen, Sizes
from lsmkv_tensor.retention.sightings import Sightings

__all__ = ["Adaptive", "AdmitAll", "SecondSight"]

REMEMBERED = 4
"""Sightings remembered, in pages that the capacity holds."""
FULL = 0.9
"""Part of the capacity in use from which there is pressure: something has to go for what comes."""
FORGET_PAGES = 0.25
"""A regret is forgotten over offers of so many times the pages that the capacity holds."""


class AdmitAll:
    """Stores whatever is offered, as long as the write budget lasts."""

    def __init__(self, capacity_bytes: int, write_bytes_per_day: float | None = None) -> None:  # noqa: ARG002 - the protocol's
        self._budget = WriteBudget(write_bytes_per_day)
        self.limited = write_bytes_per_day is not None
        """Whether there is a budget at all: without one nothing is ever refused."""

    def sight(self, prints: Prints, now_s: float) -> None:
        """Nothing to learn."""

    def decide(self, prints: Prints, sizes: Sizes, now_s: float) -> NDArray[np.bool_]:  # noqa: ARG002 - the protocol's
        """Yes, from the root on as far as the budget goes."""
        return _affordable(np.ones(len(prints), dtype=np.bool_), sizes, self._budget)

    def observe(self, seen: Seen) -> None:
        """What was written."""
        self._budget.observe(seen.now_s, seen.written_bytes)


class SecondSight:
    """Stores a page when it is seen for the second time (:mod:`lsmkv_tensor.retention.sightings`)."""

    def __init__(self, capacity_bytes: int, write_bytes_per_day: float | None = None) -> None:
        self._capacity_bytes = capacity_bytes
        self._budget = WriteBudget(write_bytes_per_day)
        self._sightings = Sightings()

    def sight(self, prints: Prints, now_s: float) -> None:
        """See :class:`Admission`."""
        if len(prints):
            self._sightings.probed(prints, now_s)

    def decide(self, prints: Prints, sizes: Sizes, now_s: float) -> NDArray[np.bool_]:
        """See :class:`Admission`."""
        if not len(prints):
            return np.zeros(0, dtype=np.bool_)
        self._sightings.resize(REMEMBERED * self._capacity_bytes * len(sizes) // int(sizes.sum()))
        return _affordable(self._wanted(self._sightings.offered(prints, now_s)), sizes, self._budget)

    def observe(self, seen: Seen) -> None:
        """See :class:`Admission`."""
        self._budget.observe(seen.now_s, seen.written_bytes)

    def _wanted(self, times: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which pages, seen so many times, are worth a write."""
        return times >= 2


class Adaptive(SecondSight):
    """Second sight where the write budget is scarce, or where it brings hits; else all.

    *Regret* is the part of the offered pages that were seen before and are not here: evicted too early, or declined. An eviction
    policy with ghosts recognises pages that come back, and keeps those (ghost hits). What it does not recognise is left to
    admission: if that part is large, pages are pushed out before they return, and storing everything costs more hits than it
    brings. A store that is not full has no such worry.
    """

    def __init__(self, capacity_bytes: int, write_bytes_per_day: float | None = None, regret: float = 0.25) -> None:
        """``regret``: part of the offers (0 to 1), not recognised by ghosts, from which it is choosy."""
        super().__init__(capacity_bytes, write_bytes_per_day)
        if not 0 < regret <= 1:
            raise ValueError(f"regret = {regret}: must be above 0 and at most 1")
        self._limit = regret
        self._regret = 0.0
        self._pressed = False
        self._ghost_hits = self._ghost_hits_new = 0
        self._pages = 1.0

    @property
    def choosy(self) -> bool:
        """Whether it stores at second sight only."""
        return self._budget.scarce or (self._pressed and self._regret > self._limit)

    def decide(self, prints: Prints, sizes: Sizes, now_s: float) -> NDArray[np.bool_]:
        """See :class:`Admission`."""
        if len(sizes):
            self._pages = self._capacity_bytes * len(sizes) / int(sizes.sum())
        return super().decide(prints, sizes, now_s)

    def observe(self, seen: Seen) -> None:
        """See :class:`Admission`."""
        super().observe(seen)
        self._pressed = seen.evicted_bytes > 0 and seen.used_bytes >= FULL * seen.capacity_bytes
        self._ghost_hits_new += max(seen.ghost_hits - self._ghost_hits, 0)
        self._ghost_hits = seen.ghost_hits

    def _wanted(self, times: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """All or those seen twice."""
        again = times >= 2
        fade = 0.5 ** (len(times) / max(FORGET_PAGES * self._pages, 1.0))
        unrecognised = (int(np.count_nonzero(again)) - self._ghost_hits_new) / len(times)
        self._ghost_hits_new = 0
        self._regret = self._regret * fade + unrecognised * (1 - fade)
        return again if self.choosy else np.ones(len(times), dtype=np.bool_)


def _affordable(wanted: NDArray[np.bool_], sizes: Sizes, budget: WriteBudget) -> NDArray[np.bool_]:
    """The first of the wanted pages that the budget can pay."""
    left = budget.left_bytes
    if left == float("inf"):
        return wanted
    within: NDArray[np.bool_] = wanted & (np.cumsum(np.where(wanted, sizes, 0)) <= left)
    return within
