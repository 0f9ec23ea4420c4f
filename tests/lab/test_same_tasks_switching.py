"""Engine and simulator stay in step through any switches: every policy after every other one, at either pace, mid-load."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.policy import FIFO, Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.policy.base import RunInput, Task

from .conftest import Pair


class Heap:
    """Custom: when the tree has more than ``most`` runs all become one at level 1."""

    def __init__(self, most):
        self.most = most

    def pick(self, shape):
        runs = [(n, run) for n, level in enumerate(shape.levels) for run in level.runs]
        if len(runs) <= self.most:
            return None
        inputs = tuple(RunInput(n, run.id, tuple(t.number for t in run.tables)) for n, run in runs)
        return Task(inputs, max(1, len(shape.levels) - 1), None, f"{len(runs)} runs")

    def describe(self):
        return {"name": "tests:Heap", "most": self.most}


POLICIES = [
    Leveled(2),
    Leveled(4),
    Tiered(3),
    Tiered(5),
    LazyLeveling(4),
    Fluid(5, K=2, Z=2),
    Fluid(6, K=(4, 2), Z=3),
    *(Leveled(2, partial=rule) for rule in ("least_overlap", "oldest", "round_robin", "most_tombstones")),
    FIFO(capacity_bytes=30_000),
    Heap(4),
]
arrivals = st.tuples(st.integers(0, 300), st.integers(1, 60), st.integers(1, 13), st.integers(0, 6))
phases = st.tuples(st.sampled_from(POLICIES), st.sampled_from(["greedy", "lazy"]), st.lists(arrivals, max_size=14))


@settings(max_examples=40, deadline=None)
@given(st.lists(phases, min_size=1, max_size=5), st.integers(1, 3), st.sampled_from([None, 4.0]))
def test_the_same_tasks_for_the_same_arrivals_whatever_is_switched(phases, level0_runs, age):
    pair = Pair(phases[0][0], level0_runs=level0_runs, table_bytes=1_024, tombstone_age_s=age)
    for policy, pace, batches in phases:
        pair.switch(policy, pace)
        for first, count, step, alive in batches:
            pair.feed([((first + i * step) % 300, (i + count) % 7 <= alive) for i in range(count)])
