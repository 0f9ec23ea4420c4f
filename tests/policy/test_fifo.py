"""FIFO keeps the newest within its bounds, merges nothing and brings nothing back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lsmkv.base.keys import MAX_SEQ
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import FIFO
from lsmkv.policy.apply import apply, check_task
from lsmkv.policy.base import RunInput, Task
from lsmkv.policy.registry import describe_policy, from_description
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape


def table(number, low=b"a", high=b"z", *, at=0.0, size=100):
    return TableMeta(number, size, 10, 0, low, high, number * 10, number * 10 + 9, born_s=at, newest_s=at)


def tree(*levels, now=100.0):
    built = tuple(Level(tuple(Run(run[0].number, tuple(run)) for run in level)) for level in levels)
    return TreeShape(built, 10, 2, now_s=now)


def numbers(task):
    return [number for one in task.inputs for number in one.tables]


def settle(policy, shape):
    for run_id in range(1000, 1100):
        task = policy.pick(shape)
        if task is None:
            return [t.number for t in shape.tables]
        merged = [t for t in shape.tables if t.number in numbers(task)]
        shape = apply(shape, task, merged, run_id)
    raise AssertionError("does not settle")


def test_the_oldest_go_until_the_rest_fits():
    shape = tree([[table(9)], [table(8)]], [[table(7)], [table(6)], [table(5)]])
    task = FIFO(250).pick(shape)
    assert (numbers(task), task.drops) == ([7, 6, 5], True)
    assert settle(FIFO(300), shape) == [9, 8, 7]
    assert settle(FIFO(1), shape) == [9]  # the newest run is never dropped for room
    assert FIFO(500).pick(shape) is None


def test_runs_beyond_the_limit_of_level_0_move_in_order():
    shape = tree([[table(i)] for i in range(9, 4, -1)], [[table(4)]])
    task = FIFO(10_000).pick(shape)
    assert (numbers(task), task.output_level, task.output_run, task.drops) == ([5], 1, None, False)
    assert settle(FIFO(10_000), shape) == [9, 8, 7, 6, 5, 4]


def test_what_is_past_its_time_goes_and_the_next_time_is_known():
    shape = tree([[table(9, at=99.0)]], [[table(8, at=90.0)], [table(7, at=80.0)], [table(6, at=79.0)]])
    policy = FIFO(10_000, ttl_s=20)
    assert numbers(policy.pick(shape)) == [7, 6]
    assert policy.wakes_s(shape) == 110.0
    assert settle(policy, shape) == [9, 8]
    assert FIFO(10_000).wakes_s(shape) is None


def test_while_a_snapshot_reads_nothing_is_dropped_but_level_0_is_kept_clear():
    shape = replace(tree([[table(i, at=1.0)] for i in range(9, 5, -1)], [[table(4, at=1.0)]]), snapshot_floor=50)
    policy = FIFO(100, ttl_s=20)
    assert settle(policy, shape) == [9, 8, 7, 6, 4]
    assert settle(policy, replace(shape, snapshot_floor=MAX_SEQ)) == []


def test_data_of_unknown_age_goes_only_for_room():
    shape = tree([[table(9)]], [[table(8)]])
    assert FIFO(10_000, 1.0).pick(shape) is None
    assert numbers(FIFO(150, 1.0).pick(shape)) == [8]


def test_nothing_is_dropped_above_older_data_that_stays():
    """Its keys would read as they were before."""
    shape = tree([], [[table(8, b"a", b"m", at=10.0), table(9, b"n", b"z", at=10.0)]], [[table(5, b"a", b"f", at=99.0)]])
    assert numbers(FIFO(10_000, 20).pick(shape)) == [9]
    with pytest.raises(InvalidArgumentError, match="old values"):
        check_task(shape, Task((RunInput(1, 8, (8,)),), 0, None, "", drops=True))


def test_a_tree_of_another_policy_is_dropped_table_by_table_from_below():
    last = [table(3, b"a", b"f", at=30.0), table(4, b"g", b"z", at=20.0)]
    shape = tree([], [[table(8, at=90.0)]], [last])
    assert numbers(FIFO(250).pick(shape)) == [4]
    assert numbers(FIFO(150).pick(shape)) == [4, 3]


def test_a_tree_that_is_one_run_is_trimmed_too_down_to_its_newest_table():
    """Bug: after compact() nothing was dropped until the next flush, however far over capacity the tree was."""
    one = [table(3, b"a", b"f", at=30.0), table(4, b"g", b"m", at=20.0), table(5, b"n", b"z", at=40.0)]
    shape = tree([], [], [one])
    assert numbers(FIFO(250).pick(shape)) == [4]
    assert settle(FIFO(150), shape) == [5]
    assert settle(FIFO(1), shape) == [5]
    assert settle(FIFO(150), tree([], [one], [[table(2)]])) == [5]


@pytest.mark.parametrize("bad", [(0,), (-1,), (1.5,), (True,), ("1",), (10, 0), (10, -1.0), (10, float("inf")), (10, "x")])
def test_bounds_that_would_drop_everything_are_refused(bad):
    with pytest.raises(InvalidArgumentError, match="FIFO"):
        FIFO(*bad)


@pytest.mark.parametrize("policy", [FIFO(100), FIFO(100, 2.5)])
def test_it_is_recorded_and_found_again(policy):
    assert from_description(describe_policy(policy)) == policy
