"""Choosing a shape: what is dear is avoided, space is kept, a mix that may drift is minded; nonsense is refused by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv import cost
from lsmkv.cost.robust import divergence, robust_dual
from lsmkv.cost.typical import typical_shapes
from lsmkv.cost.walk import walks
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import FIFO, Fluid, LazyLeveling, Leveled, Task, Tiered
from lsmkv.version.shape import TreeShape

SYSTEM = cost.System(Leveled(10), entries=500_000, flush_entries=1_000, level0_runs=1)
SHORT = {"moments": 5}
GRID = cost.default_grid([4, 7])


def test_readers_get_few_runs_and_writers_many() -> None:
    reading = cost.best_shape(cost.Workload(0, 0, 1, 0), SYSTEM, GRID, **SHORT)
    writing = cost.best_shape(cost.Workload(0, 0, 0, 1), SYSTEM, GRID, **SHORT)
    assert isinstance(reading.policy, Leveled)
    assert isinstance(writing.policy, Tiered)
    assert len(reading.ranking) == len(GRID)
    assert [one.per_operation for one in reading.ranking] == sorted(one.per_operation for one in reading.ranking)


def test_a_space_limit_is_kept() -> None:
    workload = cost.Workload(0, 0, 0, 1, live_entries=300_000)
    free = cost.best_shape(workload, SYSTEM, GRID, **SHORT)
    assert isinstance(free.policy, Tiered)
    bound = cost.best_shape(workload, SYSTEM, GRID, space_limit=1.6, **SHORT)
    assert bound.best.space_amplification <= 1.6
    assert {one.policy for one in bound.ranking} | {one.policy for one in bound.too_large} == set(GRID)
    with pytest.raises(InvalidArgumentError, match=r"space_limit 1\.001 is below what any shape needs: \w+ T="):
        cost.best_shape(workload, SYSTEM, GRID, space_limit=1.001, **SHORT)


def test_what_is_not_known_is_asked_for_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match=r"system\.flush_entries"):
        cost.best_shape(cost.Workload(), replace(SYSTEM, flush_entries=None))
    with pytest.raises(InvalidArgumentError, match=r"system\.entries"):
        cost.best_shape(cost.Workload(), replace(SYSTEM, entries=None))
    with pytest.raises(InvalidArgumentError, match="grid is empty"):
        cost.best_shape(cost.Workload(), SYSTEM, [])
    for name in ("robust_rho", "horizon_entries", "space_limit"):
        with pytest.raises(InvalidArgumentError, match=name):
            cost.best_shape(cost.Workload(), SYSTEM, GRID, **{name: -1})
    for name in ("entries", "flush_entries"):
        with pytest.raises(InvalidArgumentError, match=f"{name} must be a whole number of at least 1, not 0"):
            replace(SYSTEM, **{name: 0})
    with pytest.raises(InvalidArgumentError, match="size_ratio must be a whole number from 2 to 64, not 1"):
        cost.default_grid([4, 1])
    with pytest.raises(InvalidArgumentError, match="cache_hit_rate"):
        replace(SYSTEM, cache_hit_rate=1.1)
    with pytest.raises(InvalidArgumentError, match="filter_allocation"):
        replace(SYSTEM, filter_allocation="best")
    with pytest.raises(InvalidArgumentError, match="no price above 0"):
        cost.Seconds()
    with pytest.raises(InvalidArgumentError, match=r"expected must sum to 1, not 0\.5"):
        cost.robust_cost([1, 2], [0.25, 0.25], 0)


mixes = st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(lambda raw: [x / sum(raw) for x in raw])
costs = st.lists(st.floats(0, 100), min_size=4, max_size=4)


@given(costs, mixes, st.floats(0, 3), st.floats(0, 3))
def test_the_robust_cost_lies_between_the_nominal_and_the_dearest_and_grows_with_rho(c, w, rho, more) -> None:
    nominal = sum(a * b for a, b in zip(c, w, strict=True))
    robust = cost.robust_cost(c, w, rho)
    slack = 1e-9 * (1 + max(c))
    assert nominal - slack <= robust <= max(c) + slack
    assert robust <= cost.robust_cost(c, w, rho + more) + slack


@given(costs, mixes, st.floats(0.001, 3), st.floats(0.01, 100))
def test_the_worst_mix_lies_within_rho_and_no_dual_value_is_below_it(c, w, rho, weight) -> None:
    worst = cost.worst_mix(c, w, rho)
    assert divergence([p / sum(worst) for p in worst], w) <= rho * (1 + 1e-6) + 1e-9
    assert robust_dual(c, w, rho, weight) >= cost.robust_cost(c, w, rho) - 1e-6 * (1 + max(c))


@given(mixes, mixes, st.lists(st.floats(0, 100), min_size=4, max_size=4))
def test_no_mix_within_reach_costs_more(p, w, c) -> None:
    rho = divergence(p, w)
    assert sum(a * b for a, b in zip(p, c, strict=True)) <= cost.robust_cost(c, w, rho) + 1e-6 * (1 + max(c))


@pytest.mark.parametrize("policy", [Leveled(4), LazyLeveling(4), Tiered(4), Fluid(7, K=3, Z=2)])
def test_steady_trees_are_those_of_a_walk_on_paper(policy) -> None:
    live, flush = 40_000, 500
    workload = cost.Workload(live_entries=live)
    system = replace(SYSTEM, flush_entries=flush)
    shapes = typical_shapes(policy, workload, system, moments=200)
    walked = [one.shape for one in islice(walks(policy, flush, level0_runs=1, live_entries=live), 1_000, 1_400)]

    def mean(trees, what) -> float:
        return sum(map(what, trees)) / len(trees)

    def runs(shape) -> int:
        return sum(len(level.runs) for level in shape.levels)

    assert max(len(s.levels) for s in shapes) == max(len(s.levels) for s in walked)
    assert mean(shapes, runs) == pytest.approx(mean(walked, runs), rel=0.1)
    assert mean(shapes, lambda s: s.entries) == pytest.approx(mean(walked, lambda s: s.entries), rel=0.05)


def test_policies_outside_the_continuum_are_walked() -> None:
    grid = [FIFO(capacity_bytes=10**9), Leveled(4, partial="least_overlap"), Leveled(4)]
    system = replace(SYSTEM, entries=40_000)
    choice = cost.best_shape(cost.Workload(0, 0, 1, 0), system, grid, moments=3)
    assert {one.policy for one in choice.ranking} == set(grid)
    assert choice.ranking[-1].policy == grid[0]
    with pytest.raises(InvalidArgumentError, match=r"system\.entries and the horizon are .* flushes: more than 20000"):
        cost.judge(grid[0], cost.Workload(), replace(SYSTEM, entries=10**9))


@dataclass
class Unhashable:
    """A policy of somebody else: a dataclass that can be compared, and is not frozen."""

    size_ratio: int = 4

    def pick(self, shape: TreeShape) -> Task | None:
        return Leveled(self.size_ratio).pick(shape)

    def describe(self) -> dict[str, object]:
        return {"name": "tests:Unhashable"}


def test_a_policy_that_cannot_be_hashed_is_judged_all_the_same() -> None:
    mix, system = cost.Workload(1, 1, 1, 1), replace(SYSTEM, entries=20_000)
    own, known = (cost.judge(policy, mix, system, **SHORT) for policy in (Unhashable(), Leveled(4)))
    assert own.blocks.zero_lookup == pytest.approx(known.blocks.zero_lookup, rel=0.5)
    assert own.policy == Unhashable()
