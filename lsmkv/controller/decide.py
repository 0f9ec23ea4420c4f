"""Deciding: books and a window in, books and decisions out. No clock, no I/O, no randomness.

Four questions, from slow to fast:

1. *Size ratio*, by the slow average of the mix, robustly. For each other ratio, what it would have saved is added up; when that
   has paid for going there and coming back (``ROUND_TRIPS``), the ratio changes.
2. *Runs per level*, by the fast average. More runs are free, fewer cost nothing at once either: the change is *lazy*, each level
   is brought in line by the arrival that reaches it. What should be merged before is the third question.
3. *Merging now*, by rent or buy (:mod:`lsmkv.controller.rent_or_buy`), which looks at no average at all.
4. *Memory*, if there is a budget for it: memtable or filters (:mod:`lsmkv.controller.split`), whenever the shape was thought
   about and stays.

A window without operations decides nothing. All merges wanted here, and the round trips, are paid from ``transition_share`` of
the I/O seen so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from lsmkv.controller.choose import best_runs, long_run, robust_cost
from lsmkv.controller.constants import KEEP, MERGES_AT_ONCE, ROUND_TRIPS, SHAPE_EVERY
from lsmkv.controller.prices import ReadCosts, read_costs, timed
from lsmkv.controller.rent_or_buy import Purchase, purchase, rents
from lsmkv.controller.sensors import Averages, Window, averaged
from lsmkv.controller.settings import Adaptive
from lsmkv.controller.sizes import SizeTree
from lsmkv.controller.split import Memory, Split, best_split, priced
from lsmkv.policy.geometry import Geometry

__all__ = ["Books", "Decision", "Merge", "Reshape", "decide"]


@dataclass(frozen=True, slots=True)
class Books:
    """What is remembered from window to window."""

    averages: Averages = field(default_factory=Averages)
    rent: Mapping[int, float] = field(default_factory=dict)
    """Blocks that reads have paid for each run (by id)."""
    regret: Mapping[int, float] = field(default_factory=dict)
    """Blocks that each other size ratio would have saved."""
    blocks: float = 0.0
    """All I/O seen."""
    spent: float = 0.0
    """What decisions have spent of it, by their predictions."""
    since: tuple[int, float] = (0, 0.0)
    """Windows, and operations in them, since the shape was thought about."""


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge neighbouring runs now."""

    runs: tuple[int, ...]
    """Their ids, newest first."""
    rent_blocks: float
    cost_blocks: float
    each: ReadCosts
    """Blocks that every lookup and scan will save."""
    saves: float
    """The same per operation of the present mix."""


@dataclass(frozen=True, slots=True)
class Reshape:
    """Another point of the continuum from now on, lazily."""

    geometry: Geometry
    before: Geometry
    cost_blocks: float
    """What the transition may cost at most (there and back); 0: runs per level only."""
    saves: float
    """Blocks per operation that the model expects to save at the present mix."""


Decision: TypeAlias = Merge | Reshape | Split


def decide(
    books: Books,
    tree: SizeTree,
    window: Window,
    settings: Adaptive,
    memory: Memory | None = None,
    entry_bytes: float = 0.0,
    cache_hit_rate: float = 0.0,
) -> tuple[Books, tuple[Decision, ...]]:
    """What to do after ``window`` with a tree like this: at most one reshape or split, then merges that have no run in common.

    ``memory``: what memtable and filters have now; None: it is not the controller's to split. ``entry_bytes``: of an entry on
    average, key and value; 0.0: not known, then nothing is split. ``cache_hit_rate``: of blocks, where seconds are reckoned with.
    """
    if settings.memory_bytes is None:
        memory = None
    settings = replace(settings, prices=priced(settings.prices, memory))
    entries = sum(run.entries for _, run in tree.runs())
    averages = averaged(books.averages, window, entries)
    spent, regret = books.spent, books.regret
    now = replace(books, averages=averages, blocks=books.blocks + window.blocks)
    if window.done.total <= 0 or not entries or not tree.buffer:
        return now, ()
    decisions: list[Decision] = []
    allowed = settings.transition_share * now.blocks - spent
    since = (books.since[0] + 1, books.since[1] + window.done.total)
    if since[0] >= SHAPE_EVERY or averages.changes > books.averages.changes:
        regret, shaped = _shaped(averages, regret, tree, since[1], settings, allowed)
        decisions += [] if shaped is None else [shaped]
        if shaped is None and memory is not None and entry_bytes > 0:
            found = _split(averages, tree, entry_bytes, settings, memory, cache_hit_rate)
            decisions += [] if found is None else [found]
        spent += 0.0 if shaped is None else shaped.cost_blocks
        since = (0, 0.0)
    rent = rents(tree, window.done, books.rent, settings.prices)
    twin = tree.copy()
    for _ in range(MERGES_AT_ONCE):
        bought = purchase(twin, rent, settings.prices, settings.transition_share * now.blocks - spent)
        if bought is None:
            break
        wanted = _merge(twin, bought, averages, settings)
        if not rent.keys() >= set(wanted.runs):  # one that is only about to be made
            break
        decisions.append(wanted)
        spent += wanted.cost_blocks
        twin.merge(bought.first, bought.last)
    merged = {run for one in decisions if isinstance(one, Merge) for run in one.runs}
    rent = {run: paid for run, paid in rent.items() if run not in merged}
    return replace(now, rent=rent, regret=regret, spent=spent, since=since), tuple(decisions)


