"""A comparison alternates, its median is a median, its ratio is a speed, and a broken subject spoils nobody else's row."""

import itertools
import random

import pytest

from bench.harness import Case, Effort, Row
from bench.harness import run_case as run_tidy_case


def run_case(case, effort, rng, **options):
    """Without a garbage collection before every turn: these subjects leave no garbage."""
    return run_tidy_case(case, effort, rng, tidy=lambda: None, **options)


def make_case(figures, better="lower"):
    """A case whose subjects give the figures listed for them, and the order in which they were asked."""
    asked = []

    def subject(name):
        turns = itertools.cycle(figures[name])

        def once():
            asked.append(name)
            return next(turns)

        return once

    return Case("row", "key", "us", better, {name: subject(name) for name in figures}), asked


def test_every_round_asks_every_subject_once():
    case, asked = make_case({"a": [1.0], "b": [2.0], "c": [3.0]})
    run_case(case, Effort(20, warmups=1), random.Random(3))
    rounds = [asked[i : i + 3] for i in range(0, len(asked), 3)]
    assert len(rounds) == 21
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)


def test_the_order_of_subjects_differs_between_rounds():
    case, asked = make_case({"a": [1.0], "b": [2.0], "c": [3.0]})
    run_case(case, Effort(40, warmups=0), random.Random(3))
    orders = {tuple(asked[i : i + 3]) for i in range(0, len(asked), 3)}
    assert len(orders) == 6


def test_the_same_seed_gives_the_same_order():
    orders = []
    for _ in range(2):
        case, asked = make_case({"a": [1.0], "b": [2.0], "c": [3.0]})
        run_case(case, Effort(10), random.Random(7))
        orders.append(asked)
    assert orders[0] == orders[1]


def test_warmups_are_thrown_away():
    case, _ = make_case({"a": [100.0, 1.0, 2.0, 3.0]})
    row = run_case(case, Effort(3, warmups=1), random.Random(0))
    assert row.samples == {"a": [1.0, 2.0, 3.0]}


def test_median_and_range():
    row = Row("row", "key", "us", "lower", {"a": [5.0, 1.0, 9.0, 2.0]})
    assert row.median("a") == 3.5
    assert row.span("a") == (1.0, 9.0)


@pytest.mark.parametrize(("better", "expected"), [("lower", 4.0), ("higher", 0.25)])
def test_a_ratio_is_a_speed_whichever_way_the_unit_points(better, expected):
    row = Row("row", "key", "us", better, {"ours": [2.0, 2.0, 50.0], "theirs": [8.0, 8.0, 1.0]})
    assert row.speed("ours", "theirs") == expected


def test_a_ratio_with_a_missing_subject_is_none():
    row = Row("row", "key", "us", "lower", {"ours": [2.0]})
    assert row.speed("ours", "theirs") is None
    assert row.speed("theirs", "ours") is None


@pytest.mark.parametrize(("better", "expected"), [("lower", "a"), ("higher", "b")])
def test_the_best_peer_is_the_fastest_measured_one(better, expected):
    row = Row("row", "key", "us", better, {"a": [1.0], "b": [2.0]})
    assert row.best(("a", "b", "absent")) == expected
    assert row.best(("absent",)) is None


def test_a_failing_subject_is_dropped_with_its_reason():
    case, asked = make_case({"a": [1.0], "b": [2.0]})

    def fail():
        msg = "disk on fire"
        raise OSError(msg)

    case.work["b"] = fail
    row = run_case(case, Effort(5), random.Random(0))
    assert row.samples == {"a": [1.0] * 5}
    assert row.missing == {"b": "failed: OSError: disk on fire"}
    assert asked == ["a"] * 6


def test_an_interrupt_is_not_swallowed():
    case, _ = make_case({"a": [1.0]})

    def interrupt():
        raise KeyboardInterrupt

    case.work["a"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        run_case(case, Effort(5), random.Random(0))


def test_the_budget_ends_the_rounds_but_not_before_the_least():
    case, _ = make_case({"a": [1.0]})
    seconds = itertools.count(0.0, 10.0)
    row = run_case(case, Effort(50, least_rounds=4, budget_s=1.0), random.Random(0), now=lambda: next(seconds))
    assert len(row.samples["a"]) == 4
