"""Whatever is wrong: one clear line on standard error, exit code 2, and no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv
from lsmkv.base.frames import FILE_HEADER_BYTES, pack_file_header, parse_file_header
from lsmkv.version.journal import MAGIC, VERSION

Cli = Callable[..., Any]


def assert_one_line(outcome: Any, *words: str) -> None:
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("lsmkv: ")
    assert "Traceback" not in outcome.out + outcome.err
    for word in words:
        assert word in outcome.err


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("command", ["tree", "stats", "verify"])
def test_a_wrong_path(cli: Cli, tmp_path: Path, command: str) -> None:
    assert_one_line(cli(command, tmp_path / "nowhere"), "nowhere", "does not exist")
    assert_one_line(cli(command, tmp_path), "no lsmkv store")
    (tmp_path / "file").write_text("x")
    assert_one_line(cli(command, tmp_path / "file"), "is a file")
    assert not (tmp_path / "nowhere").exists()


def test_a_wrong_file(cli: Cli, tmp_path: Path) -> None:
    assert_one_line(cli("dump", tmp_path / "nowhere"), "does not exist")
    assert_one_line(cli("dump", tmp_path), "is a directory")
    (tmp_path / "notes.txt").write_text("hello")
    assert_one_line(cli("dump", tmp_path / "notes.txt"), "none of the files")
    (tmp_path / "000001.sst").write_bytes(b"")
    assert_one_line(cli("dump", tmp_path / "000001.sst"), "000001.sst")


def test_errors_are_json_when_asked(cli: Cli, store: Path, tmp_path: Path) -> None:
    told = cli("stats", tmp_path / "nowhere", "--json")
    assert told.code == 2
    assert told.json["error"]["kind"] == "InvalidArgumentError"
    flip(store / "MANIFEST", 70)
    error = cli("tree", store, "--json").json["error"]
    assert error["kind"] == "CorruptionError"
    assert error["file"].endswith("MANIFEST")
    assert error["offset"] >= 0


@pytest.mark.parametrize("command", ["tree", "stats"])
def test_a_damaged_manifest(cli: Cli, store: Path, command: str) -> None:
    flip(store / "MANIFEST", 70)
    assert_one_line(cli(command, store), "MANIFEST", "corrupt")


def test_verify_names_every_problem(cli: Cli, store: Path) -> None:
    tables = sorted(store.glob("*.sst"))
    flip(tables[0], 40)
    tables[1].unlink()
    told = cli("verify", store, "--json")
    assert told.code == 2
    assert not told.json["ok"]
    assert {Path(p["file"]).name for p in told.json["problems"]} == {tables[0].name, tables[1].name}
    shown = cli("verify", store)
    assert_one_line(shown, "2 problem(s)")
    assert "missing" in shown.out


def test_verify_reports_a_damaged_manifest_instead_of_failing(cli: Cli, store: Path) -> None:
    flip(store / "MANIFEST", 70)
    assert [Path(p["file"]).name for p in cli("verify", store, "--json").json["problems"]] == ["MANIFEST"]


def test_a_store_of_a_newer_format(cli: Cli, store: Path) -> None:
    newer_manifest(store / "MANIFEST")
    for command in ("tree", "stats", "verify"):
        assert_one_line(cli(command, store), "format version", "upgrade lsmkv")


def newer_manifest(path: Path) -> None:
    """The same manifest, as a library of format version 99 would have begun it."""
    data = path.read_bytes()
    header = parse_file_header(data, str(path), MAGIC, VERSION)
    path.write_bytes(pack_file_header(MAGIC, 99, header.number, header.previous) + data[FILE_HEADER_BYTES:])


def test_a_dump_shows_what_comes_before_the_damage(cli: Cli, store: Path) -> None:
    table = max(store.glob("*.sst"), key=lambda p: p.stat().st_size)
    entries = [r for r in cli("dump", table, "--json").json if r["record"] == "block"]
    flip(table, entries[1]["offset"] + 20)
    told = cli("dump", table, "--json")
    assert told.code == 2
    records = json.loads(told.out)
    assert records[-1]["error"]["kind"] == "CorruptionError"
    assert [r.get("record") for r in records].count("block") == 1
    assert_one_line(cli("dump", table), "corrupt at byte")


def test_a_locked_store_cannot_be_checkpointed(cli: Cli, store: Path, tmp_path: Path) -> None:
    with lsmkv.open(str(store)):
        assert_one_line(cli("checkpoint", store, tmp_path / "copy"), "already open")


def test_a_checkpoint_does_not_overwrite(cli: Cli, store: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "precious").write_text("x")
    assert_one_line(cli("checkpoint", store, tmp_path / "copy"), "not an empty directory")
    assert [p.name for p in (tmp_path / "copy").iterdir()] == ["precious"]


def test_interrupting_is_quiet(cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lsmkv.cli.commands.load_manifest", interrupted)
    outcome = cli("tree", store)
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")
