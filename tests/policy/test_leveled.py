"""Leveled compaction keeps its geometry: capacities, runs, copies, termination."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.leveled import Leveled
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def entries(shape):
    return [level.entries for level in shape.levels]


def last_level(shape):
    return max([1, *(i for i, level in enumerate(shape.levels) if level.runs)])


@given(st.integers(2, 12), st.integers(1, 6), st.lists(st.integers(1, 100), min_size=1, max_size=120))
@QUICK
def test_any_arrivals_settle_within_the_rules(paper_tree, ratio, level0_runs, sizes):
    policy, tree = Leveled(ratio), paper_tree(level0_runs)
    for size in sizes:
        tree.flush(size)
        tree.settle(policy)
        shape = tree.shape
        assert len(shape.levels[0].runs) <= level0_runs
        assert all(len(level.runs) <= 1 for level in shape.levels[1:])
        for number, level in enumerate(shape.levels[1:], 1):
            most_allowed = policy.capacity_entries(number, shape.buffer_entries) + ratio ** (number - 1) * shape.buffer_entries
            assert level.entries <= most_allowed
    assert tree.shape.entries == sum(sizes)


@given(st.integers(2, 8), st.integers(1, 3), st.integers(1, 50))
@QUICK
def test_equal_arrivals_fill_every_level_exactly(paper_tree, ratio, level0_runs, size):
    policy, tree = Leveled(ratio), paper_tree(level0_runs)
    buffer = size * (level0_runs + 1)
    for arrival in range(1, 2 * ratio**2):
        for _ in range(level0_runs + 1):
            tree.flush(size)
        tree.settle(policy)
        assert tree.shape.buffer_entries == buffer
        digits, rest = [], arrival
        for _ in range(last_level(tree.shape) - 1):
            digits.append(rest % ratio * buffer)
            rest //= ratio
            buffer *= ratio
        assert entries(tree.shape)[1:] == [*digits, rest * buffer]  # the levels count the arrivals in base T
        buffer = size * (level0_runs + 1)


@pytest.mark.parametrize(("jitter", "close"), [(0, 1e-9), (15, 0.04)])
@pytest.mark.parametrize("ratio", [2, 3, 4, 6, 10])
def test_copies_are_those_of_the_exact_count(paper_tree, ratio, jitter, close):
    policy, tree = Leveled(ratio), paper_tree(1)
    arrivals = 4 * ratio**2
    for i in range(2 * arrivals):
        tree.flush(50 + i * 7 % (2 * jitter + 1) - jitter)
        tree.settle(policy)
    assert last_level(tree.shape) >= 3
    K = 1
    exact = (ratio - 1) * (ratio - 1 + K) / (2 * K * ratio)
    # While a level was the last one it merged one arrival more before it moved down; level 2 got its first by a move.
    while_last = {1: ratio / arrivals, 2: (ratio - 1) * ratio / arrivals}
    for level, extra in while_last.items():
        assert tree.copied[level] / tree.shape.entries == pytest.approx(exact + extra, rel=close)


def test_level_0_waits_until_it_has_one_run_too_many(paper_tree):
    tree = paper_tree(3)
    for _ in range(3):
        tree.flush(10)
        assert Leveled().pick(tree.shape) is None
    tree.flush(10)
    task = Leveled().pick(tree.shape)
    assert [i.run for i in task.inputs] == [4, 3, 2, 1]
    assert (task.output_level, task.output_run) == (1, None)
    assert "level 0 has 4 runs, more than 3" in task.reason


def shape_of(*sizes, buffer, level0_runs=1):
    """One run of so many entries per level; a tuple gives several runs."""
    number, levels = 1000, []
    for size in sizes:
        runs = []
        for one in size if isinstance(size, tuple) else (size,) if size else ():
            number -= 1
            runs.append(Run(number, (TableMeta(number, one, one, 0, b"a", b"z", number * 10, number * 10 + 9),)))
        levels.append(Level(tuple(runs)))
    return TreeShape(tuple(levels), buffer, level0_runs)


@pytest.mark.parametrize(
    ("sizes", "buffer", "levels", "target"),
    [
        (((5, 5), 20, 100), 10, [0, 0, 1], 1),  # fits: 30 of 30
        (((5, 10), 20, 100), 10, [0, 0, 1], 1),  # within half an arrival: 35
        (((6, 10), 20, 100), 10, [0, 0, 1, 2], 2),  # 36 is too much: both go where there is room
        (((5, 5), 30, 120, 100), 10, [0, 0, 1, 2, 3], 3),  # level 2 is full as well and comes along
        (((5, 5), 30, 0, 100), 10, [0, 0, 1], 2),  # an empty level on the way takes it
        (((5, 5), 30), 10, [0, 0, 1], 1),  # the last level always merges first
        (((5, 5), 0, 100), 10, [0, 0], 1),
        (((5, 5),), 0, [0, 0], 1),  # the first arrival of all
    ],
)
def test_an_arrival_goes_to_the_first_level_with_room(sizes, buffer, levels, target):
    task = Leveled(4).pick(shape_of(*sizes, buffer=buffer))
    assert [i.level for i in task.inputs] == levels
    assert task.output_level == target


def test_the_last_level_moves_down_only_if_it_is_over_capacity():
    assert Leveled(4).pick(shape_of(0, 35, buffer=10)) is None
    task = Leveled(4).pick(shape_of(0, 36, buffer=10))
    assert ([i.level for i in task.inputs], task.output_level, task.output_run) == ([1], 2, None)
    assert Leveled(4).pick(shape_of(0, 20, 140, buffer=10)) is None
    assert Leveled(4).pick(shape_of(0, 20, 141, buffer=10)).output_level == 3


def test_relief_that_costs_nothing_comes_first():
    task = Leveled(4).pick(shape_of((5, 5), 50, buffer=10))
    assert [i.level for i in task.inputs] == [1]


def test_surplus_runs_are_merged_where_they_are():
    task = Leveled(4).pick(shape_of(0, 10, (30, 30), 100, buffer=10))
    assert ([i.level for i in task.inputs], task.output_level) == ([2, 2], 2)


def test_an_inner_level_far_above_its_capacity_is_passed_on():
    assert Leveled(4).pick(shape_of(0, 40, 20, 300, buffer=10)) is None
    task = Leveled(4).pick(shape_of(0, 41, 20, 300, buffer=10))
    assert ([i.level for i in task.inputs], task.output_level) == ([1, 2], 2)
    task = Leveled(4).pick(shape_of(0, 41, 99, 300, buffer=10))
    assert task.output_level == 2
    task = Leveled(4).pick(shape_of(0, 41, 120, 300, buffer=10))
    assert ([i.level for i in task.inputs], task.output_level) == ([1, 2, 3], 3)


@given(st.integers(2, 10), st.integers(2, 10), st.lists(st.integers(1, 60), min_size=5, max_size=80))
@QUICK
def test_a_tree_built_with_another_ratio_settles(paper_tree, before, after, sizes):
    tree = paper_tree(2)
    for size in sizes:
        tree.flush(size)
        tree.settle(Leveled(before))
    tree.settle(Leveled(after))
    assert Leveled(after).pick(tree.shape) is None
    assert tree.shape.entries == sum(sizes)


def test_an_empty_tree_is_settled():
    assert Leveled().pick(TreeShape()) is None


@pytest.mark.parametrize("ratio", [1, 0, -3, 65, 2.5, "10", True, None])
def test_a_meaningless_ratio_is_refused(ratio):
    with pytest.raises(InvalidArgumentError, match="size_ratio"):
        Leveled(ratio)


def test_a_policy_is_a_value():
    assert Leveled(4) == Leveled(size_ratio=4) != Leveled()
    assert hash(Leveled(4)) == hash(Leveled(4))
    with pytest.raises(FrozenInstanceError):
        Leveled().size_ratio = 3
