"""What the built-in eviction policies share: pages ranked by last use, plus a bonus for how often they were used.

    priority = stamp of the last touch + bonus(uses)         the lowest goes first; of equals, the least recently touched

Time is counted in touches (pages inserted or hit). A policy is which touches move a page, and the bonus: nothing (FIFO, LRU),
or some lifetime for each doubling of the uses. Uses may be remembered after eviction (:mod:`lsmkv_tensor.retention.ghosts`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.ghosts import Ghosts
from lsmkv_tensor.retention.pool import Pool
from lsmkv_tensor.retention.protocol import Pages, Prints, Sizes
from lsmkv_tensor.retention.slots import MOST_USES, SlotArrays
from lsmkv_tensor.retention.state import Saved, pack, unpack

__all__ = ["Ranked"]

LAST_STAMP = (1 << 32) - 2
"""Stamps have 32 bits: when they run out, pages are numbered anew in the order of their stamps."""


class Ranked:
    """An eviction policy (:class:`lsmkv_tensor.retention.protocol.Eviction`) to be refined by :meth:`bonus`."""

    moves_on_hit = True
    """Whether a hit makes a page recent."""
    least_ghosts = 0
    """For how many evictions at least a page is remembered, if any are."""
    together = 0.0
    """Touches of a page within so many times the pages of the capacity are one use."""
    last_stamp = LAST_STAMP

    def __init__(self, capacity_bytes: int, ghosts: float = 0.0) -> None:
        """``ghosts``: for how many evictions an evicted page is remembered, in multiples of the pages the capacity holds."""
        if capacity_bytes < 1:
            raise ValueError(f"capacity_bytes = {capacity_bytes}: must be at least 1")
        if not 0 <= ghosts <= 64:
            raise ValueError(f"ghosts = {ghosts}: must be between 0 and 64")
        self.capacity_bytes = capacity_bytes
        self.ghost_hits = 0
        self._ghost_share = ghosts
        self._slots = SlotArrays()
        self._pool = Pool(self._slots)
        self._ghosts = Ghosts()
        self._restored: Saved | None = None
        self._unclaimed = 0
        """Pages among the restored ones that were not inserted yet."""
        self._bonus = np.zeros(MOST_USES + 1, dtype=np.int64)
        self._time = 0
        self.capacity_pages = 0
        """Pages of the present mean size that the capacity holds; 0 before the first eviction."""

    # what policies refine

    def bonus(self) -> NDArray[np.int64]:
        """Touches added to the stamp for 0 .. 255 uses, not falling; asked whenever all pages are looked at."""
        return self._bonus

    def touched(self, prints: Prints, first_stamp: int) -> None:
        """Told of every page inserted or hit, in order."""

    @property
    def learned(self) -> int:
        """A number worth remembering over a restart."""
        return 0

    def learn(self, learned: int) -> None:
        """What :attr:`learned` was before the restart."""

    def pages_in_capacity(self) -> int:
        """How many pages the capacity holds, at the present mean size."""
        return max(round(self.capacity_bytes * self._slots.pages / max(self._slots.nbytes, 1)), 1)

    # the protocol

    def on_insert(self, pages: Pages, sizes: Sizes, prints: Prints) -> None:
        """See :class:`Eviction`."""
        if not len(pages):
            return
        self._slots.add(pages, sizes, prints)
        uses = np.ones(len(pages), dtype=np.uint8)
        if self._ghost_share:
            before = self._ghosts.take(prints)
            self.ghost_hits += int(np.count_nonzero(before))
            uses = np.minimum(before, MOST_USES - 1) + np.uint8(1)
        self._slots.uses[pages] = uses
        if self._restored is not None:
            pages, prints = self._restore(pages, prints)
        self._touch(pages)
        self.touched(prints, self._time - len(pages) + 1)

    def on_hit(self, pages: Pages) -> None:
        """See :class:`Eviction`."""
        if not self.moves_on_hit or not len(pages):
            return
        assert self._slots.stamps[pages].all(), "a page is hit that is not resident"
        uses = self._slots.uses
        again = self._time - self._slots.stamps[pages].astype(np.int64) >= self.capacity_pages * self.together
        uses[pages] = np.minimum(uses[pages], MOST_USES - 1) + again.astype(np.uint8)
        self._touch(pages)
        self.touched(self._slots.prints[pages], self._time - len(pages) + 1)

    def on_remove(self, pages: Pages, evicted: bool) -> None:
        """See :class:`Eviction`."""
        if evicted and self._ghost_share and len(pages):
            if not self.capacity_pages:
                self._measure()
            self._ghosts.add(self._slots.prints[pages], self._slots.uses[pages])
        self._slots.remove(pages)

    def victims(self, nbytes: int) -> Pages:
        """See :class:`Eviction`."""
        if nbytes <= 0 or not self._slots.pages:
            return np.zeros(0, dtype=np.int64)
        asked = nbytes
        while (found := self._pool.front(nbytes)) is None:
            self._survey(asked)
            asked *= 2  # the coldest pages may be much smaller than the mean: in the end all of them are in the pool
        return found

    # remembering

    def save(self) -> bytes:
        """See :class:`Remembering`."""
        pages = self._slots.resident()
        pages = pages[np.argsort(self._slots.stamps[pages])]
        resident = Saved(self._slots.prints[pages], self._slots.stamps[pages], self._slots.uses[pages])
        return pack(resident, self._ghosts.listed(), self._time, self.learned)

    def load(self, saved: bytes) -> None:
        """See :class:`Remembering`. What was resident gets its old rank back when it is inserted, before the first eviction."""
        resident, ghosts, self._time, learned = unpack(saved)
        self.learn(learned)
        self._restored = resident.sorted_by_print()
        self._unclaimed = len(resident.prints)
        if self._ghost_share:
            self._ghosts.limit = max(self._ghosts.limit, len(ghosts[0]))
            self._ghosts.add(*ghosts)

    @property
    def memory_bytes(self) -> int:
        """Bytes of all state that grows with the number of pages."""
        restored = sum(part.nbytes for part in self._restored) if self._restored is not None else 0
        return self._slots.memory_bytes + self._ghosts.memory_bytes + restored

    # helpers

    def _touch(self, pages: Pages) -> None:
        """Give these pages the next stamps, in order."""
        if self._time + len(pages) > self.last_stamp:
            self._renumber()
        stamps = np.arange(self._time + 1, self._time + len(pages) + 1, dtype=np.uint32)
        self._time += len(pages)
        self._slots.stamps[pages] = stamps
        if self._pool.bound >= self._time - len(pages):
            self._pool.offer(self._priorities(stamps, self._slots.uses[pages]), stamps, pages)

    def _priorities(self, stamps: NDArray[np.uint32], uses: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Ranks of pages; the bonus is that of the last survey."""
        return stamps.astype(np.int64) + self._bonus[uses]

    def _measure(self) -> None:
        """How many pages the capacity holds; what follows from it."""
        self.capacity_pages = self.pages_in_capacity()
        self._ghosts.limit = max(round(self._ghost_share * self.capacity_pages), self.least_ghosts)

    def _survey(self, nbytes: int) -> None:
        """Look at all pages."""
        self._restored = None  # whoever asks for victims has inserted all there was
        self._measure()
        self._bonus = self.bonus()
        self._pool.fill(self._priorities, nbytes)

    def _look_again(self) -> None:
        """For policies whose bonus changed: ranks are no longer what they were."""
        self._pool.forget()

    def _renumber(self) -> None:
        """Start stamps again at 1, in the same order."""
        pages = self._slots.resident()
        order = np.argsort(self._slots.stamps[pages], kind="stable")
        self._slots.stamps[pages[order]] = np.arange(1, len(pages) + 1, dtype=np.uint32)
        self._time = len(pages)
        self._pool.forget()

    def _restore(self, pages: Pages, prints: Prints) -> tuple[Pages, Prints]:
        """Give back their ranks to pages that were saved; the others."""
        assert self._restored is not None
        known, stamps, uses = self._restored.find(prints)
        self._slots.stamps[pages[known]] = stamps[known]
        self._slots.uses[pages[known]] = uses[known]
        self._unclaimed -= int(np.count_nonzero(known))
        if self._unclaimed <= 0:
            self._restored = None
        return pages[~known], prints[~known]
