"""What has been asked of the store lately: exact counts in windows of operations, two averages of the mix, a test for change.

A window ends after a number of operations, never after a time: a store that nobody uses decides nothing, and the same operations
give the same decisions. Counts are differences of the ledger, which counts anyway. Lookups that memtables answer are not among
them: no shape of the tree changes what they cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import NamedTuple

from lsmkv.controller.constants import CHANGED, DRIFT_MOST, FAST, FEWEST_OPERATIONS, LOOKS, SLOW
from lsmkv.controller.prices import Mix

__all__ = ["NOTHING", "Averages", "Window", "averaged", "relative_entropy", "window_operations"]

NOTHING = Mix()
"""No operations."""

LEAST = 1e-3
"""A kind of operation that was never seen counts as this share: relative entropy stays finite."""


class Window(NamedTuple):
    """What happened between two looks."""

    done: Mix
    """Operations by kind."""
    blocks: float
    """What they and the background work beside them cost, in blocks."""


@dataclass(frozen=True, slots=True)
class Averages:
    """The mix as it was lately, as shares."""

    fast: Mix = NOTHING
    slow: Mix = NOTHING
    drift: float = 0.0
    """How far the fast average usually is from the slow one (relative entropy, nats)."""
    odd: Mix = NOTHING
    """Of the window before, if it did not fit the fast average: one such window is chance, two are a change."""
    changes: int = 0
    """How often the mix has changed for good."""


def window_operations(entries: float) -> int:
    """Operations of a window, for a tree of so many entries."""
    return max(FEWEST_OPERATIONS, int(entries) // LOOKS)


def relative_entropy(mix: Mix, other: Mix) -> float:
    """The Kullback-Leibler divergence of ``mix`` from ``other``, in nats; both are shares."""
    return sum(p * log(p / max(q, LEAST)) for p, q in zip(mix, other, strict=True) if p > 0)


def averaged(before: Averages, window: Window, entries: float) -> Averages:
    """The averages with one more window; a window without operations changes nothing."""
    count = window.done.total
    if count <= 0:
        return before
    mix = window.done.scaled(1 / count)
    if before.fast.total == 0:
        return Averages(mix, mix)
    slowly, fastly = (min(1.0, count / (horizon * max(entries, 1.0))) for horizon in (SLOW, FAST))
    slow, fast, changes = _toward(before.slow, mix, slowly), _toward(before.fast, mix, fastly), before.changes
    odd = mix if relative_entropy(mix, before.fast) > CHANGED else NOTHING
    if odd.total and before.odd.total:
        fast, odd, changes = _toward(before.odd, mix, 0.5), NOTHING, changes + 1
    apart = min(DRIFT_MOST, relative_entropy(fast, slow))
    return Averages(fast, slow, before.drift + slowly * (apart - before.drift), odd, changes)


def _toward(mix: Mix, other: Mix, share: float) -> Mix:
    """A part of the way from one to the other."""
    return mix.scaled(1 - share).plus(other.scaled(share))
