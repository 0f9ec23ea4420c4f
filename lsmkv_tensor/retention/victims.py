"""Which segment to reclaim, and which of its pages to give up: as few wanted pages moved as the write budget allows. Pure.

A store of whole segments cannot evict single pages: space comes back a segment at a time, and what shall survive must be copied.
So the question is not "which pages are coldest" but "in which segment is the least that is wanted".

*Cold* are the pages in the first part of the policy's order, a *band* of so many of all bytes. In a segment's pages that are not
cold lies its cost: they are read and written once more. The band starts at nothing (only the dead are given up) and is widened
until some segment's cost is within the *credit*: bytes that may be moved now. Credit grows with what callers store (by
:data:`MOVE_SHARE` of it), so the writes of reclaiming are bounded by construction, and the band is no wider than they make
it: on the Mooncake trace between 0.02 and 0.2 of the capacity.

The pages of the victim that are cold go; cold pages elsewhere stay, and may be hit: the store is always full of pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.vlog.segment import SEALED, Segment

__all__ = ["CHEAP", "MOVE_SHARE", "Pick", "most_kept", "pick_victim"]

MOVE_SHARE = 0.3
"""Bytes that reclaiming may move for each byte that callers store: a write amplification of 1.3."""

CHEAP = 0.25
"""Live fraction up to which a segment is collected in the background though nobody needs it."""

MOST_KEPT, FEW_KEPT = 0.7, 0.5
"""Part of a segment that may be moved to free it, at most; the second in a store of less than MANY segments, where what two
victims leave must fit one segment or no room is made. In a large one half was too little, and the credit never used up: what a
policy keeps for long lies together, and is much of every segment it lies in."""

MANY = 16
"""Segments."""

BANDS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
"""Parts of all bytes that count as cold, tried in this order."""

FIRST_LOOK = 0.2
"""Part of all bytes whose order is asked for first; more only if that is not enough."""


def most_kept(segments: int) -> float:
    """The part of a segment that may be moved to free it, in a store of so many."""
    return MOST_KEPT if segments >= MANY else FEW_KEPT


@dataclass(frozen=True, slots=True)
class Pick:
    """A segment to reclaim."""

    segment: Segment
    cold: NDArray[np.int64]
    """Slots of its pages to give up, first first."""
    moved_bytes: int
    """Bytes of its pages that must move."""


def pick_victim(
    segments: Sequence[Segment],
    coldest: Callable[[int], NDArray[np.int64]],
    sizes: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    homes: NDArray[np.uint32],
    used_bytes: int,
    credit_bytes: int,
    most_bytes: int,
    lapsed: int = 0,
) -> Pick | None:
    """The sealed segment to reclaim now; None if none can be: too much in each of them must stay.

    ``coldest(nbytes)``: slots that go first, first first. ``sizes(slots)``: their bytes. ``homes[slot]``: the segment it is in.
    ``lapsed``: so many of the first slots are wanted by nobody: cold whatever the band.
    ``most_bytes``: what may be moved at most even if credit is short: when no band helps, the best of the widest is taken.
    """
    able = [s for s in segments if s.state == SEALED and not s.copies]
    if not able:
        return None
    numbers = np.array([s.number for s in able])
    live = np.array([s.live_bytes for s in able], np.int64)
    age = np.array([s.generation for s in able])
    for reach in (FIRST_LOOK, 1.0):
        order = coldest(int(reach * used_bytes))
        weights = sizes(order)
        ends = np.cumsum(weights)
        where = homes[order]
        for band in BANDS if reach == FIRST_LOOK else BANDS[BANDS.index(FIRST_LOOK) + 1 :]:
            if band > reach:
                break
            n = max(int(np.searchsorted(ends, band * used_bytes, side="right")), min(lapsed, len(order)))
            cold = np.bincount(where[:n], weights[:n], int(numbers.max()) + 1)[numbers].astype(np.int64)
            warm = np.maximum(live - cold, 0)
            best = int(np.lexsort((age, live, warm))[0])
            last = band == 1.0
            if warm[best] <= (most_bytes if last else min(credit_bytes, most_bytes)):
                mine = order[:n][where[:n] == numbers[best]]
                return Pick(able[best], mine, int(warm[best]))
    return None
