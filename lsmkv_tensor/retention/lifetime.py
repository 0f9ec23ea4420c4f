"""How long a page that proved useful deserves to wait for its next use: learned from a sample of the touches. Pure.

Two measurements on the same sample (pages chosen by the bits of their print, so all touches of a page are seen or none):

* *Intervals*: after how many touches pages that were used once came back. Their median says what the time scale of this load
  is, at any capacity: the table of the sample remembers 16 times as many pages as the capacity holds.
* *Shadows*: small caches with the sample's share of the capacity, which follow the same touches with lifetimes of 1/8, 1/4,
  1/2, 1 and 2 medians. The lifetime moves towards that of the one that hits most. Such miniature simulations predict the
  order of the large ones well (Waldspurger et al., USENIX ATC 2017); moving by steps keeps chance from tossing it about.

The sample is at most 1/1 and so large that a shadow holds about 512 pages: the cost a touch falls with the capacity.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.protocol import Prints
from lsmkv_tensor.retention.slots import MOST_USES

__all__ = ["TOGETHER", "Lifetime"]

MULTIPLES = (0.125, 0.25, 0.5, 1.0, 2.0)
SHADOW_PAGES = 512
MEMORY = 16
"""Sampled pages remembered, in pages of a shadow."""
STEPS = 8
"""Steps of the histogram of intervals in each doubling."""
LEAST_INTERVALS = 64
"""New intervals before the median is taken again."""
FORGET_INTERVALS = 0.999
"""Weight of the past with each new interval."""
FORGET_HITS = 0.97
"""Weight of the past with each comparison of shadows, of which there are four for each turnover of one."""
STEP = 0.3
"""Part of the way, in doublings, that the multiple moves to the best shadow's at a comparison."""
CHANGE = 0.1
"""A median that moved less changes nothing."""
TOGETHER = 1 / 16
"""Touches of a page within so many times the pages of the capacity are one use: parts of one request, most likely."""
SAMPLED_BIT = np.uint64(40)


class Lifetime:
    """Learns one lifetime, in touches; 0 until there is something to learn from."""

    def __init__(self, capacity_pages: int, curve: NDArray[np.float64], lifetime: int = 0) -> None:
        """``curve``: lifetimes granted to a page by its uses, 0 .. 255. ``lifetime``: what is believed so far."""
        self.capacity_pages = capacity_pages
        self.lifetime = lifetime
        rate = 1
        while capacity_pages / rate > SHADOW_PAGES:
            rate *= 2
        self._mask = np.uint64(rate - 1)
        self._pages = max(round(capacity_pages / rate), 1)
        rows = self._pages * MEMORY + 1
        self._curve = curve
        self._rows: OrderedDict[int, int] = OrderedDict()  # print -> row, the least recently touched first
        self._free = list(range(rows))
        self._last = np.zeros(rows, dtype=np.int64)
        self._uses = np.zeros(rows, dtype=np.int64)
        self._ranks = np.full((len(MULTIPLES), rows), np.inf)  # infinite: not in that shadow
        self._held = np.zeros(len(MULTIPLES), dtype=np.int64)
        self._intervals = np.zeros(64 * STEPS)
        self._new_intervals = 0
        self._median = 0.0
        self._hits = np.zeros(len(MULTIPLES))
        self._sampled = 0
        self._multiple = 0.0  # log2 of the multiple of the median

    def touch(self, prints: Prints, first_stamp: int) -> bool:
        """These pages were touched, at ascending stamps. Whether the lifetime changed."""
        for at in np.flatnonzero((prints >> SAMPLED_BIT) & self._mask == 0).tolist():
            self._touch_one(int(prints[at]), first_stamp + at)
        before = self.lifetime
        if self._new_intervals >= LEAST_INTERVALS:
            self._take_median()
        if self._sampled * 4 >= self._pages:
            self._sampled = 0
            self._multiple += STEP * (float(np.log2(MULTIPLES[int(self._hits.argmax())])) - self._multiple)
            self._hits *= FORGET_HITS
        wanted = self._median * 2.0**self._multiple
        if self._median and abs(wanted - before) > CHANGE * before:
            self.lifetime = round(wanted)
        return self.lifetime != before

    def _touch_one(self, one: int, stamp: int) -> None:
        """A touch of a sampled page."""
        row = self._rows.pop(one, None)
        if row is None:
            row = self._room()
            self._uses[row] = 0
        elif stamp - self._last[row] <= self.capacity_pages * TOGETHER:
            self._uses[row] -= 1  # the same use as before
        elif self._uses[row] == 1:
            self._intervals *= FORGET_INTERVALS
            self._intervals[int(STEPS * np.log2(max(stamp - self._last[row], 1)))] += 1
            self._new_intervals += 1
        self._rows[one] = row
        self._last[row] = stamp
        self._uses[row] = min(self._uses[row] + 1, MOST_USES)
        self._sampled += 1
        self._play(row)

    def _room(self) -> int:
        """A row for another page: a free one, or that of the page not touched for longest."""
        if self._free:
            return self._free.pop()
        _, row = self._rows.popitem(last=False)
        self._held -= np.isfinite(self._ranks[:, row])
        self._ranks[:, row] = np.inf
        return row

    def _play(self, row: int) -> None:
        """Every shadow has the page now, and has evicted another if it had to."""
        here = np.isfinite(self._ranks[:, row])
        self._hits += here
        for shadow in np.flatnonzero(~here).tolist():
            if self._held[shadow] >= self._pages:
                self._ranks[shadow, self._ranks[shadow].argmin()] = np.inf
            else:
                self._held[shadow] += 1
        self._ranks[:, row] = self._rank(row)

    def _rank(self, row: int) -> NDArray[np.float64]:
        """The rank of a page in each shadow."""
        found: NDArray[np.float64] = self._last[row] + self._median * np.array(MULTIPLES) * self._curve[self._uses[row]]
        return found

    def _take_median(self) -> None:
        """The median of the intervals; shadows rank their pages by it from now on."""
        self._new_intervals = 0
        sums = np.cumsum(self._intervals)
        median = 2.0 ** ((int(np.searchsorted(sums, sums[-1] / 2)) + 0.5) / STEPS)
        if abs(median - self._median) <= CHANGE * self._median:
            return
        self._median = median
        for row in self._rows.values():
            self._ranks[:, row] = np.where(np.isfinite(self._ranks[:, row]), self._rank(row), np.inf)
