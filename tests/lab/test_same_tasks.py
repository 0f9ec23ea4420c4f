"""Engine and simulator make the same tasks and the same tables for the same arrivals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv import FIFO, Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.lab.writes import Writes
from lsmkv.policy.base import Policy, RunInput, Task
from lsmkv.version.shape import TreeShape

from .conftest import Batch, Pair, batches

POLICIES: list[Policy] = [
    Leveled(size_ratio=2),
    Leveled(size_ratio=4),
    Tiered(size_ratio=4),
    LazyLeveling(size_ratio=3),
    LazyLeveling(size_ratio=5),
    Fluid(size_ratio=7, K=3, Z=2),
    Fluid(size_ratio=5, K=(4, 2), Z=1),
    *(Leveled(size_ratio=3, partial=rule) for rule in ("least_overlap", "oldest", "round_robin", "most_tombstones")),
    FIFO(capacity_bytes=23_456),
    FIFO(capacity_bytes=1 << 30, ttl_s=7.5),
]
LOADS = [
    Writes(entries=2_000, memtable=50),
    Writes(entries=3_000, memtable=50, overwrites=0.5, deletes=0.1),
    Writes(entries=2_000, memtable=50, overwrites=0.1, deletes=0.4, seed=3),
]


@pytest.mark.parametrize("load", LOADS, ids=["inserts", "overwrites", "deletes"])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_every_policy_does_in_the_simulator_what_it_does_in_the_engine(policy: Policy, load: Writes) -> None:
    pair = Pair(policy)
    assert sum(pair.feed(batch) for batch in batches(load)) >= 15


@pytest.mark.parametrize("pace", ["greedy", "lazy"])
def test_switches_are_the_same_too(pace: str) -> None:
    pair = Pair(Leveled(size_ratio=4))
    plan = [
        Tiered(size_ratio=4),
        LazyLeveling(size_ratio=3),
        Fluid(size_ratio=7, K=2, Z=3),
        Leveled(size_ratio=6),
        Leveled(size_ratio=2),
    ]
    for at, batch in enumerate(batches(Writes(entries=6_000, memtable=50, overwrites=0.3, deletes=0.1))):
        pair.feed(batch)
        if at % 18 == 17 and plan:
            pair.switch(plan.pop(0), pace)
    assert not plan


def test_tombstones_past_their_bound_sink_in_both() -> None:
    pair = Pair(Tiered(size_ratio=4), level0_runs=2, tombstone_age_s=5.0)
    load = Writes(entries=4_000, memtable=50, overwrites=0.2, deletes=0.2)
    assert sum(pair.feed(batch) for batch in batches(load)) > 50


class Pairwise:
    """Custom: whenever level 0 has too many runs they become one run of level 1; two neighbours of like size merge."""

    def pick(self, shape: TreeShape) -> Task | None:
        def whole(level: int, count: int, first: int = 0) -> tuple[RunInput, ...]:
            runs = shape.levels[level].runs[first : first + count]
            return tuple(RunInput(level, run.id, tuple(t.number for t in run.tables)) for run in runs)

        if len(shape.levels[0].runs) > shape.level0_runs:
            return Task(whole(0, len(shape.levels[0].runs)), 1, None, "level 0 is full")
        runs = shape.levels[1].runs if len(shape.levels) > 1 else ()
        for at in range(len(runs) - 1):
            if runs[at].entries * 2 > runs[at + 1].entries:
                return Task(whole(1, 2, at), 1, runs[at].id, "two runs of like size")
        return None

    def describe(self) -> dict[str, object]:
        return {"name": f"{__name__}:Pairwise"}


def test_so_does_a_policy_of_ones_own() -> None:
    pair = Pair(Pairwise())
    assert sum(pair.feed(batch) for batch in batches(Writes(entries=3_000, memtable=50, overwrites=0.2, deletes=0.1))) > 50


WRITES = st.lists(st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=30), min_size=1, max_size=25)
CONTINUUM = st.integers(2, 6).flatmap(
    lambda ratio: st.builds(Fluid, size_ratio=st.just(ratio), K=st.integers(1, ratio - 1), Z=st.integers(1, ratio - 1))
)


@given(policy=st.one_of(CONTINUUM, st.sampled_from(POLICIES)), arrivals=WRITES, level0_runs=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_any_arrivals_at_all(policy: Policy, arrivals: list[Batch], level0_runs: int) -> None:
    pair = Pair(policy, level0_runs=level0_runs, table_bytes=1_024)
    for batch in arrivals:
        pair.feed(batch)
