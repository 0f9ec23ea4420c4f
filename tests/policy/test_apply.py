"""Tasks on paper: what they do to the shape, and which of them nobody may carry out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.apply import apply, count_arrival, input_tables
from lsmkv.policy.base import RunInput, Task
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape


def table(number, smallest=b"a", largest=b"z", entries=10):
    return TableMeta(number, 100, entries, 1, smallest, largest, number * 10, number * 10 + 9, 90, 80)


def tree():
    """Two flushes above a run of three tables above a run of one."""
    low, mid, high = table(3, b"a", b"c"), table(4, b"d", b"m"), table(5, b"n", b"p")
    return TreeShape(
        (
            Level((Run(9, (table(7),)), Run(8, (table(6, b"d", b"e"),)))),
            Level((Run(6, (low, mid, high)),)),
            Level((Run(2, (table(1, b"b", b"x", 50),)),)),
        )
    )


def ids(shape):
    return [[(run.id, [t.number for t in run.tables]) for run in level.runs] for level in shape.levels]


def everything(*levels):
    return tuple(RunInput(n, run.id, tuple(t.number for t in run.tables)) for n in levels for run in tree().levels[n].runs)


def test_a_task_that_drops_leaves_nothing_in_their_place():
    after = apply(tree(), Task((RunInput(1, 6, (5,)), RunInput(2, 2, (1,))), 0, None, "", drops=True))
    assert ids(after) == [[(9, [7]), (8, [6])], [(6, [3, 4])]]
    assert count_arrival((2, 30), tree(), Task(everything(0), 1, None, "", drops=True)) == (2, 30)


def test_times_and_tombstones_are_those_of_the_oldest():
    old, young = replace(table(3), born_s=5.0, newest_s=6.0, tombstone_s=5.5), replace(table(7), born_s=8.0, newest_s=9.0)
    young = replace(young, tombstones=0, shadowed=2)
    shape = TreeShape((Level((Run(7, (young,)), Run(3, (old,)))),))
    merged = apply(shape, Task((RunInput(0, 7, (7,)), RunInput(0, 3, (3,))), 1, None, "")).tables[0]
    assert (merged.born_s, merged.newest_s, merged.tombstone_s, merged.shadowed) == (5.0, 9.0, 5.5, 2)
    without = apply(TreeShape((Level((Run(7, (young,)),)),)), Task((RunInput(0, 7, (7,)),), 1, None, "")).tables[0]
    assert without.tombstone_s == 0.0


def test_without_outputs_all_inputs_become_one_table():
    after = apply(tree(), Task(everything(0, 1), 1, None, ""))
    assert ids(after) == [[], [(10, [8])], [(2, [1])]]
    merged = after.levels[1].runs[0].tables[0]
    assert (merged.entries, merged.tombstones, merged.bytes, merged.raw_bytes, merged.filter_bits) == (50, 5, 500, 450, 400)
    assert (merged.smallest, merged.largest, merged.min_seq, merged.max_seq) == (b"a", b"z", 30, 79)


def test_outputs_and_run_id_are_taken_as_given():
    outputs = [table(20, b"a", b"c"), table(21, b"d", b"z")]
    after = apply(tree(), Task(everything(0, 1, 2), 2, None, ""), outputs, 33)
    assert ids(after) == [[], [], [(33, [20, 21])]]
    assert apply(tree(), Task(everything(0, 1, 2), 2, None, ""), []) == TreeShape()


def test_untouched_tables_of_the_joined_run_stay():
    inputs = (RunInput(0, 8, (6,)), RunInput(1, 6, (4,)))
    older_only = TreeShape((Level((tree().levels[0].runs[1],)), *tree().levels[1:]))
    after = apply(older_only, Task(inputs, 1, 6, ""), [table(20, b"d", b"m")])
    assert ids(after) == [[], [(6, [3, 20, 5])], [(2, [1])]]


def test_the_given_shape_is_not_changed():
    before = tree()
    apply(before, Task(everything(0, 1), 1, None, ""))
    assert before == tree()


REFUSED = [
    (Task((), 1, None, "why"), "no inputs"),
    (Task((RunInput(0, 9, (99,)),), 1, None, ""), r"\[99\]"),
    (Task((RunInput(1, 9, (7,)),), 1, None, ""), r"\[7\]"),
    (Task((RunInput(0, 9, (7,)), RunInput(0, 9, (7,))), 1, None, ""), "twice"),
    (Task((RunInput(1, 6, (3,)), RunInput(1, 6, (4,))), 1, 6, ""), "several inputs"),
    (Task(everything(0), 1, 77, ""), "run 77 at level 1"),
    (Task(everything(2), 64, None, ""), "level 64"),
    (Task(everything(2), -1, None, ""), "past table|level -1"),
    (Task((RunInput(0, 9, (7,)),), 0, 9, ""), "level 0: must be"),
    (Task((RunInput(1, 6, (4,)),), 0, None, "", drops=True), "old values would come back"),
    (Task((RunInput(0, 9, (7,)),), 1, None, ""), "past table 6 of level 0"),
    (Task(everything(0), 2, None, ""), "past table 3 of level 1"),
    (Task((RunInput(1, 6, (3, 4, 5)),), 0, None, ""), "past table 6 of level 0"),
    (Task(everything(2), 1, None, ""), "past table 3 of level 1"),
    (Task(everything(0), 1, 6, ""), "leaves its table 3"),
    (Task(everything(1), 3, None, ""), "past table 1 of level 2"),
]


@pytest.mark.parametrize(("task", "said"), REFUSED)
def test_tasks_that_would_break_the_level_rule_are_refused(task, said):
    with pytest.raises(InvalidArgumentError, match=said):
        apply(tree(), task)


def test_what_does_not_overlap_may_be_passed():
    away = TreeShape((Level(), Level((Run(5, (table(5, b"x", b"z"),)),)), Level((Run(2, (table(1, b"a", b"m"),)),))))
    after = apply(away, Task((RunInput(1, 5, (5,)),), 3, None, ""), [table(5, b"x", b"z")])
    assert ids(after) == [[], [], [(2, [1])], [(6, [5])]]


def test_input_tables_come_newest_first_and_in_key_order():
    mixed = (RunInput(1, 6, (5, 3)), RunInput(0, 9, (7,)))
    assert [t.number for t in input_tables(tree(), Task(mixed, 1, None, ""))] == [7, 3, 5]


def test_only_what_leaves_level_0_is_an_arrival():
    assert count_arrival((2, 30), tree(), Task(everything(0, 1), 1, None, "")) == (3, 50)
    assert count_arrival((2, 30), tree(), Task(everything(0), 0, None, "")) == (2, 30)
    assert count_arrival((2, 30), tree(), Task(everything(1, 2), 2, None, "")) == (2, 30)


def test_a_chore_is_no_arrival_whatever_it_takes():
    assert count_arrival((2, 30), tree(), Task(everything(0, 1), 1, None, "", chore=True)) == (2, 30)


def test_old_arrivals_fade():
    arrivals = (256, 256 * 1000)
    for _ in range(2000):
        arrivals = count_arrival(arrivals, tree(), Task(everything(0), 1, None, ""))
    assert arrivals[1] / arrivals[0] == pytest.approx(20, rel=0.02)
