"""One workload on many trees: counts that repeat, predictions beside them, and grids that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.cli import lab_ablate
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab import Mix, Phase, Rows, Workload, ablate, policies_of
from lsmkv.lab.ablation import Cell, cells_of, ratios_of
from lsmkv.lab.ablation import run_cell as run_engine
from lsmkv.lab.tidy import Record
from tests.cli.conftest import run

ALL = Mix(absent=0.2, present=0.2, batch=0.02, scan=0.03, put=0.15, overwrite=0.25, delete=0.05, modify=0.1)
SMALL = Workload(load=3_000, memtable_entries=250, phases=(Phase(operations=2_000, mix=ALL),))


def counts(rows: Rows) -> list[Record]:
    return [row for row in rows if not str(row["cost"]).endswith("cpu_s")]


@pytest.mark.parametrize("keys", ["uniform", "zipfian", "latest", "chains"])
def test_the_same_seed_gives_the_same_counts_and_another_one_others(keys: str) -> None:
    phase = Phase(operations=1_500, mix=ALL, keys=keys, batch_keys=20)  # type: ignore[arg-type] # one of the four
    work = Workload(load=2_000, memtable_entries=250, chain_keys=16, phases=(phase,))
    policies = policies_of(["leveled"], [3])
    once, again = (ablate(work, policies, ["monkey"], seed=5) for _ in range(2))
    assert counts(once) == counts(again)
    other = ablate(work, policies, ["monkey"], seed=6)
    assert [row["measured"] for row in counts(once)] != [row["measured"] for row in counts(other)]
    assert {row["config"] for row in once} != {row["config"] for row in other}
    assert all(row["seed"] == 5 and row["version"] and row["config"] for row in once)


def test_what_is_predicted_is_near_what_is_measured() -> None:
    phase = Phase(operations=24_000, mix=Mix(absent=0.4, present=0.3, scan=0.05, overwrite=0.25))
    rows = ablate(
        Workload(load=12_000, memtable_entries=250, phases=(phase,)),
        policies_of(["leveled", "tiered", "fluid:K=2"], [4]),
        ["uniform"],
        filter_bits_per_key=4,
    )
    whole = rows.where(slice=0)
    for cost, near in (("zero_lookup_blocks", 0.1), ("scan_blocks", 0.1), ("update_copies", 0.1), ("space_amplification", 0.2)):
        found = [row for row in whole if row["cost"] == cost]
        assert len(found) == 3
        for row in found:
            assert row["predicted"] == pytest.approx(row["measured"], rel=near), row
    checks = [row for row in whole if row["cost"] == "zero_lookup_filter_checks"]
    assert checks[1]["measured"] > checks[0]["measured"] * 1.3  # tiered trees have more runs


def test_a_real_file_system_gives_the_same_counts_and_is_left_clean(tmp_path: Path) -> None:
    policies = policies_of(["lazy"], [3])
    real = ablate(SMALL, policies, ["monkey"], store=str(tmp_path))
    memory = ablate(SMALL, policies, ["monkey"])
    assert [row["measured"] for row in counts(real)] == [row["measured"] for row in counts(memory)]
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=8)
@given(
    st.lists(st.integers(1, 9), min_size=8, max_size=8),
    st.sampled_from(["uniform", "zipfian", "latest", "chains"]),
    st.integers(0, 99),
)
def test_any_mix_runs_and_its_slices_add_up_to_the_whole(parts: list[int], keys: str, seed: int) -> None:
    mix = Mix(**{name: part / sum(parts) for name, part in zip(ALL.shares(), parts, strict=True)})
    phase = Phase(operations=400, mix=mix, keys=keys, batch_keys=4)  # type: ignore[arg-type] # one of the four
    work = Workload(load=400, memtable_entries=50, chain_keys=4, phases=(phase,))
    rows = ablate(work, [lsmkv.Leveled(3)], ["monkey"], slices=4, seed=seed)
    for cost in ("zero_lookup_blocks", "scan_blocks", "update_copies"):
        parts_of = [row for row in rows if row["cost"] == cost and row["slice"]]
        (whole,) = [row for row in rows.where(slice=0) if row["cost"] == cost]
        assert sum(int(str(row["operations"])) for row in parts_of) == whole["operations"]
        total = sum(float(str(row["measured"])) * int(str(row["operations"])) for row in parts_of)
        assert total == pytest.approx(float(str(whole["measured"])) * int(str(whole["operations"])))


def test_an_empty_store_is_filled_by_the_workload_itself() -> None:
    phases = (Phase(operations=500, mix=Mix(put=0.7, overwrite=0.3)), Phase(operations=100, mix=Mix(present=1)))
    rows = ablate(Workload(load=0, memtable_entries=50, phases=phases), [lsmkv.Tiered(3)], ["monkey"])
    (found,) = [row for row in rows.where(slice=0, phase="2 main") if row["cost"] == "lookup_blocks"]
    assert found["measured"] == pytest.approx(1.0, abs=0.2)


def test_ratios_are_ranges_and_lists() -> None:
    assert ratios_of("2..4,10, 6") == [2, 3, 4, 6, 10]
    for text in ("", "1..4", "x", "4..2", "2..65", "2...4", "-3"):
        with pytest.raises(InvalidArgumentError, match="size ratios"):
            ratios_of(text)


def test_each_point_of_the_continuum_is_taken_once_and_ratios_that_do_not_fit_are_left_out() -> None:
    assert policies_of(["leveled", "tiered", "lazy", "fluid:K=3"], [2, 4]) == [
        lsmkv.Leveled(2),
        lsmkv.Leveled(4),
        lsmkv.Tiered(4),
        lsmkv.LazyLeveling(4),
    ]
    assert policies_of(["fluid:K=3:Z=2"], [3, 7]) == [lsmkv.Fluid(7, K=3, Z=2)]


def test_grids_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match=r"policies: 'fluid:K=9'.*K=9"):
        policies_of(["fluid:K=9"], [4])
    with pytest.raises(InvalidArgumentError, match="policies: 'nothing'"):
        policies_of(["nothing"], [4])
    good = policies_of(["leveled"], [4])
    for more, message in (
        ({"filters": ["half"]}, "filters: must be of monkey, uniform"),
        ({"filters": []}, "filters: at least one"),
        ({"filter_bits_per_key": 0}, "filter bits per key: must be above 0"),
        ({"slices": 0}, "slices: must be from 1"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            cells_of(SMALL, good, **more)  # type: ignore[arg-type] # that is the point
    with pytest.raises(InvalidArgumentError, match="policies: at least one"):
        cells_of(SMALL, [])


WORK = "load: 1k\nmemtable_entries: 200\nphases: [{operations: 400, mix: {absent: 0.5, overwrite: 0.3, scan: 0.2}}]"


def test_the_command_prints_a_table_and_keeps_rows_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "w.yaml").write_text(WORK)
    csv, plots = tmp_path / "rows.csv", tmp_path / "plots"
    told = run("lab", "ablate", "--workload", tmp_path / "w.yaml", "--size-ratios", "2,4", "--csv", csv, "--plots", plots)
    assert told.code == 0, told.err
    assert "leveled T=4" in told.out
    assert "tiered T=4" in told.out
    rows = Rows.from_csv("ablate", csv)
    assert {row["filters"] for row in rows} == {"monkey", "uniform"}
    assert sorted(path.name for path in plots.iterdir()) == ["frontier.png", "over-time.png", "predicted-measured.png"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in plots.iterdir())


def test_ctrl_c_keeps_the_cells_that_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.yaml").write_text(WORK)
    done: list[Cell] = []

    def interrupted(cell: Cell) -> list[Record]:
        if done:
            raise KeyboardInterrupt
        done.append(cell)
        return run_engine(cell)

    monkeypatch.setattr(lab_ablate, "run_cell", interrupted)
    csv = tmp_path / "rows.csv"
    told = run("lab", "ablate", "--workload", tmp_path / "w.yaml", "--size-ratios", "2,4", "--csv", csv)
    assert told.code == 130
    assert {row["policy"] for row in Rows.from_csv("ablate", csv)} == {"leveled T=2"}
    assert "interrupted" in told.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workload", "nothing"], "nothing: no such file"),
        (["--size-ratios", "0"], "size ratios"),
        (["--policies", "fluid:K=99"], "policies"),
        (["--filters", "all"], "filters"),
        (["--filter-bits-per-key", "0"], "filter bits per key"),
        (["--csv", "/no/such/place.csv"], "--csv"),
        (["--store", "/no/such/place"], "--store"),
    ],
)
def test_the_command_names_what_is_wrong(arguments: list[str], message: str) -> None:
    told = run("lab", "ablate", *arguments)
    assert told.code == 2
    assert message in told.err
    assert len(told.err.strip().splitlines()) == 1
