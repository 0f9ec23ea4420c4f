"""Workloads: what a file may say, and what is refused, by the name of the field."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.named import MIXES, NAMED, YCSB
from lsmkv.lab.workload import Mix, Phase, Workload
from lsmkv.lab.workload_yaml import find_workload, parse_workload, read_workload, workload_yaml
from tests.cli.conftest import run

PHASE = "phases: [{operations: 10, mix: {present: 1}}]"


def test_a_file_says_everything(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "load: 2k\nvalue_bytes: 100\nphases:\n- {name: warm, operations: 1e3, mix: {put: 0.5, present: 0.5}, keys: latest}\n"
        "- {operations: 50, mix: {scan: 1}, scan_entries: [1, 100]}\n"
    )
    found = read_workload(file)
    warm = Phase(name="warm", operations=1_000, mix=Mix(put=0.5, present=0.5), keys="latest")
    scans = Phase(operations=50, mix=Mix(scan=1), scan_entries=(1, 100))
    assert found == Workload(name="mine", load=2_000, value_bytes=100, phases=(warm, scans))
    assert find_workload(str(file)) == found


@pytest.mark.parametrize("name", NAMED)
def test_what_comes_along_reads_back_from_its_own_yaml(name: str) -> None:
    assert parse_workload(workload_yaml(NAMED[name])) == NAMED[name]
    assert find_workload(name.upper()) == NAMED[name]


def test_there_are_six_of_ycsb_and_five_mixes() -> None:
    assert "".join(YCSB) == "ABCDEF"
    assert len(MIXES) == 5


shares = st.lists(st.integers(0, 20), min_size=8, max_size=8).filter(any)


@given(shares, st.integers(1, 10**6), st.sampled_from(["uniform", "zipfian", "latest", "chains"]), st.integers(1, 500))
def test_any_workload_reads_back_from_its_yaml(parts: list[int], operations: int, keys: str, length: int) -> None:
    names = list(Mix(present=1).shares())
    mix = {name: part / sum(parts) for name, part in zip(names, parts, strict=True)}
    phase = Phase(operations=operations, mix=Mix(**mix), keys=keys, scan_entries=(1, length))  # type: ignore[arg-type] # drawn
    made = Workload(load=2 * 10**6, phases=(phase,))
    back = parse_workload(workload_yaml(made))
    assert back.phases[0].mix == phase.mix
    assert (back.phases[0].scan_entries == (1, length)) or not mix["scan"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"laod: 5\n{PHASE}", "laod: no such field; did you mean load?"),
        (PHASE, "load: is missing"),
        ("load: 5\nphases: []", "phases: must be a list of at least one phase"),
        ("load: 5", "phases: must be"),
        ("load: 5\nphases: [7]", "phases[0]: must be a mapping"),
        ("load: 5\nphases: [{mix: {present: 1}}]", "phases[0].operations: is missing"),
        ("load: 5\nphases: [{operations: 0, mix: {present: 1}}]", "phases[0].operations: must be a whole number from 1"),
        ("load: 5\nphases: [{operations: -3, mix: {present: 1}}]", "phases[0].operations"),
        ("load: 5\nphases: [{operations: 5, mix: {present: 0.7}}]", "phases[0].mix: the shares must add up to 1, not 0.7"),
        (
            "load: 5\nphases: [{operations: 5, mix: {present: 1.5, put: -0.5}}]",
            "phases[0].mix.present: must be a number",
        ),
        ("load: 5\nphases: [{operations: 5, mix: {present: .nan, put: 0.5}}]", "phases[0].mix.present"),
        ("load: 5\nphases: [{operations: 5, mix: {presnt: 1}}]", "phases[0].mix.presnt: no such field; did you mean present?"),
        ("load: 5\nphases: [{operations: 5, mix: {present: 1}, keys: zipf}]", "phases[0].keys: must be uniform or zipfian"),
        ("load: 5\nphases: [{operations: 5, mix: {scan: 1}, scan_entries: [5, 1]}]", "phases[0].scan_entries"),
        ("load: 5\nphases: [{operations: 5, mix: {scan: 1}, scan_entries: x}]", "phases[0].scan_entries"),
        ("load: 5\nvalue_bytes: -1\n" + PHASE, "value_bytes: must be"),
        ("load: many\n" + PHASE, "load must be a count"),
        ("load: 5\nload: 6\n" + PHASE, "load is given twice"),
        ("load: 0\n" + PHASE, "phases[0].mix.present: there is no key"),
        ("load: 5\nphases: [{operations: 9, mix: {delete: 1}}]", "phases[0].mix.delete: deletes 4 keys more"),
        ("load: !!python/object/apply:os.getcwd []\n" + PHASE, "is no YAML of plain data"),
        ("load: [", "is no YAML"),
        ("- 5", "a workload: must be a mapping"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        parse_workload(text)
    assert message in str(refused.value)


def test_the_command_lists_shows_and_checks(tmp_path: Path) -> None:
    assert "ycsb-f" in run("lab", "workloads").out
    assert parse_workload(run("lab", "workloads", "chat").out) == NAMED["chat"]
    assert run("lab", "workloads", "chat", "--json").json["phases"][1]["mix"]["batch"] == 0.5
    file = tmp_path / "bad.yaml"
    file.write_text("load: 5\nphases: [{operations: 5, mix: {present: 2}}]")
    refused = run("lab", "workloads", file)
    assert refused.code == 2
    assert f"{file}: phases[0].mix.present" in refused.err
    assert "no such file" in run("lab", "workloads", "nothing").err
