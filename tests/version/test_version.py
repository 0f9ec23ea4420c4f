"""Applying edits: pure, ordered, and strict about what is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lsmkv.errors import InvalidArgumentError
from lsmkv.version.edit import VersionEdit
from lsmkv.version.shape import Level, TreeShape
from lsmkv.version.state import ManifestState, mean_arrival
from lsmkv.version.version import apply, apply_edit


def ids(shape):
    return [[(run.id, [t.number for t in run.tables]) for run in level.runs] for level in shape.levels]


def test_runs_are_newest_first_and_tables_in_key_order(trees):
    c, a, b = trees.table(1, b"m", b"p"), trees.table(2, b"a", b"c"), trees.table(3, b"x", b"z")
    shape = apply(TreeShape(), VersionEdit(added=((2, 5, c), (2, 5, a), (2, 9, b), (0, 4, trees.table(4)))))
    assert ids(shape) == [[(4, [4])], [], [(9, [3]), (5, [2, 1])]]


def test_a_table_joins_a_run_in_its_place(trees):
    shape = apply(TreeShape(), VersionEdit(added=((1, 1, trees.table(1, b"a", b"b")), (1, 1, trees.table(2, b"x", b"y")))))
    shape = apply(shape, VersionEdit(added=((1, 1, trees.table(3, b"k", b"l")),)))
    assert ids(shape) == [[], [(1, [1, 3, 2])]]


def test_a_table_may_move_and_empty_runs_and_levels_vanish(trees):
    before = apply(TreeShape(), VersionEdit(added=((1, 1, trees.table(1)), (3, 2, trees.table(2)))))
    after = apply(before, VersionEdit(removed=(1, 2), added=((2, 7, trees.table(1)),)))
    assert ids(after) == [[], [], [(7, [1])]]
    assert ids(before) == [[], [(1, [1])], [], [(2, [2])]]
    assert apply(after, VersionEdit(removed=(1,))) == TreeShape()


def test_untouched_runs_are_shared(trees):
    before = apply(TreeShape(), VersionEdit(added=((1, 1, trees.table(1)), (2, 2, trees.table(2)))))
    after = apply(before, VersionEdit(removed=(2,)))
    assert after.levels[1].runs[0] is before.levels[1].runs[0]


def test_removing_what_is_not_there_is_refused(trees):
    with pytest.raises(InvalidArgumentError, match=r"\[8\]"):
        apply(TreeShape(), VersionEdit(removed=(8,)))


def test_adding_a_number_twice_is_refused(trees):
    one = VersionEdit(added=((1, 1, trees.table(1)),))
    shape = apply(TreeShape(), one)
    twice = VersionEdit(added=((1, 2, trees.table(2)), (2, 3, trees.table(2))))
    for edit in (one, VersionEdit(added=((2, 2, trees.table(1)),)), twice):
        with pytest.raises(InvalidArgumentError, match="in the tree already"):
            apply(shape, edit)


def test_fields_that_are_not_given_stay(trees):
    state = ManifestState(TreeShape(level0_runs=2), 3, 9, 50, 4, {"name": "leveled"}, (2, 30))
    assert apply_edit(state, VersionEdit(last_seq=60)).last_seq == 60
    told = apply_edit(state, VersionEdit(transition={"done": False}, ledger={"flushes": 3}))
    assert (told.transition, told.ledger) == ({"done": False}, {"flushes": 3})
    assert apply_edit(told, VersionEdit(last_seq=60)) == replace(told, last_seq=60)
    assert apply_edit(told, VersionEdit(transition={})).transition == {}
    after = apply_edit(state, VersionEdit(arrivals=(3, 70), policy={"name": "x"}, wal_floor=5, next_file=11, next_run=8))
    assert after == ManifestState(TreeShape((Level(),), 23, 2), 5, 11, 50, 8, {"name": "x"}, (3, 70))


def test_the_buffer_is_the_mean_arrival():
    assert [mean_arrival(a) for a in ((0, 0), (1, 7), (2, 7), (3, 10))] == [0, 7, 4, 3]


def test_a_snapshot_leads_to_the_same_state(trees):
    state = trees.history(5)[1][-1]
    assert apply_edit(ManifestState(), state.as_edit()) == state
