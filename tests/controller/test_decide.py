"""Deciding is a pure function: evidence before decisions, a share of the I/O at most, no flip-flop while nothing changes."""

from __future__ import annotations

import copy
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.controller import Adaptive
from lsmkv.controller.decide import Books, Merge, Reshape, decide
from lsmkv.controller.prices import Mix
from lsmkv.controller.sensors import Averages, Window, averaged
from lsmkv.controller.sizes import SizeTree
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.geometry import Geometry

FLUSH = 1_000.0
shares = st.tuples(*[st.floats(0.0, 1.0)] * 4).filter(lambda four: sum(four) > 0.1)
mixes = shares.map(lambda four: Mix(*four).scaled(1 / sum(four)))


def tree_of(flushes, geometry=None):
    tree = SizeTree(geometry or Geometry(7, (6,), 6), FLUSH)
    for _ in range(flushes):
        tree.flush(FLUSH)
    tree.merged = tree.flushed = 0.0
    return tree


def act(tree, decisions):
    for one in decisions:
        if isinstance(one, Reshape):
            tree.switch(one.geometry, patient=True)
        else:
            ids = [run.id for _, run in tree.runs()]
            tree.merge(ids.index(one.runs[0]), ids.index(one.runs[-1]))


def test_nothing_is_decided_without_evidence():
    books, decisions = decide(Books(), tree_of(100), Window(Mix(), 0.0), Adaptive())
    assert decisions == ()
    assert books.rent == {}
    assert decide(Books(), tree_of(0), Window(Mix(scans=1e6), 1e6), Adaptive())[1] == ()


def test_the_same_books_and_window_give_the_same_decisions_and_change_nothing():
    tree, books = tree_of(100), Books()
    before = copy.deepcopy([tree.levels, tree.geometry, tree.merged, books])
    window = Window(Mix(scans=50_000.0, writes=10.0), 500_000.0)
    first = decide(books, tree, window, Adaptive())
    assert first == decide(books, tree, window, Adaptive())
    assert [tree.levels, tree.geometry, tree.merged, books] == before


def test_runs_are_merged_once_reads_have_paid_for_it_and_not_before():
    tree, books, settings_ = tree_of(100), Books(), Adaptive(size_ratios=(7,))
    paid = 0.0
    for _ in range(1_000):
        books, decisions = decide(books, tree, Window(Mix(scans=100.0), 1_000.0), settings_)
        paid += 100.0 * (len(tree.runs()) - 1)
        merges = [one for one in decisions if isinstance(one, Merge)]
        for one in merges:
            assert one.rent_blocks >= 0.85 * one.cost_blocks
            assert one.saves > 0
        act(tree, decisions)
        assert tree.merged * settings_.prices.merged <= paid / 0.85
    assert len(tree.runs()) == 1, "what is only read ends as one run"


def test_who_only_writes_pays_for_no_merge():
    tree, books = tree_of(100), Books()
    for _ in range(200):
        tree.flush(FLUSH)
        books, decisions = decide(books, tree, Window(Mix(writes=FLUSH), FLUSH / 10), Adaptive())
        assert not any(isinstance(one, Merge) for one in decisions)
        act(tree, decisions)
    assert tree.geometry.inner_runs[0] == tree.geometry.size_ratio - 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(mixes, st.integers(1, 5)), min_size=1, max_size=12), st.floats(0.0, 1.0))
def test_transitions_take_no_more_than_their_share(phases, share):
    tree, books, settings_ = tree_of(60), Books(), Adaptive(transition_share=share)
    blocks = spent = 0.0
    for mix, ticks in phases:
        for _ in range(ticks):
            done = mix.scaled(3_000.0)
            for _ in range(int(done.writes // FLUSH)):
                tree.flush(FLUSH)
            cost = done.total * 0.3
            blocks += cost
            books, decisions = decide(books, tree, Window(done, cost), settings_)
            spent += sum(one.cost_blocks for one in decisions)
            assert spent <= share * blocks + 1e-6
            assert books.spent == pytest.approx(spent)
            act(tree, decisions)


@settings(max_examples=25, deadline=None)
@given(mixes, st.integers(0, 1 << 30))
def test_a_mix_that_stays_is_met_by_one_shape(mix, seed):
    """Hysteresis: sampled windows of one mix do not make the shape go back and forth."""
    noise = Random(seed)
    tree, books, shapes = tree_of(120), Books(), []
    for _ in range(300):
        done = Mix(*(share * 500 * (0.9 + 0.2 * noise.random()) for share in mix))
        books, decisions = decide(books, tree, Window(done, done.total), Adaptive(transition_share=1.0))
        shapes += [one for one in decisions if isinstance(one, Reshape)]
        for one in shapes[-1:] if any(isinstance(d, Reshape) for d in decisions) else []:
            tree.switch(one.geometry, patient=True)
    ratios = [one.geometry.size_ratio for one in shapes]
    assert len(shapes) <= 4, shapes
    assert len({*ratios}) == len([r for i, r in enumerate(ratios) if i == 0 or ratios[i - 1] != r]), "no ratio comes back"


def test_a_change_of_the_mix_is_noticed_by_two_windows_and_not_by_one():
    chat, burst = Mix(0.2, 0.5, 0.1, 0.2), Mix(0.0, 0.0, 0.0, 1.0)
    steady = Averages()
    for _ in range(50):
        steady = averaged(steady, Window(chat.scaled(100), 0.0), 1e6)
    assert steady.changes == 0
    once = averaged(averaged(steady, Window(burst.scaled(100), 0.0), 1e6), Window(chat.scaled(100), 0.0), 1e6)
    assert once.changes == 0
    twice = averaged(averaged(steady, Window(burst.scaled(100), 0.0), 1e6), Window(burst.scaled(100), 0.0), 1e6)
    assert twice.changes == 1
    assert twice.fast == pytest.approx(burst)
    assert twice.slow != pytest.approx(burst)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"mode": "maybe"}, "mode"),
        ({"size_ratios": ()}, "size_ratios"),
        ({"size_ratios": (1,)}, "size_ratio"),
        ({"transition_share": 1.5}, "transition_share"),
        ({"space_limit": 0.5}, "space_limit"),
        ({"prices": 3}, "prices"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(given, field):
    with pytest.raises(InvalidArgumentError, match=field):
        Adaptive(**given)
