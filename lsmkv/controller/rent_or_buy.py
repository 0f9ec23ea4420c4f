"""Rent or buy: runs are merged once the reads that they have cost have paid for the merge.

A run that lies over another is a seek more for every scan, and a filter check more for every lookup that passes it. That is its
*rent*, added up since the run came into being. Merging neighbouring runs *buys*: it costs their entries, read and written once.
A group is bought as soon as the rents inside it (all but the oldest run's) reach ``BUY_AT`` of its price; of several groups the
one with the most rent left over. So nothing is merged that nobody reads, whatever is read often becomes one run, also across
levels, and no more is spent on merges than reads have cost before. Going lazier is free: no runs are merged any more.

A group takes all of level 0 or nothing of it (its runs are single tables), and must fit the level that it ends in. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

from lsmkv.controller.constants import BUY_AT
from lsmkv.controller.prices import Mix, Prices
from lsmkv.controller.sizes import SizeTree

__all__ = ["Purchase", "purchase", "rents"]


class Purchase(NamedTuple):
    """Runs worth merging: places in age order (0 is the newest run of the tree), both included."""

    first: int
    last: int
    rent: float
    """Blocks that reads have paid for these runs so far."""
    price: float
    """Blocks that the merge costs."""


def rents(tree: SizeTree, done: Mix, paid: Mapping[int, float], prices: Prices) -> dict[int, float]:
    """The rent of every run of the tree by id: what was ``paid`` before, and what ``done`` adds to it."""
    placed = tree.runs()
    total = sum(run.entries for _, run in placed)
    once, keys = tree.live == inf, min(tree.live, total)
    left, result = 1.0, {}
    for _, run in placed:
        share = min(1.0, run.entries / keys) if keys else 0.0
        left = max(0.0, left - (share if once else left * share))
        rent = done.scans + prices.check * (done.zero + done.found * left)
        result[run.id] = paid.get(run.id, 0.0) + rent
    return result


def purchase(tree: SizeTree, rent: Mapping[int, float], prices: Prices, allowed: float = inf) -> Purchase | None:
    """The group of neighbouring runs to merge now, None if no group has paid for itself; ``allowed``: the highest price."""
    placed = tree.runs()
    sizes, levels = [run.entries for _, run in placed], [number for number, _ in placed]
    paid = [rent.get(run.id, 0.0) for _, run in placed]
    flushed, deepest = levels.count(0), tree.last
    best, found = 0.0, None
    for first in range(len(placed) - 1):
        if 0 < first < flushed:
            continue
        collected, entries = 0.0, sizes[first]
        for last in range(first + 1, len(placed)):
            collected += paid[last - 1]
            entries += sizes[last]
            price = prices.merged * min(entries, tree.live)
            gain = collected - BUY_AT * price
            if gain <= best or levels[last] == 0 or price > allowed:
                continue
            if levels[last] == deepest or _fits(tree, sizes, levels, first, last):
                best, found = gain, Purchase(first, last, collected, price)
    return found


def _fits(tree: SizeTree, sizes: Sequence[float], levels: Sequence[int], first: int, last: int) -> bool:
    """Whether the level that the group ends in has room for what comes from above."""
    level = levels[last]
    inside = sum(size for size, number in zip(sizes, levels, strict=True) if number == level)
    above = sum(sizes[i] for i in range(first, last + 1) if levels[i] < level)
    return tree.geometry.fits(round(inside + above), level, tree.buffer)
