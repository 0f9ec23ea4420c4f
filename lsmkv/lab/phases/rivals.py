"""What the controller is held against: static shapes, simpler rules for switching, and an oracle that knows the future.

The switching rules choose among :data:`SHAPES` by the model's long-run costs at the mix of the moment. Both add up what another
shape would have saved. The *one-way* rule goes there when that has paid for going, which is nothing where the other shape is
lazier, so that a mix that goes back and forth makes it pay for each way back. The *round-trip* rule waits until coming back, from
a tree that has been there for long, is paid for, too.

The *oracle* is a dynamic programme over the shapes: for each shape and each moment (ends of phases, and some in between) it keeps
the cheapest way found to be there, with the tree that this way really leads to, all debts paid; it begins with any shape for
free, as the static ones do. It knows all that is to come, but no tree outside these shapes.
"""

from __future__ import annotations

from functools import lru_cache
from math import log2

from lsmkv.controller.choose import long_run
from lsmkv.controller.prices import Mix, Prices
from lsmkv.controller.rent_or_buy import purchase, rents
from lsmkv.controller.sizes import SizeTree
from lsmkv.lab.phases.play import UNIT, Player, loaded, play
from lsmkv.lab.phases.sequences import TICKS, Sequence
from lsmkv.policy.geometry import Geometry

__all__ = ["LEVELING", "SHAPES", "LevelRent", "NeighbourRent", "Switching", "debt", "oracle", "shape_name", "static_runs"]

SHAPES = tuple(
    Geometry(ratio, (inner,), last)
    for ratio, pairs in {
        4: ((1, 1), (3, 1), (3, 3)),
        7: ((1, 1), (2, 1), (3, 1), (6, 1), (2, 2), (3, 3), (6, 6)),
        10: ((1, 1), (3, 1), (9, 1), (3, 3), (9, 9)),
    }.items()
    for inner, last in pairs
)
"""The static shapes: leveled, tiered, lazy leveling and what lies between, at three size ratios."""

LEVELING = Geometry(10, (1,), 1)
"""The engine's default policy: every strategy begins with its tree."""

STRIDE = 50
"""Ticks between two moments at which the oracle may switch, besides the ends of phases."""

WAYS = 6
"""Ways to a shape that are followed to the next moment, where the cheapest stays: what a tree costs then is not known before."""


def shape_name(geometry: Geometry) -> str:
    """``T=7 K=6 Z=1``."""
    return f"T={geometry.size_ratio} K={geometry.inner_runs[0]} Z={geometry.last_runs}"


def debt(tree: SizeTree, geometry: Geometry) -> float:
    """Entries merged to bring the tree in line with another geometry at once."""
    twin = tree.copy()
    twin.switch(geometry, patient=False)
    return twin.merged - tree.merged


class Switching:
    """Goes to another shape, greedily, when what it would have saved has paid for the way."""

    def __init__(self, prices: Prices, *, round_trip: bool) -> None:
        self._prices, self._round_trip = prices, round_trip
        self._regret: dict[Geometry, float] = {}

    def tick(self, tree: SizeTree, done: Mix, blocks: float) -> None:
        """See the class."""
        del blocks
        arrivals = sum(run.entries for _, run in tree.runs()) / tree.buffer
        costs = {one: _cost(one, arrivals, done, self._prices) for one in {*SHAPES, tree.geometry}}
        now = costs[tree.geometry]
        self._regret = {one: max(0.0, self._regret.get(one, 0.0) + now - costs[one]) for one in SHAPES if one != tree.geometry}
        best = max(self._regret, key=lambda one: self._regret[one])
        if self._regret[best] <= 0:
            return
        way = debt(tree, best)
        if self._round_trip:
            way += _way_back(best, tree.geometry, round(4 * log2(arrivals)))
        if self._regret[best] > self._prices.merged * way:
            tree.switch(best, patient=False)
            self._regret = {}


class LevelRent:
    """Rent or buy level by level: a level's runs become one when the reads that they cost have paid for it; nothing else."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._rent: dict[int, float] = {}

    def tick(self, tree: SizeTree, done: Mix, blocks: float) -> None:
        """See the class."""
        del blocks
        self._rent = rents(tree, done, self._rent, self._prices)
        for level in range(1, len(tree.levels)):
            runs = tree.levels[level]
            price = self._prices.merged * tree.union([run.entries for run in runs])
            if len(runs) > 1 and sum(self._rent[run.id] for run in runs[:-1]) > price:
                first = sum(len(above) for above in tree.levels[:level])
                tree.merge(first, first + len(runs) - 1)
                return  # the tree is another one now


class NeighbourRent:
    """Rent or buy as in the controller, over any neighbouring runs, but nothing else of it."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._rent: dict[int, float] = {}

    def tick(self, tree: SizeTree, done: Mix, blocks: float) -> None:
        """See the class."""
        del blocks
        self._rent = rents(tree, done, self._rent, self._prices)
        while (found := purchase(tree, self._rent, self._prices)) is not None:
            tree.merge(found.first, found.last)


def static_runs(sequence: Sequence, prices: Prices) -> dict[Geometry, float]:
    """What every static shape costs."""
    return {one: play(sequence, loaded(one, sequence), prices).total for one in SHAPES}


def oracle(sequence: Sequence, prices: Prices) -> float:
    """What the cheapest way through the shapes costs, as far as the dynamic programme finds it."""
    each, mixes = sequence.arrivals * UNIT / TICKS, list(sequence.mixes())
    moments = _moments(sequence)
    players = {one: Player(loaded(one, sequence), prices, each) for one in SHAPES}
    for start, end in zip(moments, [*moments[1:], len(mixes)], strict=True):
        ways = {one: _ways(players, one) if start else [players[one]] for one in SHAPES}
        for found in ways.values():
            for player in found:
                player.run(mixes[start:end])
        players = {one: min(found, key=lambda player: player.total) for one, found in ways.items()}
    return min(player.total for player in players.values())


def _ways(players: dict[Geometry, Player], one: Geometry) -> list[Player]:
    """The cheapest ways to be at a shape now, switched there, and that of having been there."""
    costs = {
        other: player.total + (0.0 if other == one else player.prices.merged * debt(player.tree, one))
        for other, player in players.items()
    }
    chosen = {one, *sorted(costs, key=lambda other: costs[other])[:WAYS]}
    ways = [players[other].copy() for other in chosen]
    for player in ways:
        player.tree.switch(one, patient=False)
    return ways


@lru_cache(maxsize=4096)
def _way_back(there: Geometry, here: Geometry, quarter: int) -> float:
    """Entries merged to come back from a tree of ``2^(quarter/4)`` arrivals that has been there for long."""
    tree = SizeTree(there, UNIT)
    for _ in range(2 * round(2 ** (quarter / 4))):
        tree.flush(UNIT)
    return debt(tree, here)


def _cost(geometry: Geometry, arrivals: float, done: Mix, prices: Prices) -> float:
    """The long-run cost of so many operations."""
    return sum(each * count for each, count in zip(long_run(geometry, arrivals, prices), done, strict=True))


def _moments(sequence: Sequence) -> list[int]:
    """Ticks before which the oracle may switch."""
    found, at = {0}, 0
    for phase in sequence.phases:
        found |= set(range(at, at + phase.ticks, STRIDE))
        at += phase.ticks
    return sorted(found)
