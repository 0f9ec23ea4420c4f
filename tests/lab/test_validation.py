"""Predictions on a small grid, how they are judged, and what they must not see."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lsmkv
from lsmkv import cost
from lsmkv.cli import lab_ablate, lab_validate
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab import MIXES, Rows, Sizes, choices, score, seconds, validate
from lsmkv.lab.measures import LONG_RUN_COSTS
from lsmkv.lab.scores import TARGETS, spearman
from lsmkv.lab.validation import grid, plan_cell, run_cell
from tests.cli.conftest import run

SMALL = Sizes(entries=5_000, flush_entries=50, moments=4, absent=3_000, present=400, scans=45)


@pytest.fixture(scope="module")
def rows() -> Rows:
    return validate(SMALL, ratios=[4], filters=["monkey"])


def test_every_cost_of_every_cell_is_near_its_prediction(rows: Rows) -> None:
    for name, limit in (
        ("zero_lookup_filter_checks", 0.02),
        ("lookup_filter_checks", 0.06),
        ("scan_blocks", 0.08),
        ("update_copies", 0.05),
        ("write_amplification", 0.06),
        ("space_amplification", 0.05),
    ):
        for row in rows.where(cost=name):
            if row["phase"] == "long run":  # a mean over other moments of the cycle
                continue
            assert row["predicted"] == pytest.approx(row["measured"], rel=limit), row
    assert {row["phase"] for row in rows} == {"growing, 60 %", "growing", "steady", "long run"}
    assert {row["policy"] for row in rows} == {"leveled T=4", "fluid T=4 K=2 Z=1", "lazy T=4", "tiered T=4"}


def test_a_prediction_is_the_same_whatever_is_measured() -> None:
    plans = [plan_cell(lsmkv.Tiered(4), "monkey", SMALL, seed) for seed in (1, 2)]
    assert [m.said for m in plans[0].steady] == [m.said for m in plans[1].steady]
    found = [list(run_cell(plan)) for plan in plans]
    assert [row["predicted"] for row in found[0]] == [row["predicted"] for row in found[1]]
    assert [row["measured"] for row in found[0]] != [row["measured"] for row in found[1]]


def test_the_window_is_whole_rounds_of_the_last_level() -> None:
    for policy in grid([4]):
        plan = plan_cell(policy, "uniform", SMALL, 0)
        assert plan.warm >= SMALL.flushes // 3
        assert plan.window >= 2 * SMALL.flushes // 3
        assert all(0 < moment.flushes < plan.window for moment in plan.steady)


def test_the_grid_has_one_policy_between_leveled_and_lazy_from_four_on() -> None:
    assert len(grid()) == 13
    assert [type(policy).__name__ for policy in grid([2, 4])] == ["Leveled", "Leveled", "Fluid", "LazyLeveling", "Tiered"]


def row(cost: str, predicted: float, measured: float, **more: object) -> dict[str, object]:
    base = {"cost": cost, "predicted": predicted, "measured": measured, "false_positives": None}
    return {**base, "policy": "p", "filters": "monkey", "phase": "steady", **more}


def test_a_score_is_the_mean_error_the_rank_and_the_rare_cells_apart() -> None:
    told = [row("a", 1.1, 1.0), row("a", 2.0, 2.0), row("a", 2.9, 4.0), row("a", 9.0, 1.0, false_positives=999)]
    (one,) = score(told)
    assert (one.cells, one.small) == (3, 1)
    assert one.error == pytest.approx((0.1 + 0.0 + 0.275) / 3)
    assert one.worst == pytest.approx(0.275)
    assert one.rank == 1.0
    assert one.absolute == 8.0
    assert not one.reached
    assert score(told[:3])[0].reached


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_ranks_agree_with_themselves_and_not_with_their_mirror(values: list[float]) -> None:
    assert spearman(values, values) == pytest.approx(1.0)
    if len(set(values)) > 1:
        assert spearman(values, [-v for v in values]) == pytest.approx(-1.0)


def test_what_never_changes_says_nothing_of_ranks() -> None:
    assert spearman([1, 1, 1], [2, 3, 4]) == 0.0
    assert spearman([1, 2, 3], [2, 2, 2]) == 0.0
    assert spearman([1, 1], [2, 2]) == 1.0


def test_seconds_are_fitted_on_every_second_cell_and_told_for_the_others() -> None:
    told = []
    for number in range(12):
        cell = {"policy": f"p{number}"}
        told += [row("merge_passes", float(number), None, **cell), row("write_cpu_s", 0.0, 2e-6 + 3e-6 * number, **cell)]
    told.append(row("write_cpu_s", 0.0, 1.0, policy="of an earlier version, which did not say what its merges took"))
    judged = seconds(told)
    assert [one["policy"] for one in judged] == [f"p{number}" for number in (1, 3, 5, 7, 9, 11)]
    assert all(one["predicted"] == pytest.approx(one["measured"]) for one in judged)


def test_the_chosen_tree_is_one_of_the_grid_and_costs_at_least_the_best(rows: Rows) -> None:
    found = choices(rows)
    assert [one.mix for one in found] == list(MIXES)
    assert all(0 <= one.regret < 0.2 for one in found)
    assert all(one.chosen in {str(r["policy"]) for r in rows} for one in found)


def test_sizes_that_cannot_be_are_refused() -> None:
    for name in ("entries", "flush_entries", "moments", "absent", "present", "scans"):
        with pytest.raises(InvalidArgumentError, match=f"{name}: must be"):
            Sizes(**{name: 0})
    with pytest.raises(InvalidArgumentError, match="entries: must be at least 20 flushes"):
        Sizes(entries=100, flush_entries=50)


def test_the_command_judges_the_rows_of_an_earlier_run(rows: Rows, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    rows.to_csv(file)
    told = run("lab", "validate", "--rows", file, "--entries", "5k", "--flush-entries", "50", "--size-ratios", "4")
    assert told.code == 0, told.err
    assert "update_copies" in told.out
    assert "balanced" in told.out
    document = run("lab", "validate", "--rows", file, "--entries", "5k", "--flush-entries", "50", "--json").json
    by_cost = {one["cost"]: one for one in document["scores"]}
    assert by_cost["update_copies"]["error"] < TARGETS.error
    assert len(document["choices"]) == 5
    assert "--rows" in run("lab", "validate", "--rows", tmp_path / "none.csv").err
    assert "entries" in run("lab", "validate", "--entries", "50").err


def test_ctrl_c_before_a_cell_is_done_leaves_earlier_results_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(cell: object) -> None:
        raise KeyboardInterrupt

    file = tmp_path / "rows.csv"
    file.write_text("of yesterday")
    for module, command in ((lab_validate, ["validate"]), (lab_ablate, ["ablate", "--size-ratios", "4"])):
        monkeypatch.setattr(module, "run_cell", interrupted)
        told = run("lab", *command, "--csv", file)
        assert told.code == 130
        assert "nothing is written" in told.err
        assert told.out == ""
        assert file.read_text() == "of yesterday"


def test_the_choice_is_by_the_predicted_cost_and_its_price_by_the_measured_one() -> None:
    told = []
    for policy, said, found in (("a", 1.0, 2.0), ("b", 1.5, 1.5)):
        costs = ("zero_lookup_blocks", "lookup_blocks", "scan_blocks", "update_blocks")
        told += [row(cost, said, found, policy=policy, phase="long run") for cost in costs]
    assert [(one.chosen, one.best, round(one.regret, 3)) for one in choices(told)] == [("a", "b", 0.333)] * 5


def test_the_choice_is_the_one_of_best_shape(rows: Rows) -> None:
    live = SMALL.flushes * SMALL.flush_entries
    system = plan_cell(lsmkv.Leveled(4), "monkey", SMALL, 0).setup.system()
    for one in choices(rows):
        mix = MIXES[one.mix].phases[0].mix
        work = cost.Workload(mix.absent, mix.present, mix.scan, mix.overwrite, 32, live)
        assert one.chosen == cost.best_shape(work, system, grid([4])).best.name


def test_rows_of_the_long_run_are_scored_by_themselves(rows: Rows) -> None:
    told = [row("a", 1.0, 1.0), row("a", 9.0, 1.0, phase="long run"), row("a", 1.0, None)]
    assert [one.cells for one in score(told)] == [1]
    assert score(told, ["long run"])[0].worst == 8.0
    assert {one.cost for one in score(rows, ["long run"])} == set(LONG_RUN_COSTS)
