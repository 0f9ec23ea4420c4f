"""The geometry between leveled and tiered: what runs look like, what is copied, exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.policy.picks import RULES
from lsmkv.policy.registry import describe_policy, from_description, load_policy
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sizes(shape):
    return [[run.entries for run in level.runs] for level in shape.levels]


def arrive(tree, policy, count, size=10):
    """``count`` arrivals of ``size`` entries each at level 1."""
    for _ in range(count):
        for part in (size // 2, size - size // 2):
            tree.flush(part)
        tree.settle(policy)


def test_three_runs_of_three_arrivals_each_then_all_go_down(paper_tree):
    """Merging when there are K runs would have passed the level on after three arrivals."""
    tree, policy = paper_tree(1), Fluid(10, K=3, Z=1)
    arrive(tree, policy, 100)
    assert sizes(tree.shape) == [[], [], [], [1000]]
    seen = []
    for _ in range(10):
        arrive(tree, policy, 1)
        seen.append(sizes(tree.shape)[1])
    assert seen == [[10], [20], [30], [10, 30], [20, 30], [30, 30], [10, 30, 30], [20, 30, 30], [30, 30, 30], []]
    assert sizes(tree.shape) == [[], [], [100], [1000]]


@pytest.mark.parametrize(("ratio", "runs", "made"), [(10, 4, 3), (10, 8, 5), (10, 5, 5), (7, 4, 3), (64, 40, 32)])
def test_runs_that_do_not_divide_the_level_are_rounded_up_to_whole_arrivals(paper_tree, ratio, runs, made):
    tree, policy = paper_tree(1), Fluid(ratio, K=runs, Z=runs)
    arrive(tree, policy, ratio - 1)
    assert len(tree.shape.levels[1].runs) == made <= runs


def test_runs_of_arrivals_a_little_smaller_than_the_mean_do_not_wait_for_one_more():
    geometry = Fluid(10, K=3).geometry
    assert [geometry.is_full(entries, 1, 3, 10) for entries in (24, 25, 30)] == [False, True, True]
    assert [geometry.is_full(entries, 2, 3, 10) for entries in (249, 250)] == [False, True]


DIVIDING = [(ratio, runs) for ratio in (2, 3, 4, 5, 7, 10) for runs in range(1, ratio) if (ratio - 1) % runs == 0]


@pytest.mark.parametrize(("ratio", "runs"), DIVIDING)
@pytest.mark.parametrize("last", ["one", "all"])
def test_copies_on_inner_levels_are_exactly_those_of_the_formula(paper_tree, ratio, runs, last):
    policy = Fluid(ratio, runs, 1 if last == "one" else ratio - 1)
    tree = paper_tree(1)
    arrive(tree, policy, ratio**2)  # all of it is in level 3 now, which has room for as much again unless T = 2
    tree.copied.clear()
    arrive(tree, policy, ratio**2)
    exact = Fraction((ratio - 1) * (ratio - 1 + runs), 2 * runs * ratio)
    assert [Fraction(tree.copied[level], ratio**2 * 10) for level in (1, 2)] == [exact, exact]


@pytest.mark.parametrize(
    ("runs", "inner"), [((1, 9, 3), [5 - Fraction(1, 2), Fraction(9, 10)]), ((9, 1), [Fraction(9, 10), 4.5])]
)
def test_each_level_may_have_its_own_number_of_runs(paper_tree, runs, inner):
    tree, policy = paper_tree(1), Fluid(10, runs, 1)
    arrive(tree, policy, 100)
    tree.copied.clear()
    arrive(tree, policy, 100)
    assert [Fraction(tree.copied[level], 1000) for level in (1, 2)] == inner
    assert [policy.runs_at(level, 5) for level in (1, 2, 3, 4, 5)] == [*runs, *[runs[-1]] * (4 - len(runs)), 1]


@given(st.integers(2, 10), st.data(), st.lists(st.integers(1, 100), min_size=1, max_size=100), st.integers(1, 5))
@QUICK
def test_arrivals_of_any_size_settle_within_the_runs(paper_tree, ratio, data, flushes, level0_runs):
    policy = Fluid(ratio, data.draw(st.integers(1, ratio - 1)), data.draw(st.integers(1, ratio - 1)))
    tree = paper_tree(level0_runs)
    for size in flushes:
        tree.flush(size)
        tree.settle(policy)
        last = max([1, *(i for i, level in enumerate(tree.shape.levels) if level.runs)])
        assert len(tree.shape.levels[0].runs) <= level0_runs
        assert all(len(level.runs) <= policy.runs_at(i, last) for i, level in enumerate(tree.shape.levels[1:], 1))
    assert tree.shape.entries == sum(flushes)


@pytest.mark.parametrize(
    ("named", "general"),
    [
        (Leveled(6), Fluid(6, 1, 1)),
        (Tiered(6), Fluid(6, 5, 5)),
        (LazyLeveling(6), Fluid(6, 5, 1)),
        (Leveled(6, "oldest"), Fluid(6, 1, 1, "oldest")),
    ],
)
def test_the_named_points_are_points(named, general):
    assert named.geometry == general.geometry
    assert named != general


def test_a_tiered_level_takes_its_runs_as_they_come(paper_tree):
    tree = paper_tree(1)
    arrive(tree, Tiered(4), 4)
    assert sizes(tree.shape) == [[], [], [40]]
    arrive(tree, Tiered(4), 7)
    assert sizes(tree.shape) == [[], [10, 10, 10], [40, 40]]
    assert tree.copied[2] == 40  # the first time level 1 was the last one: it merged there and moved down for nothing


def test_lazy_leveling_merges_only_in_the_last_level(paper_tree):
    tree = paper_tree(1)
    arrive(tree, LazyLeveling(4), 11)
    assert sizes(tree.shape) == [[], [10, 10, 10], [80]]


def shape_of(*levels, buffer, level0_runs=1, patient=False, tables=1):
    """A tuple of runs per level, each a number of entries, cut into so many tables."""
    number, built = 1000, []
    for level in levels:
        runs = []
        for entries in level:
            parts = []
            for i in range(tables):
                number -= 1
                low, high = b"%03d" % (i * 100), b"%03d" % (i * 100 + 99)
                parts.append(TableMeta(number, entries // tables, entries // tables, 0, low, high, number * 10, number * 10 + 9))
            runs.append(Run(number, tuple(parts)))
        built.append(Level(tuple(runs)))
    return TreeShape(tuple(built), buffer, level0_runs, patient=patient)


def taken(task):
    return [(one.level, one.run) for one in task.inputs]


def test_surplus_runs_are_merged_as_few_as_it_takes_and_the_cheapest():
    shape = shape_of((), (30, 40, 8, 7, 5), (400,), buffer=10)
    assert Tiered(10).pick(shape) is None
    task = Fluid(10, K=4).pick(shape)
    runs = shape.levels[1].runs
    assert taken(task) == [(1, runs[3].id), (1, runs[4].id)]
    assert (task.output_level, task.output_run, task.debt) == (1, runs[3].id, 12)
    assert Fluid(10, K=3).pick(shape).debt == 20
    assert Leveled(10).pick(shape).debt == 90


def test_the_last_level_has_runs_of_its_own_number():
    shape = shape_of((), (10, 10, 10), (40, 40, 30), buffer=10)
    assert Tiered(4).pick(shape) is None
    task = LazyLeveling(4).pick(shape)
    assert (taken(task), task.debt) == ([(2, run.id) for run in shape.levels[2].runs], 110)
    assert taken(Fluid(4, K=1, Z=3).pick(shape)) == [(1, run.id) for run in shape.levels[1].runs]
    arriving = shape_of((5, 5), (10, 10), (40, 40, 30), buffer=10, patient=True)
    assert LazyLeveling(4).pick(arriving).debt == 0
    full = shape_of((5, 5), (10, 10, 10), (30, 30, 20), buffer=10, patient=True)
    assert LazyLeveling(4).pick(full).debt == 80


def test_a_level_far_over_capacity_is_debt_even_where_tables_are_passed_on():
    shape = shape_of((), (60,), (90,), buffer=10, tables=4)
    assert Leveled(4, "oldest").pick(replace(shape, patient=True)) is None
    task = Leveled(4, "oldest").pick(shape)
    assert (task.debt, task.output_level) == (148, 2)


def test_while_the_level_below_has_surplus_runs_no_single_table_passes():
    shape = shape_of((), (40,), (40, 32), buffer=10, tables=4, patient=True)
    assert Leveled(4, "oldest").pick(shape) is None
    assert Leveled(4, "oldest").pick(replace(shape, patient=False)).debt == 72


def test_an_arrival_at_surplus_runs_merges_as_many_as_are_too_many():
    shape = shape_of((5, 5), (10, 10, 10, 10), (400,), buffer=10, patient=True)
    for policy, merged in ((Tiered(10), 0), (Fluid(10, K=4), 1), (Fluid(10, K=2), 3), (Leveled(10), 4)):
        task = policy.pick(shape)
        assert (len(task.inputs) - 2, task.output_run) == (merged, None)
        assert task.debt == (merged * 10 if merged > 1 else 0)


def test_patience_leaves_surplus_and_overfull_levels_alone():
    surplus, overfull = ((), (10, 10), (100,)), ((), (60,), (100,))
    for levels in (surplus, overfull):
        assert Leveled(4).pick(shape_of(*levels, buffer=10)) is not None
        assert Leveled(4).pick(shape_of(*levels, buffer=10, patient=True)) is None


def test_an_overfull_level_gives_its_oldest_run_away_for_nothing_where_it_can():
    shape = shape_of((), (20, 20, 20), (100,), buffer=10)
    task = Tiered(4).pick(shape)
    assert taken(task) == [(1, shape.levels[1].runs[-1].id)]
    assert (task.output_level, task.output_run, task.debt) == (2, None, 0)
    task = Leveled(4).pick(shape)
    assert (len(task.inputs), task.output_level, task.debt) == (4, 2, 160)
    last = shape_of((), (20, 20, 20), buffer=10)
    assert Tiered(4).pick(last).output_level == 2
    assert Leveled(4).pick(last).debt == 0


def test_partial_compaction_takes_only_what_overlaps():
    policy = Leveled(4, "oldest")
    tables = [TableMeta(50, 5, 5, 0, b"120", b"130", 5000, 5009), TableMeta(51, 5, 5, 0, b"150", b"180", 5010, 5019)]
    shape = shape_of((), (16,), (90,), buffer=10, tables=4)
    shape = shape.with_level(0, Level((Run(2001, (tables[1],)), Run(2000, (tables[0],)))))
    task = policy.pick(shape)
    resident = shape.levels[1].runs[0]
    assert (task.output_level, task.output_run, len(task.inputs)) == (1, resident.id, 3)
    assert task.inputs[2].tables == (resident.tables[1].number,)


def test_a_level_that_passes_tables_on_takes_an_arrival_first_and_makes_room_after():
    shape = shape_of((5, 5), (34,), (90,), buffer=10, tables=2)
    task = Leveled(4, "oldest").pick(shape)
    assert (task.output_level, len(task.inputs)) == (1, 3)
    assert Leveled(4).pick(shape).output_level == 2


def test_a_level_over_capacity_passes_on_one_table_after_the_other():
    policy = Leveled(4, "oldest")
    shape = shape_of((), (40,), (90,), buffer=10, tables=4)
    task = policy.pick(shape)
    source, target = shape.levels[1].runs[0], shape.levels[2].runs[0]
    assert task.inputs[0].tables == (source.tables[3].number,)  # built last, so its numbers are the smallest
    assert task.inputs[1].tables == (target.tables[3].number,)
    assert (task.output_level, task.output_run, task.debt) == (2, target.id, 0)
    assert policy.pick(shape_of((), (32,), (90,), buffer=10, tables=4)) is None


def rule_tables(name):
    """Four tables over three of the next level: which one the rule takes first."""
    spans = [(b"00", b"09", 10, 0, 40), (b"10", b"19", 10, 5, 30), (b"20", b"29", 10, 9, 20), (b"30", b"39", 10, 1, 10)]
    source = Run(9, tuple(TableMeta(20 + i, size, 10, t, a, b, seq, seq + 5) for i, (a, b, size, t, seq) in enumerate(spans)))
    below = [(b"00", b"12", 11, 30), (b"15", b"19", 12, 5), (b"20", b"35", 10, 40)]
    target = Run(3, tuple(TableMeta(n, size, 10, 0, a, b, 1, 2) for a, b, n, size in below))
    return RULES[name](source, target).number - 20, RULES[name](source, None).number - 20


@pytest.mark.parametrize(
    ("name", "first", "alone"),
    [("least_overlap", 0, 0), ("oldest", 3, 3), ("round_robin", 2, 0), ("most_tombstones", 2, 2)],
)
def test_each_rule_picks_what_its_name_says(name, first, alone):
    assert rule_tables(name) == (first, alone)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Fluid(1), "size_ratio"),
        (lambda: Fluid(10, K=10), "K=10"),
        (lambda: Fluid(10, K=0), "K=0"),
        (lambda: Fluid(10, K=()), "K="),
        (lambda: Fluid(10, K=(1, 2.5)), "K=2.5"),
        (lambda: Fluid(10, Z=True), "Z=True"),
        (lambda: Fluid(2, Z=2), "Z=2.*from 1 to 1"),
        (lambda: Fluid(10, partial="newest"), "least_overlap"),
        (lambda: Fluid(10, K=3, partial="oldest"), "K=1"),
        (lambda: Fluid(10, Z=2, partial="oldest"), "Z=1"),
        (lambda: Fluid(10, K=(1, 3), partial="oldest"), "several runs"),
        (lambda: Tiered("10"), "size_ratio"),
        (lambda: LazyLeveling(None), "size_ratio"),
    ],
)
def test_numbers_that_make_no_tree_are_refused(make, said):
    with pytest.raises(InvalidArgumentError, match=said):
        make()


@pytest.mark.parametrize(
    "policy",
    [Fluid(), Fluid(10, (1, 3), 2), Fluid(4, (3, 1), 1, "round_robin"), Leveled(3, "oldest"), Tiered(64), LazyLeveling(2)],
)
def test_a_description_leads_back_to_its_policy(policy):
    described = json.loads(json.dumps(describe_policy(policy)))
    assert next(iter(described)) == "name"
    assert from_description(described) == policy
    assert load_policy(described["name"]) is type(policy)
