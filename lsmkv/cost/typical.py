"""Trees at moments spread evenly over time: what a policy keeps, neither at its best nor at its worst.

One tree is no fair judge of a policy: a level has one run when it was just emptied and K before it is full, the last level is
partly full, and two size ratios are never in phase. So costs are averaged over moments.

*Growing* (keys written once): the tree while it takes in so many more entries. *Steady* (U keys overwritten at random): one
cycle of the last level, which holds all keys; an inner level repeats what it does for each arrival of the level below, so the
moment is a number whose digits, to bases counted by :mod:`lsmkv.cost.copies`, say where each level is in its cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from math import ceil, prod

from lsmkv.cost.copies import level_cycles, policy_geometry
from lsmkv.cost.filters import with_filters
from lsmkv.cost.ideal import WALK_LIMIT, ideal_shape, spanning_run
from lsmkv.cost.records import System, Workload
from lsmkv.cost.walk import walks
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy
from lsmkv.policy.geometry import Geometry
from lsmkv.version.shape import Level, TreeShape

__all__ = ["MOMENTS", "typical_shapes"]

MOMENTS = 16
"""Trees that are looked at, unless the caller says otherwise."""
GOLDEN = 0.6180339887498949
"""Moments apart by this share of the time fall into no step with any level."""


def typical_shapes(
    policy: Policy, workload: Workload, system: System, horizon_entries: float | None = None, moments: int = MOMENTS
) -> list[TreeShape]:
    """``moments`` trees of this policy, spread evenly over time, with the system's filters.

    Growing: from ``system.entries`` on, over ``horizon_entries`` more (None: as many again). Steady (``live_entries``): over a
    cycle of the last level. A policy outside the continuum, or one with partial merges, is walked on paper: 0.1 ms a flush, at
    most 20,000 flushes.

    Raises InvalidArgumentError if the system does not say how many entries there are and how many a flush has.
    """
    if system.flush_entries is None:
        raise InvalidArgumentError("system.flush_entries is None: how many entries a flush has is needed to know the tree")
    geometry = policy_geometry(policy)
    if workload.live_entries is not None and geometry is not None and geometry.partial is None:
        return [
            with_filters(shape, system.filter_bits_per_key, system.filter_allocation)
            for shape in _steady(geometry, workload.live_entries, system.flush_entries, system, moments)
        ]
    entries = system.entries if system.entries is not None else workload.live_entries
    if entries is None:
        raise InvalidArgumentError("system.entries is None: how many entries the tree holds is needed, or workload.live_entries")
    span = entries if horizon_entries is None else horizon_entries
    if geometry is None or geometry.partial is not None:
        return _walked(policy, workload, system, [round(entries + span * at) // system.flush_entries for at in _spread(moments)])
    return [
        ideal_shape(
            policy,
            round(entries + span * at),
            flush_entries=system.flush_entries,
            level0_runs=system.level0_runs,
            entry_bytes=max(1, round(system.file_entry_bytes)),
            filter_bits_per_key=system.filter_bits_per_key,
            filter_allocation=system.filter_allocation,
        )
        for at in _spread(moments)
    ]


def _spread(moments: int) -> Iterator[float]:
    """Numbers in [0, 1), evenly spread, in no step with anything."""
    return ((0.5 + i * GOLDEN) % 1 for i in range(moments))


def _walked(policy: Policy, workload: Workload, system: System, flushes: list[int]) -> list[TreeShape]:
    """Trees after so many flushes, from one walk on paper."""
    if max(flushes) > WALK_LIMIT:
        raise InvalidArgumentError(
            f"system.entries and the horizon are {max(flushes)} flushes: more than {WALK_LIMIT} need a policy of the continuum "
            "without partial merges"
        )
    walked = walks(
        policy,
        system.flush_entries or 1,
        level0_runs=system.level0_runs,
        entry_bytes=max(1, round(system.file_entry_bytes)),
        live_entries=workload.live_entries,
    )
    wanted = set(flushes)
    shapes = {at.flushes: at.shape for at in islice(walked, max(flushes) + 1) if at.flushes in wanted}
    return [with_filters(shapes[n], system.filter_bits_per_key, system.filter_allocation) for n in flushes]


def _steady(geometry: Geometry, live: float, flush: int, system: System, moments: int) -> Iterator[TreeShape]:
    """Trees of U keys that are overwritten for ever."""
    levels, buffer, flushed = level_cycles(geometry, live, flush, system.level0_runs)
    flushes = system.level0_runs + 1
    period = prod((len(cycle) for cycle in levels), start=flushes)
    for share in _spread(moments):
        at, waiting = divmod(int(share * period), flushes)
        sizes: list[list[float]] = [[flushed] * waiting]
        for cycle in levels:
            at, place = divmod(at, len(cycle))
            sizes.append(cycle[place])
        count = sum(map(len, sizes))
        numbers = iter(range(count, 0, -1))
        each = max(1, round(system.file_entry_bytes))
        shaped = tuple(Level(tuple(spanning_run(next(numbers), ceil(n), each) for n in runs)) for runs in sizes)
        yield replace(TreeShape(shaped), buffer_entries=buffer, level0_runs=system.level0_runs)