def _split(
    averages: Averages, tree: SizeTree, entry_bytes: float, settings: Adaptive, memory: Memory, cache_hit_rate: float
) -> Split | None:
    """Another split of the memory if there should be one: by seconds where the owner knows them.

    Arrivals are counted by the memtable of now: the tree's own mean goes over many, and tells for long what another one gave.
    """
    assert settings.memory_bytes is not None
    entries = sum(run.entries for _, run in tree.runs())
    arrivals = entries * entry_bytes / (memory.memtable_bytes * (tree.level0_runs + 1))
    known = None if settings.seconds is None else timed(settings.prices, settings.seconds, entry_bytes, cache_hit_rate)
    prices = settings.prices if known is None else known.prices
    found = best_split(settings.memory_bytes, entries, arrivals, tree.geometry, averages.slow, prices, memory)
    return found if found is None or known is None else replace(found, block_s=known.block_s)


def _merge(tree: SizeTree, bought: Purchase, averages: Averages, settings: Adaptive) -> Merge:
    """The decision to merge, with what it promises."""
    placed = tree.runs()
    group = [run for _, run in placed[bought.first : bought.last + 1]]
    sizes = [run.entries for _, run in placed]
    after = [*sizes[: bought.first], tree.union([run.entries for run in group]), *sizes[bought.last + 1 :]]
    now, then = read_costs(sizes, settings.prices, tree.live), read_costs(after, settings.prices, tree.live)
    each = ReadCosts(*(a - b for a, b in zip(now, then, strict=True)))
    return Merge(tuple(run.id for run in group), bought.rent, bought.price, each, each.of(averages.fast))


def _shaped(
    averages: Averages, regret: Mapping[int, float], tree: SizeTree, count: float, settings: Adaptive, allowed: float
) -> tuple[Mapping[int, float], Reshape | None]:
    """The regrets with ``count`` more operations, and another shape if there should be one."""
    arrivals = sum(run.entries for _, run in tree.runs()) / tree.buffer if tree.buffer else 0.0
    if arrivals < 2:
        return regret, None
    now, prices, limit = tree.geometry, settings.prices, settings.space_limit
    ratio, cost = now.size_ratio, 0.0
    told = {
        one: best_runs(one, arrivals, averages.slow, prices, radius=averages.drift, space_limit=limit)
        for one in settings.size_ratios
    }
    mine = told.get(ratio) or best_runs(ratio, arrivals, averages.slow, prices, radius=averages.drift, space_limit=limit)
    regret = {one: max(0.0, regret.get(one, 0.0) + count * (mine[0] - told[one][0])) for one in told if one != ratio}
    best = max(regret, key=lambda one: regret[one], default=ratio)
    if regret.get(best, 0.0) > 0:
        trip = prices.merged * _round_trip(tree, best)
        if regret[best] > ROUND_TRIPS * trip and trip <= allowed:
            ratio, cost, regret = best, trip, {}
    found, geometry = best_runs(ratio, arrivals, averages.fast, prices, space_limit=limit)
    present = robust_cost(long_run(now, arrivals, prices), averages.fast, 0.0)
    if geometry == now or (ratio == now.size_ratio and found > KEEP * present):
        return regret, None
    return regret, Reshape(geometry, now, cost, present - found)


def _round_trip(tree: SizeTree, ratio: int) -> float:
    """Entries merged to bring the tree in line with another ratio at once, and back."""
    twin, lazily = tree.copy(), tree.geometry.size_ratio
    for one in (ratio, lazily):
        twin.switch(Geometry(one, (one - 1,), one - 1), patient=False)
    return twin.merged - tree.merged
