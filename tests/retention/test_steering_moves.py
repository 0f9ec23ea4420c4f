"""Much, some or little is moved: what moves cost against the hits they save, and never to and fro without end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.cost.gc import joint_bytes_per_put
from lsmkv_tensor.retention.steering_moves import LITTLE, MUCH, RUNGS, SOME, MoveBooks, Moved, decide_moves, moves_cost
from lsmkv_tensor.retention.victims import MOVE_SHARE
from lsmkv_tensor.trace.blocks import prints_of

BYTES = st.floats(0, 1e9)


def ran(windows: int, cost: float, saved: float, patience: float = 1e6) -> list[str]:
    """The settings that a stationary stream is changed to; ``cost`` and ``saved`` are half with some, a quarter with little."""
    books, found = MoveBooks(), []
    for _ in range(windows):
        part = RUNGS[books.setting].share / MOVE_SHARE
        books, decision = decide_moves(books, cost * part, saved * part, 1e9, 8.0, patience)
        assert books.less_bytes >= 0
        assert books.more_bytes >= 0
        found += [decision.after] if decision is not None else []
    return found


@given(BYTES, BYTES)
def test_a_stationary_stream_only_goes_down_and_only_if_moves_do_not_pay(cost, saved):
    changes = ran(50, cost, saved)
    assert changes == [SOME, LITTLE][: len(changes)]
    if changes:
        assert cost > 8.0 * saved


def test_moves_that_pay_or_cost_nothing_are_left_alone():
    assert not ran(1000, 0.0, 0.0, 1.0)
    assert not ran(1000, 1e6, 2e5)
    assert ran(1000, 1e6, 1e4) == [SOME, LITTLE]


def test_when_moves_pay_again_it_moves_more_again_rung_by_rung():
    books, told = MoveBooks(LITTLE, changes=1), []
    for window in range(20):
        books, decision = decide_moves(books, 1e5, 1e5, 1e6, 8.0, 1e6)
        told += [(window, decision.after)] if decision is not None else []
    assert [after for _, after in told] == [SOME, MUCH]
    assert 2 <= told[0][0] + 1 <= 5
    assert books.setting == MUCH


def test_where_much_is_too_much_and_some_is_right_it_stays_in_between():
    books, told = MoveBooks(), []
    for _ in range(3000):
        cost, saved = {MUCH: (1e6, 1e5), SOME: (5e5, 6.2e4), LITTLE: (2.5e5, 6e4)}[books.setting]
        books, decision = decide_moves(books, cost, saved, 1e9, 8.0, 1e6)
        told += [decision.after] if decision is not None else []
    assert told == [SOME]


def test_every_rung_moves_less_than_the_one_before_and_the_first_is_what_a_store_does_by_itself():
    shares, limits, cheap = zip(*RUNGS.values(), strict=True)
    for values in (shares, limits, cheap):
        assert list(values) == sorted(values, reverse=True)
        assert len(set(values)) == 3
    assert RUNGS[MUCH].share == MOVE_SHARE
    for share, limit, _ in RUNGS.values():
        assert limit > share / (1 + share), "the mean live fraction of victims"


def test_where_much_is_too_much_and_some_too_little_changes_become_rare():
    books, at = MoveBooks(), []
    for window in range(3000):
        cost, saved = (1e6, 1e5) if books.setting == MUCH else (5e5, 1.2e5)
        books, decision = decide_moves(books, cost, saved, 1e9, 8.0, 1e6)
        at += [window] if decision is not None else []
    gaps = np.diff(at)
    assert len(at) >= 4
    assert (gaps[2:] > 1.5 * gaps[:-2])[:2].all(), at


def test_a_byte_moved_costs_what_the_joint_cost_says():
    joint = joint_bytes_per_put(4096, 0.2, 100, 5).total - joint_bytes_per_put(4096, 0.0, 100, 5).total
    assert moves_cost(4096.0, 1024.0, 4096) == pytest.approx(joint)
    assert moves_cost(1e6, 1e5, 1 << 20) == pytest.approx(2e5, rel=0.01), "written once, read once"
    assert moves_cost(0.0, 1e5, 4096) == 2e5
    assert moves_cost(1e6, 0.0, 4096) == 0.0


def test_a_move_saves_one_hit_at_most():
    moved = Moved()
    prints = prints_of(np.arange(10))
    moved.moved(prints[:4])
    moved.moved(prints[:2])
    assert moved.used(prints[2:8], [10] * 6) == 20
    assert moved.used(prints[2:8], [10] * 6) == 0
    assert moved.used(prints, [10] * 10) == 20
