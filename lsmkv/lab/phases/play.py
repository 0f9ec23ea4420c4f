"""One sequence played on a tree of sizes: by a static shape, or by a strategy that changes the tree as it goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from lsmkv.controller.prices import Mix, Prices, ReadCosts, read_costs
from lsmkv.controller.sizes import SizeTree
from lsmkv.lab.phases.sequences import TICKS, Sequence
from lsmkv.policy.geometry import Geometry

__all__ = ["UNIT", "Player", "Strategy", "loaded", "play"]

UNIT = 1_000.0
"""Entries of a memtable in the simulation."""


class Strategy(Protocol):
    """Who may change the tree between two ticks."""

    def tick(self, tree: SizeTree, done: Mix, blocks: float) -> None:
        """Operations ``done`` since the last tick, which cost ``blocks``; the tree may be switched and merged."""
        ...


@dataclass(slots=True)
class Player:
    """A tree on its way through a sequence, and what that has cost so far, in blocks."""

    tree: SizeTree
    prices: Prices
    operations: float
    """Of a tick."""
    reads: float = 0.0
    waiting: float = 0.0
    """Entries in the memtable."""
    told: float = 0.0
    """What a strategy knows of the cost."""

    @property
    def merges(self) -> float:
        """What merges cost."""
        return self.tree.merged * self.prices.merged

    @property
    def flushes(self) -> float:
        """What flushes cost."""
        return self.tree.flushed * self.prices.flushed

    @property
    def total(self) -> float:
        """All of it."""
        return self.reads + self.merges + self.flushes

    def copy(self) -> Player:
        """Another one at the same point."""
        return Player(self.tree.copy(), self.prices, self.operations, self.reads, self.waiting, self.told)

    def run(self, mixes: Iterable[Mix], strategy: Strategy | None = None) -> None:
        """Go on for as many ticks as there are mixes."""
        tree, prices, operations = self.tree, self.prices, self.operations
        seen, costs = -1, ReadCosts(0.0, 0.0, 0.0)
        for mix in mixes:
            if tree.changes != seen:
                seen, costs = tree.changes, read_costs([run.entries for _, run in tree.runs()], prices, tree.live)
            self.reads += operations * costs.of(mix)
            self.waiting += operations * mix.writes
            while self.waiting >= UNIT:
                self.waiting -= UNIT
                tree.flush(UNIT)
            if strategy is not None:
                cost = self.total
                strategy.tick(tree, mix.scaled(operations), cost - self.told)
                self.told = cost


def loaded(geometry: Geometry, sequence: Sequence, level0_runs: int = 1) -> SizeTree:
    """The tree of this geometry when the sequence begins."""
    tree = SizeTree(geometry, UNIT, level0_runs)
    for _ in range(sequence.arrivals):
        tree.flush(UNIT)
    tree.live = sequence.live(sequence.arrivals * UNIT)
    tree.merged = tree.flushed = 0.0
    return tree


def play(sequence: Sequence, tree: SizeTree, prices: Prices, strategy: Strategy | None = None) -> Player:
    """Run the whole sequence from ``tree`` on, with what was merged in it before counted."""
    player = Player(tree, prices, sequence.arrivals * UNIT / TICKS)
    player.run(sequence.mixes(), strategy)
    return player
