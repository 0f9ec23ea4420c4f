"""The debt of a change of policy: predicted by a walk, paid in the same amount when keys differ."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsmkv.cost.walk import walk
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import FIFO, Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.policy.base import RunInput, Task
from lsmkv.policy.transition import Debt, TransitionReport, debt, debt_blocks

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def grown(tree, policy, arrivals=57):
    for _ in range(2 * arrivals):
        tree.flush(5)
        tree.settle(policy)
    return tree


def pay(tree, policy):
    """(bytes, blocks of 7 bytes, steps) that the tasks owed until the tree is at rest."""
    paid = [0, 0, 0]
    while (task := policy.pick(tree.shape)) is not None:
        paid = [paid[0] + task.debt, paid[1] + debt_blocks(tree.shape, task, 7), paid[2] + bool(task.debt)]
        tree.run(task)
    return Debt(*paid)


SWITCHES = [Leveled(4), Tiered(4), LazyLeveling(4), Fluid(4, 3, 2), Leveled(4), Leveled(10), Leveled(3), Tiered(10), Tiered(2)]


def test_predicted_and_paid_are_the_same_in_every_switch_of_a_chain(paper_tree):
    tree = grown(paper_tree(1), SWITCHES[0])
    for policy in SWITCHES[1:]:
        predicted = debt(tree.shape, policy, block_bytes=7)
        assert pay(tree, policy) == predicted
        assert debt(tree.shape, policy, block_bytes=7) == Debt()
        grown(tree, policy, 23)


@given(st.integers(2, 8), st.integers(2, 8), st.data(), st.integers(1, 80))
@QUICK
def test_predicted_and_paid_are_the_same_between_any_two(paper_tree, ratio, other, data, arrivals):
    def point(ratio):
        return Fluid(ratio, data.draw(st.integers(1, ratio - 1)), data.draw(st.integers(1, ratio - 1)))

    tree = grown(paper_tree(1), point(ratio), arrivals)
    policy = point(other)
    predicted = debt(tree.shape, policy, block_bytes=7)
    assert predicted == debt(replace(tree.shape, patient=True), policy, block_bytes=7)
    assert pay(tree, policy) == predicted


@pytest.mark.parametrize(("before", "after"), [(Leveled(4), Tiered(4)), (LazyLeveling(6), Tiered(6)), (Tiered(4), Tiered(10))])
def test_going_lazier_is_free(paper_tree, before, after):
    assert debt(grown(paper_tree(1), before).shape, after, block_bytes=7) == Debt()


def test_coming_back_costs_a_merge_of_what_is_in_several_runs(paper_tree):
    shape = grown(paper_tree(1), Tiered(4)).shape
    several = sum(level.bytes for level in shape.levels[1:] if len(level.runs) > 1)
    owed = debt(shape, Leveled(4), block_bytes=7)
    assert (owed.bytes, owed.steps) == (several, sum(len(level.runs) > 1 for level in shape.levels[1:]))
    tables = [t for level in shape.levels[1:] if len(level.runs) > 1 for run in level.runs for t in run.tables]
    assert owed.blocks == sum(-(-t.bytes // 7) for t in tables)


def test_levels_are_brought_down_from_the_deepest_so_that_the_others_move_into_the_room():
    """Shallowest first merged what the next task moved out of the way: 56,000 bytes of this tree."""
    shape = walk(Leveled(6), 200, 10, level0_runs=1).shape
    assert [len(level.runs) for level in shape.levels] == [0, 1, 1, 1]
    assert debt(shape, Leveled(3), block_bytes=4096) == Debt()


def test_work_that_is_due_anyway_is_no_debt(paper_tree):
    tree = grown(paper_tree(1), Leveled(4))
    for _ in range(5):
        tree.flush(5)
    assert Leveled(4).pick(tree.shape) is not None
    assert debt(tree.shape, Leveled(4), block_bytes=7) == Debt()


def test_the_debt_of_an_arrival_is_the_runs_it_met_beyond_those_allowed(paper_tree):
    tree = grown(paper_tree(1), Tiered(4), 6)
    tree.shape = replace(tree.shape, patient=True)
    tree.flush(5)
    tree.flush(5)
    task = Leveled(4).pick(tree.shape)
    met = tree.shape.levels[1].runs
    assert task.debt == sum(run.bytes for run in met) > 0
    assert debt_blocks(tree.shape, task, 7) == sum(-(-t.bytes // 7) for run in met for t in run.tables)
    assert debt_blocks(tree.shape, replace(task, debt=15), 7) == 3  # a custom policy may count as it likes
    assert debt_blocks(tree.shape, replace(task, debt=0), 7) == 0


def test_fifo_never_owes_anything(paper_tree):
    shape = grown(paper_tree(1), Leveled(4)).shape
    assert debt(shape, FIFO(200), block_bytes=7) == Debt()


@dataclass(frozen=True)
class Restless:
    """Rewrites the last run for ever."""

    def pick(self, shape):
        number, level = max((n, level) for n, level in enumerate(shape.levels) if level.runs)
        run = level.runs[-1]
        return Task((RunInput(number, run.id, tuple(t.number for t in run.tables)),), number, run.id, "because")


def test_a_policy_that_never_rests_is_found_out(paper_tree):
    shape = grown(paper_tree(1), Leveled(4), 3).shape
    with pytest.raises(InvalidArgumentError, match="come to rest"):
        debt(shape, Restless(), block_bytes=7)


def test_a_report_survives_being_recorded():
    report = TransitionReport(
        Leveled().describe(), Tiered(4).describe(), "lazy", Debt(10, 3, 1), 4, 2, 1, Debt(6, 1, 0), done=False
    )
    assert TransitionReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
