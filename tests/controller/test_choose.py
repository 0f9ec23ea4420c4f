"""Which point of the continuum suits a mix: the cheap sums agree with the model's, and the dual is the worst mix nearby."""

from __future__ import annotations

from math import inf, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv import cost
from lsmkv.controller.choose import best_runs, candidates, long_run, robust_cost
from lsmkv.controller.prices import Mix, Prices, read_costs
from lsmkv.controller.sensors import relative_entropy
from lsmkv.policy import Leveled, Tiered

PRICES = Prices()
shares = st.tuples(*[st.floats(0.01, 1.0)] * 4).map(lambda four: Mix(*four).scaled(1 / sum(four)))
costs = st.tuples(*[st.floats(0.0, 30.0)] * 4).map(lambda four: Mix(*four))


@pytest.mark.parametrize("policy", [Leveled(size_ratio=4), Tiered(size_ratio=4), Tiered(size_ratio=10)])
@pytest.mark.parametrize("live", [inf, 30_000.0])
def test_reads_cost_what_the_exact_model_says(policy, live):
    shape = cost.ideal_shape(policy, 57_000, flush_entries=1_000, level0_runs=1)
    sizes = [float(run.entries) for level in shape.levels for run in level.runs]
    told = cost.predict(cost.Workload(live_entries=None if live == inf else live), shape, cost.System(policy))
    mine = read_costs(sizes, Prices(check=0.0), live)
    assert mine.zero == pytest.approx(told.zero_lookup_blocks, rel=0.1, abs=0.01)
    assert mine.found == pytest.approx(told.lookup_blocks, rel=0.02)
    assert mine.scan == pytest.approx(told.scan_blocks, rel=0.05)


@settings(deadline=None)
@given(costs, shares, shares, st.floats(0.0, 2.0))
def test_no_mix_within_the_radius_costs_more_than_the_robust_cost(costs, mix, other, part):
    near = mix.scaled(1 - min(1.0, part)).plus(other.scaled(min(1.0, part)))
    radius = sum(p * log(p / q) for p, q in zip(near, mix, strict=True))
    worst = sum(c * p for c, p in zip(costs, near, strict=True))
    assert robust_cost(costs, mix, radius + 1e-9) >= worst * (1 - 1e-9) - 1e-9


@given(costs, shares)
def test_without_a_radius_it_is_the_mean_and_with_a_large_one_at_most_the_largest(costs, mix):
    mean = sum(c * p for c, p in zip(costs, mix, strict=True))
    assert robust_cost(costs, mix, 0.0) == pytest.approx(mean)
    assert mean * (1 - 1e-9) <= robust_cost(costs, mix, 5.0) <= max(costs) * (1 + 1e-9)


def test_writes_want_many_runs_and_scans_one():
    assert best_runs(10, 400, Mix(writes=1.0), PRICES)[1].inner_runs == (9,)
    seeks = best_runs(10, 400, Mix(scans=1.0), PRICES)[1]
    assert (seeks.inner_runs, seeks.last_runs) == ((1,), 1)


def test_a_space_limit_leaves_only_shapes_that_keep_it():
    assert {one.last_runs for one in candidates(10, 1.5)} == {1}
    assert candidates(10, 1.0) == tuple(one for one in candidates(10) if (one.inner_runs, one.last_runs) == ((1,), 1))


def test_more_runs_cost_scans_more_and_writes_less():
    points = [one for one in candidates(10) if one.inner_runs[0] == one.last_runs]
    told = [long_run(one, 400, PRICES) for one in points]
    assert [one.scans for one in told] == sorted(one.scans for one in told)
    assert [one.writes for one in told] == sorted((one.writes for one in told), reverse=True)


@given(shares, shares)
def test_relative_entropy_is_never_negative_and_zero_for_the_same(mix, other):
    assert relative_entropy(mix, other) >= -1e-9
    assert relative_entropy(mix, mix) == pytest.approx(0.0, abs=1e-12)
