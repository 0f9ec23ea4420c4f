"""What overlaps, what sinks along, what may simply move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsmkv.policy.apply import check_task, input_tables
from lsmkv.policy.base import RunInput, Task
from lsmkv.policy.ranges import Ranges, is_move, manual_task, older_overlaps, overlapping
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape


def table(number, low, high, *, tombstones=0, shadowed=0, seq=None):
    seq = seq if seq is not None else number * 10
    return TableMeta(number, 100, 10, tombstones, b"%03d" % low, b"%03d" % high, seq, seq + 9, shadowed=shadowed)


def brick_wall(levels=4, tables=20):
    """One run per level whose boundaries never fall together: every table meets two of the level below."""
    built, number = [Level()], 900
    for level in range(1, levels):
        cuts = [i * 40 + level * 9 for i in range(tables)]
        number -= 100
        metas = tuple(table(number + i, low, low + 39) for i, low in enumerate(cuts))
        built.append(Level((Run(number, metas),)))
    return TreeShape(tuple(built), 10)


def test_a_range_takes_a_table_or_two_a_level_along_and_no_chain():
    shape = brick_wall()
    task = manual_task(shape, b"372", b"376")
    assert [len(one.tables) for one in task.inputs] == [1, 2, 3]
    assert (task.output_level, task.output_run) == (3, shape.levels[3].runs[0].id)
    check_task(shape, task)
    assert not older_overlaps(shape, task, input_tables(shape, task))


def test_the_end_of_a_range_is_not_in_it_and_none_is_no_bound():
    shape = TreeShape((Level(), Level((Run(1, (table(1, 10, 19), table(2, 20, 29))),))))
    assert manual_task(shape, b"010", b"020").inputs[0].tables == (1,)
    assert manual_task(shape, b"020", None).inputs[0].tables == (2,)
    assert manual_task(shape, None, None).inputs[0].tables == (1, 2)
    assert manual_task(shape, b"030", None) is None
    assert manual_task(shape, None, b"010") is None


def test_what_is_asked_for_joins_the_oldest_run_and_leaves_the_others():
    young, old = Run(7, (table(7, 0, 99),)), Run(3, (table(3, 0, 49), table(4, 60, 99)))
    shape = TreeShape((Level((Run(9, (table(9, 10, 20),)),)), Level(), Level((young, old))))
    task = manual_task(shape, b"010", b"011")
    assert task.inputs == (RunInput(0, 9, (9,)), RunInput(2, 7, (7,)), RunInput(2, 3, (3, 4)))
    apart = TreeShape((Level((Run(9, (table(9, 50, 55),)),)), Level(), Level((Run(3, old.tables),))))
    assert manual_task(apart, b"050", b"051") == Task((RunInput(0, 9, (9,)),), 2, 3, "asked for by compact()", chore=True)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=12), st.integers(0, 60), st.integers(0, 9))
def test_ranges_know_what_they_hold(spans, low, width):
    ranges = Ranges()
    for number, (start, length) in enumerate(spans):
        ranges.add(table(number, start, start + length))
    expected = any(start <= low + width and start + length >= low for start, length in spans)
    assert ranges.meets(table(99, low, low + width)) == expected


@given(st.lists(st.integers(0, 5), max_size=10), st.integers(0, 60), st.integers(0, 9))
def test_overlapping_finds_exactly_the_tables_that_meet(gaps, low, width):
    tables, at = [], 0
    for number, gap in enumerate(gaps):
        at += gap + 1
        tables.append(table(number, at, at + gap))
        at += gap
    low, high = b"%03d" % low, b"%03d" % (low + width)
    expected = tuple(t for t in tables if t.smallest <= high and t.largest >= low)
    assert overlapping(Run(1, tuple(tables)), low, high) == expected


def moved(*tables, below=(), floor=1000):
    levels = [Level(), Level((Run(5, tables),))]
    if below:
        levels.append(Level((Run(2, below),)))
    shape = TreeShape(tuple(levels), snapshot_floor=floor)
    task = Task((RunInput(1, 5, tuple(t.number for t in tables)),), 2, 2 if below else None, "")
    return is_move(shape, task, list(tables))


def test_a_run_moves_unless_it_meets_something_or_has_something_to_lose():
    assert moved(table(5, 0, 9), table(6, 20, 29))
    assert moved(table(5, 0, 9), below=(table(2, 10, 19),))
    assert not moved(table(5, 0, 9), below=(table(2, 9, 19),))
    assert not moved(table(5, 0, 9, tombstones=1))
    assert moved(table(5, 0, 9, tombstones=1), floor=50)  # a snapshot keeps them anyway
    assert not moved(table(5, 0, 9, shadowed=1))
    assert moved(table(5, 0, 9, shadowed=1), floor=50)


def test_older_overlaps_looks_at_tables_and_not_at_the_hull_of_all_inputs():
    shape = TreeShape((Level(), Level((Run(5, (table(5, 0, 9), table(6, 50, 59))),)), Level((Run(2, (table(2, 20, 30),)),))))
    both = Task((RunInput(1, 5, (5, 6)),), 1, 5, "")
    assert not older_overlaps(shape, both, input_tables(shape, both))
    meeting = TreeShape((*shape.levels[:2], Level((Run(2, (table(2, 55, 70),)),))))
    assert older_overlaps(meeting, both, input_tables(meeting, both))
