"""The discrete model against the simulator, key by key at small sizes: the tree, the copies, lookups of absent keys."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv import cost
from lsmkv.policy import Fluid

FLUSH = 40


@st.composite
def policies(draw):
    """A point of the continuum, some of them with a K for each level."""
    ratio = draw(st.integers(2, 6))
    runs = st.integers(1, ratio - 1)
    inner = draw(st.one_of(runs, st.lists(runs, min_size=2, max_size=3).map(tuple)))
    return Fluid(ratio, K=inner, Z=draw(runs))


@settings(max_examples=40, deadline=None)
@given(policies(), st.integers(1, 130), st.integers(1, 3))
def test_growing_trees_are_counted_as_they_are_simulated(policy, flushes, level0_runs):
    load = lsmkv.Writes(entries=flushes * FLUSH, memtable=FLUSH)
    done = lsmkv.simulate(policy, load, level0_runs=level0_runs, filter_bits_per_key=5)
    ideal = cost.ideal_shape(policy, flushes * FLUSH, flush_entries=FLUSH, level0_runs=level0_runs, filter_bits_per_key=5)
    runs = [[run.entries for run in level.runs] for level in done.tree.levels]
    assert [level for level in runs if level] == [level for level in ([r.entries for r in x.runs] for x in ideal.levels) if level]
    counted = cost.load_copies(policy.geometry, flushes // (level0_runs + 1), level0_runs)
    merged = sum(counted[1:]) * FLUSH * (level0_runs + 1)
    assert done.last.update_copies == pytest.approx(1 + merged / (flushes * FLUSH))
    said = cost.predict(cost.Workload(), ideal, cost.System(policy))
    assert said.zero_lookup_blocks == pytest.approx(done.last.zero_lookup_blocks, rel=0.15, abs=0.02)  # theirs: ideal filters
    assert said.zero_lookup_filter_checks <= done.last.runs + 1e-9
