"""simulate(): rows that add up, the tree at the end, switches, and what is refused."""

from __future__ import annotations

import doctest
from dataclasses import FrozenInstanceError

import pytest

import lsmkv
from lsmkv import FIFO, Fluid, InvalidArgumentError, LazyLeveling, Leveled, Tiered, Writes, simulation
from lsmkv.lab import Simulator, Switch
from lsmkv.policy.base import RunInput, Task
from lsmkv.version.rules import problems
from lsmkv.version.shape import TreeShape

LOAD = Writes(entries=30_000, memtable=300, overwrites=0.3, deletes=0.1)


@pytest.mark.parametrize(
    "policy",
    [Leveled(4), Leveled(3, partial="oldest"), Tiered(4), LazyLeveling(4), Fluid(7, K=3, Z=2), FIFO(400_000)],
    ids=str,
)
def test_rows_add_up(policy: lsmkv.policy.Policy) -> None:
    done = lsmkv.simulate(policy, LOAD)
    assert done.complete
    assert problems(done.tree) == ()
    assert [row.step for row in done.rows] == list(range(1, len(done.rows) + 1))
    flushed = sum(row.written_entries for row in done.rows if row.kind == "flush")
    merged = sum(row.written_entries for row in done.rows if row.task == "merge")
    assert done.last.update_copies == pytest.approx((flushed + merged) / flushed)
    assert done.last.entries == done.tree.entries == sum(run.entries for level in done.last.levels for run in level)
    assert done.last.writes == LOAD.entries
    assert all(row.read_entries >= row.written_entries for row in done.rows if row.task == "merge")
    assert sum(record["entries"] for record in done.level_rows() if record["step"] == done.last.step) == done.last.entries


def test_the_same_arguments_give_the_same_rows() -> None:
    assert lsmkv.simulate(LazyLeveling(4), LOAD).rows == lsmkv.simulate(LazyLeveling(4), LOAD).rows


def test_rows_are_tidy_and_frozen() -> None:
    row = lsmkv.simulate(Leveled(4), Writes(entries=1_000, memtable=100)).last
    assert all(isinstance(value, int | float | str | None) for value in row.to_dict().values())
    with pytest.raises(FrozenInstanceError):
        row.step = 7  # type: ignore[misc]  # that is the test


@pytest.mark.parametrize(("ratio", "runs"), [(5, 4), (5, 2), (5, 1), (7, 3), (10, 3)])
def test_copies_of_distinct_keys_follow_the_exact_count(ratio: int, runs: int) -> None:
    """(T-1)(T-1+K) / (2KT) merges in an inner level: level 1, once level 3 is the last."""
    done = lsmkv.simulate(Fluid(ratio, K=runs, Z=runs), Writes(entries=ratio**3 * 16, memtable=2))
    settled = [row for row in done.rows if row.depth > 3]
    written = sum(row.written_entries for row in settled if row.task == "merge" and row.output_level == 1)
    exact = (ratio - 1) * (ratio - 1 + runs) / (2 * runs * ratio)
    assert written / (settled[-1].writes - settled[0].writes) == pytest.approx(exact, rel=0.02)


def test_a_switch_tells_its_debt_and_pays_it() -> None:
    load = Writes(entries=30_000, memtable=300)
    greedy = lsmkv.simulate(Tiered(5), load, switches=[Switch(20_000, Leveled(5))])
    at = next(i for i, row in enumerate(greedy.rows) if row.kind == "switch")
    assert greedy.rows[at].policy == Leveled(5).describe()
    assert greedy.rows[at].debt_bytes > 0
    paid = 0
    for row in greedy.rows[at + 1 :]:
        if row.kind == "flush":
            break
        paid += row.debt_bytes
    assert paid == greedy.rows[at].debt_bytes
    assert all(len(level) <= 1 for level in greedy.last.levels[1:])
    lazy = lsmkv.simulate(Tiered(5), load, switches=[Switch(20_000, Leveled(5), "lazy")])
    assert sum(row.debt_bytes for row in lazy.rows[:at]) == 0
    assert lazy.rows[at + 1].kind == "flush"
    assert all(len(level) <= 1 for level in lazy.last.levels[1:-1])


def test_an_interrupted_simulation_keeps_what_there_is() -> None:
    running = Simulator(Leveled(4), LOAD)
    for row in running.steps():
        if row.writes > LOAD.entries // 2:
            break
    done = running.result()
    assert not done.complete
    assert not done.summary()["complete"]
    assert done.last.writes < LOAD.entries
    assert problems(done.tree) == ()


class Restless:
    """Rewrites level 1 for ever."""

    def pick(self, shape: TreeShape) -> Task | None:
        if len(shape.levels) < 2:
            return Task((RunInput(0, shape.levels[0].runs[0].id, (shape.levels[0].runs[0].tables[0].number,)),), 1, None, "down")
        run = shape.levels[1].runs[0]
        return Task((RunInput(1, run.id, tuple(t.number for t in run.tables)),), 1, run.id, "once more")

    def describe(self) -> dict[str, object]:
        return {"name": "restless"}


class Wild(Restless):
    """Carries the newest run past older ones."""

    def pick(self, shape: TreeShape) -> Task | None:
        runs = shape.levels[0].runs
        newest = RunInput(0, runs[0].id, (runs[0].tables[0].number,))
        return Task((newest,), 1, None, "past the older one") if len(runs) > 1 else None


def test_policies_that_never_rest_or_break_the_level_rule_are_told() -> None:
    with pytest.raises(InvalidArgumentError, match="not settled"):
        lsmkv.simulate(Restless(), Writes(entries=100, memtable=10))
    with pytest.raises(InvalidArgumentError, match="past table"):
        lsmkv.simulate(Wild(), Writes(entries=100, memtable=10))


@pytest.mark.parametrize(
    "change",
    [
        {"policy": Leveled},
        {"policy": 3.5},
        {"workload": 5},
        {"level0_runs": 0},
        {"table_bytes": 0},
        {"filter_bits_per_key": float("inf")},
        {"tombstone_age_s": -1},
        {"workload": Writes(entries=1_000_000, memtable=1)},
    ],
    ids=str,
)
def test_nonsense_is_refused(change: dict[str, object]) -> None:
    arguments: dict[str, object] = {"policy": Leveled(), "workload": LOAD, **change}
    with pytest.raises(InvalidArgumentError):
        lsmkv.simulate(**arguments)  # type: ignore[arg-type]  # nonsense on purpose


def test_the_docstring_is_right() -> None:
    assert doctest.testmod(simulation).failed == 0
