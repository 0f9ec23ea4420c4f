"""The tree of sizes does what the engine's policy does, task for task, through switches of both paces."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.controller.sizes import SizeTree
from lsmkv.policy import Fluid
from lsmkv.policy.apply import apply, input_tables
from lsmkv.policy.ranges import is_move
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape

FLUSH = 100


@st.composite
def points(draw):
    ratio = draw(st.sampled_from([2, 3, 4, 7, 10]))
    return Fluid(size_ratio=ratio, K=draw(st.integers(1, ratio - 1)), Z=draw(st.integers(1, ratio - 1)))


stretches = st.lists(st.tuples(points(), st.booleans(), st.integers(0, 60)), min_size=1, max_size=4)


def flushed(shape, made):
    table = TableMeta(made, FLUSH * 100, FLUSH, 0, b"\0", b"\xff", made, made)
    return shape.with_level(0, Level((Run(made, (table,)), *shape.levels[0].runs)))


def done(shape, task, made):
    """The shape after a task, and entries that it wrote."""
    merged = input_tables(shape, task)
    if is_move(shape, task, merged):
        return apply(shape, task, merged, run_id=made), 0
    return apply(shape, task, run_id=made), sum(table.entries for table in merged)


def rows(levels):
    levels = [list(level) for level in levels]
    while levels and not levels[-1]:
        levels.pop()
    return levels


@settings(max_examples=60, deadline=None)
@given(stretches, st.sampled_from([1, 4]))
def test_a_tree_of_sizes_is_the_policys_tree(stretches, level0_runs):
    tree = SizeTree(stretches[0][0].geometry, FLUSH, level0_runs)
    shape = TreeShape(level0_runs=level0_runs, buffer_entries=FLUSH * (level0_runs + 1))
    made = merged = 0
    for policy, patient, flushes in stretches:
        tree.geometry, tree.patient, shape = policy.geometry, patient, replace(shape, patient=patient)
        for _ in range(flushes):
            made += 1
            shape = flushed(shape, made)
            tree.flush(FLUSH)
            while (task := policy.pick(shape)) is not None:
                made += 1
                shape, written = done(shape, task, made)
                merged += written
            assert rows([run.entries for run in level] for level in tree.levels) == rows(
                [run.entries for run in level.runs] for level in shape.levels
            )
            assert tree.merged == merged
            if tree.in_line():  # a lazy switch is over then, in the engine as in the tree of sizes
                assert not tree.patient
                shape = replace(shape, patient=False)


@settings(max_examples=30, deadline=None)
@given(points(), st.integers(2, 200), st.data())
def test_merging_neighbours_keeps_every_entry_and_the_order_of_ages(policy, flushes, data):
    tree = SizeTree(policy.geometry, FLUSH)
    for _ in range(flushes):
        tree.flush(FLUSH)
    before = [run for _, run in tree.runs()]
    if len(before) < 2:
        return
    first = data.draw(st.integers(0, len(before) - 2))
    last = data.draw(st.integers(first + 1, len(before) - 1))
    tree.patient = True  # nothing else happens
    total, merged = sum(run.entries for run in before), tree.merged
    inside = sum(run.entries for run in before[first : last + 1])
    tree.merge(first, last)
    assert sum(run.entries for _, run in tree.runs()) == total
    assert tree.merged - merged == inside
    assert [run.id for _, run in tree.runs()][:first] == [run.id for run in before[:first]]
