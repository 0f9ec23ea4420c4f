"""``lsmkv lab phases``: sequences repeat by their seed, costs add up, the oracle is no worse than any shape, results hold."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from lsmkv.cli import lab_phases
from lsmkv.controller import Adaptive, Prices
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.phases.live import play_live
from lsmkv.lab.phases.play import UNIT, Player, loaded, play
from lsmkv.lab.phases.result import Result, check, load_result, save_result
from lsmkv.lab.phases.rivals import LEVELING, SHAPES, Switching, oracle, static_runs
from lsmkv.lab.phases.sequences import KINDS, TICKS, Phase, Sequence, draw_sequence
from lsmkv.lab.phases.strategies import Controlled
from lsmkv.lab.phases.trial import STRATEGIES, Spread, constants_seed, spread, try_sequence
from lsmkv.lab.tidy import Rows
from tests.cli.conftest import run as cli

ROOT = Path(__file__).parents[2]
PRICES = Prices()


def sequence(*kinds, arrivals=100, ticks=40, overwrites=False):
    return Sequence(0, arrivals, overwrites, tuple(Phase(kind, ticks, KINDS[kind], KINDS[kind]) for kind in kinds))


def test_a_seed_gives_the_same_sequences_and_another_one_others():
    assert draw_sequence("a", 3) == draw_sequence("a", 3)
    assert draw_sequence("a", 3) != draw_sequence("b", 3)
    assert draw_sequence("a", 3) != draw_sequence("a", 4)


def test_phases_are_as_long_as_they_should_be_and_every_kind_occurs():
    phases = [phase for number in range(60) for phase in draw_sequence("lengths", number).phases]
    assert {phase.kind for phase in phases} == {*KINDS, "slow drift", "adversarial flip"}
    assert all(0.02 * TICKS <= phase.ticks <= 2 * TICKS for phase in phases)
    for phase in phases:
        assert all(sum(mix) == pytest.approx(1.0) for mix in phase.mixes())


def test_costs_are_the_sum_of_their_parts_and_pausing_changes_nothing():
    drawn = draw_sequence("parts", 1)
    whole = play(drawn, loaded(LEVELING, drawn), PRICES)
    assert whole.total == whole.reads + whole.merges + whole.flushes
    assert whole.flushes == pytest.approx(PRICES.flushed * UNIT * (whole.tree.flushed / UNIT))
    paused = Player(loaded(LEVELING, drawn), PRICES, drawn.arrivals * UNIT / TICKS)
    mixes = list(drawn.mixes())
    paused.run(mixes[:100])
    twin = paused.copy()
    paused.run(mixes[100:])
    assert paused.total == pytest.approx(whole.total)
    twin.run(mixes[100:])
    assert twin.total == pytest.approx(whole.total)


def test_the_oracle_costs_no_more_than_the_best_shape_and_less_where_phases_differ():
    calm = sequence("chat")
    best = min(static_runs(calm, PRICES).values())
    assert min(best, oracle(calm, PRICES)) <= best
    torn = sequence("write burst", "seek-only", ticks=200)
    assert oracle(torn, PRICES) < min(static_runs(torn, PRICES).values())


def test_going_one_way_switches_more_often_than_a_round_trip_allows():
    flips = sequence(*["write burst", "seek-only"] * 8, ticks=2, arrivals=400)

    def switches(*, round_trip):
        strategy, seen = Switching(PRICES, round_trip=round_trip), []

        class Watched:
            def tick(self, tree, done, blocks):
                strategy.tick(tree, done, blocks)
                if not seen or seen[-1] != tree.geometry:
                    seen.append(tree.geometry)

        play(flips, loaded(LEVELING, flips), PRICES, Watched())
        return len(seen)

    assert switches(round_trip=False) > switches(round_trip=True)


def test_the_controller_is_near_the_best_shape_wherever_the_mix_stays():
    for kind in KINDS:
        calm = sequence(kind, ticks=400)
        best = min(static_runs(calm, PRICES).values())
        assert play(calm, loaded(LEVELING, calm), PRICES, Controlled(Adaptive())).total <= 1.1 * best, kind


@pytest.mark.parametrize("overwrites", [False, True])
def test_engine_and_simulation_agree_on_what_a_sequence_costs(overwrites):
    one = sequence("ingest", "seek-only", "chat", arrivals=20, ticks=60, overwrites=overwrites)
    counts = {geometry: play_live(one, geometry, PRICES)[0] for geometry in (LEVELING, SHAPES[2])}
    for geometry, counted in counts.items():
        told = play(one, loaded(geometry, one), PRICES).total / UNIT * 200
        assert counted == pytest.approx(told, rel=0.15)
    cost, merges, _ = play_live(one, LEVELING, PRICES, Adaptive())
    assert merges > 0
    assert cost < 1.1 * min(counts.values())


def test_a_spread_is_mean_ninetieth_percentile_and_maximum():
    assert spread([float(n) for n in range(1, 11)]) == Spread(5.5, 9.0, 10.0)
    assert spread([2.0]) == Spread(2.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def result():
    return Result(constants_seed(), (try_sequence(draw_sequence(constants_seed(), 0)),))


def test_a_result_survives_its_file(tmp_path, result):
    path = tmp_path / "result.json"
    save_result(result, path)
    assert load_result(path) == (result, constants_seed())
    short, unrun = (text for text in check(path) if not text.startswith("must"))  # one sequence may miss any target
    assert "has 1 sequences, not 30" in short
    assert "has 0 sequences in the engine, not 5" in unrun
    assert f"`lsmkv lab phases --engine 5 --out {path}`" in unrun
    assert set(result.sequences[0].ratios) == set(STRATEGIES)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.update(constants_sha256="0" * 64), "constants.py has changed"),
        (lambda told: told.update(seed="dev"), "was chosen"),
        (lambda told: told["sequences"][0]["ratios"].update(default=1.6), "maximum 1.600 > 1.5"),
        (lambda told: told["sequences"][0].update(merges=10**6), "does not play as"),
    ],
)
def test_a_result_that_does_not_hold_is_refused(tmp_path, result, change, said):
    path = tmp_path / "result.json"
    save_result(result, path)
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    assert any(said in text for text in check(path))


def test_a_result_is_tidy_rows_in_a_file_and_in_a_picture(tmp_path):
    file, pictures, committed = tmp_path / "rows.csv", tmp_path / "pictures", ROOT / "docs" / "controller.json"
    told = cli("lab", "phases", "--from", committed, "--csv", file, "--plots", pictures)
    assert told.code == 0
    assert f"wrote {file}" in told.out
    assert (pictures / "ratios.png").stat().st_size > 10_000
    rows, whole = Rows.from_csv("phases", file), load_result(committed)[0]
    assert len(rows) == len(STRATEGIES) * len(whole.sequences) + 2 * len(whole.engine)
    for who in STRATEGIES:
        ratios = [row["ratio"] for row in rows.where(who=who, where="simulator")]
        assert ratios == pytest.approx(whole.ratios(who), rel=1e-5)
    assert [row["ratio"] for row in rows.where(who="default", where="engine")] == [one.default for one in whole.engine]
    assert {(row["seed"], row["version"]) for row in rows} == {(whole.seed, whole.version)}
    assert len({row["config"] for row in rows}) == len(whole.sequences) + len(whole.engine)
    refused = cli("lab", "phases", "--from", committed, "--check", "--csv", file)
    assert "--csv and --plots would do nothing" in refused.err


def test_a_result_without_sequences_is_none(tmp_path, result):
    """It was a traceback."""
    path = tmp_path / "result.json"
    save_result(result, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sequences": []}))
    for read in (load_result, check):
        with pytest.raises(InvalidArgumentError, match="has no sequences"):
            read(path)


def test_the_committed_result_holds_and_its_page_is_what_it_makes():
    committed = ROOT / "docs" / "controller.json"
    assert check(committed) == []
    spec = importlib.util.spec_from_file_location("controller_page", ROOT / "docs" / "controller_page.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    text = (ROOT / "docs" / "controller.md").read_text(encoding="utf-8")
    result = load_result(committed)[0]
    assert len(result.sequences) >= 30
    assert len(result.engine) >= 5
    assert made.page(text, result) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--check"], "--check needs --from"),
        (["--from", "none.json"], "--from none.json: there is no such file"),
        (["--from", "none.json", "--seed", "x"], "--from shows a result"),
        (["--out", "/no/such/place.json"], "--out /no/such/place.json"),
    ],
)
def test_the_command_names_what_is_wrong(arguments, message):
    told = cli("lab", "phases", *arguments)
    assert told.code == 2
    assert message in told.err
    assert len(told.err.strip().splitlines()) == 1


@pytest.mark.parametrize("finished", [0, 1])
def test_ctrl_c_keeps_the_sequences_that_are_done(tmp_path, monkeypatch, result, finished):
    """All of them were lost, however long they had taken."""
    played = iter(result.sequences[:finished])

    def interrupted(sequence):
        for outcome in played:
            return outcome
        raise KeyboardInterrupt

    monkeypatch.setattr(lab_phases, "try_sequence", interrupted)
    file = tmp_path / "result.json"
    file.write_text("of yesterday")
    told = cli("lab", "phases", "--sequences", 3, "--out", file)
    assert told.code == 130
    assert told.err.startswith("interrupted")
    if finished:
        assert load_result(file)[0] == result
        assert "1 sequences" in told.out
    else:
        assert file.read_text() == "of yesterday"
        assert "nothing is written" in told.err
