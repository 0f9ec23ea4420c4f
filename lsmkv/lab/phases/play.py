"""One sequence played on a tree of sizes: by a static shape, or by a strategy that changes the tree as it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lsmkv.controller.prices import Mix, Prices, ReadCosts, read_costs
from lsmkv.controller.sizes import SizeTree
from lsmkv.lab.phases.sequences import TICKS, Sequence
from lsmkv.policy.geometry import Geometry

__all__ = ["Played", "Strategy", "loaded", "play"]

UNIT = 1_000.0
"""Entries of a memtable in the simulation."""


class Strategy(Protocol):
    """Who may change the tree between two ticks."""

    def tick(self, tree: SizeTree, done: Mix, blocks: float) -> None:
        """Operations ``done`` since the last tick, which cost ``blocks``; the tree may be switched and merged."""
        ...


@dataclass(slots=True)
class Played:
    """What a sequence cost, in blocks."""

    reads: float = 0.0
    merges: float = 0.0
    flushes: float = 0.0
    by_tick: list[float] = field(default_factory=list)

    @property
    def total(self) -> float:
        """All of it."""
        return self.reads + self.merges + self.flushes


def loaded(geometry: Geometry, sequence: Sequence, level0_runs: int = 1) -> SizeTree:
    """The tree of this geometry when the sequence begins."""
    tree = SizeTree(geometry, UNIT, level0_runs)
    for _ in range(sequence.arrivals):
        tree.flush(UNIT)
    tree.live = sequence.live(sequence.arrivals * UNIT)
    tree.merged = tree.flushed = 0.0
    return tree


def play(
    sequence: Sequence,
    tree: SizeTree,
    prices: Prices,
    strategy: Strategy | None = None,
    look: Callable[[int, SizeTree], None] | None = None,
) -> Played:
    """Run the sequence; ``look`` is shown the tree before every tick."""
    played = Played()
    operations = sequence.arrivals * UNIT / TICKS
    waiting, told, seen, costs = 0.0, 0.0, -1, ReadCosts(0.0, 0.0, 0.0)
    for number, mix in enumerate(sequence.mixes()):
        if look is not None:
            look(number, tree)
        before = played.reads + tree.merged * prices.merged
        if tree.changes != seen:
            seen, costs = tree.changes, read_costs([run.entries for _, run in tree.runs()], prices, tree.live)
        played.reads += operations * costs.of(mix)
        waiting += operations * mix.writes
        while waiting >= UNIT:
            waiting -= UNIT
            tree.flush(UNIT)
        if strategy is not None:
            cost = played.reads + tree.merged * prices.merged + tree.flushed * prices.flushed
            strategy.tick(tree, mix.scaled(operations), cost - told)
            told = cost
        played.by_tick.append(played.reads + tree.merged * prices.merged - before)
    played.merges = tree.merged * prices.merged
    played.flushes = tree.flushed * prices.flushed
    return played
