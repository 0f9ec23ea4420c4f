"""Work that is due whatever the policy: tombstones past their time, garbage that nobody needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lsmkv.policy import Leveled
from lsmkv.policy.picks import bottom_garbage, expired_tombstones, next_expiry, next_task
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape


def table(number, low=b"a", high=b"z", **known):
    return replace(TableMeta(number, 100, 10, 0, low, high, number * 10, number * 10 + 9), **known)


def dead(number, at, **known):
    return table(number, tombstones=2, tombstone_s=at, **known)


def tree(*levels, now=100.0, bound=10.0, **known):
    built = tuple(Level(tuple(Run(t.number, (t,)) for t in level)) for level in levels)
    return TreeShape(built, 10, 4, now_s=now, tombstone_age_s=bound, **known)


def test_a_table_past_the_bound_goes_to_the_bottom_with_what_lies_below():
    shape = tree([dead(9, 95.0)], [dead(5, 89.0)], [table(4)], [table(3)])
    task = expired_tombstones(shape)
    assert [one.level for one in task.inputs] == [1, 2, 3]
    assert (task.output_level, task.output_run, task.debt) == (3, 3, 0)
    assert "11 s" in task.reason
    assert next_task(Leveled(), shape) == task


def test_within_the_bound_nothing_is_due_and_the_next_time_is_known():
    shape = tree([dead(9, 95.0)], [dead(5, 91.0)], [table(4)])
    assert expired_tombstones(shape) is None
    assert next_expiry(shape) == 101.0
    assert expired_tombstones(replace(shape, now_s=101.0)) is not None
    assert next_expiry(replace(shape, now_s=101.0)) == 105.0


def test_without_a_bound_nothing_is_ever_due():
    shape = tree([], [dead(5, 1.0)], [table(4)], bound=None)
    assert (expired_tombstones(shape), next_expiry(shape)) == (None, None)


def test_tombstones_of_unknown_age_are_past_any_bound():
    shape = tree([], [dead(5, 0.0)], [table(4)])
    assert "unknown" in expired_tombstones(shape).reason
    assert next_expiry(shape) is None


def test_at_the_bottom_it_waits_for_the_snapshots_and_does_not_repeat_itself():
    shape = tree([], [], [dead(5, 1.0)], snapshot_floor=55)
    assert expired_tombstones(shape) is None
    task = expired_tombstones(replace(shape, snapshot_floor=59))
    assert (task.inputs[0].tables, task.output_level, task.output_run) == ((5,), 2, 5)


def test_a_flushed_table_leaves_level_0_for_it():
    task = expired_tombstones(tree([table(7), dead(6, 1.0), table(5)]))
    assert [one.run for one in task.inputs] == [6, 5]
    assert (task.output_level, task.output_run) == (1, None)


@pytest.mark.parametrize(
    ("known", "due"),
    [({"tombstones": 1}, True), ({"shadowed": 3}, True), ({}, False), ({"tombstones": 1, "max_seq": 500}, False)],
)
def test_garbage_is_rewritten_where_it_is_once_no_snapshot_needs_it(known, due):
    task = bottom_garbage(tree([dead(9, 1.0)], [], [table(5, **known)], bound=None, snapshot_floor=100))
    assert (task is not None) == due
    if due:
        assert (task.inputs[0].tables, task.output_level, task.output_run) == ((5,), 2, 5)


def test_tombstones_above_older_data_are_no_garbage_but_shadowed_versions_are():
    below = table(4)
    assert bottom_garbage(tree([], [dead(5, 1.0)], [below], bound=None)) is None
    assert bottom_garbage(tree([], [dead(5, 1.0, high=b"b")], [table(4, b"c")], bound=None)) is not None
    assert "3 entries" in bottom_garbage(tree([], [dead(5, 1.0, shadowed=3)], [below], bound=None)).reason


def test_what_the_policy_wants_comes_before_garbage():
    shape = tree([table(i) for i in range(20, 10, -1)], [], [dead(5, 1.0)], bound=None)
    assert next_task(Leveled(), shape).inputs[0].level == 0
    assert next_task(Leveled(), replace(shape, level0_runs=10)).inputs[0].level == 2
