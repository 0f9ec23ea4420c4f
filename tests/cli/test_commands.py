"""Each command says what is in the store: to people in words, to programs in JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv

Cli = Callable[..., Any]


def contents(path: Path) -> dict[bytes, bytes]:
    with lsmkv.open(str(path)) as db:
        return dict(db.scan())


def image(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_tree_draws_levels_and_runs(cli: Cli, store: Path) -> None:
    shown = cli("tree", store)
    assert shown.code == 0
    assert "leveled (size_ratio 10)" in shown.out
    assert "█" in shown.out
    told = cli("tree", store, "--json").json
    assert [row["level"] for row in told["levels"]] == list(range(len(told["levels"])))
    assert sum(row["entries"] for row in told["levels"]) == told["entries"] > 0
    run = next(row["sorted_runs"][0] for row in told["levels"] if row["sorted_runs"])
    assert bytes.fromhex(run["tables"][0]["smallest"]).startswith(b"key-")


def test_stats_add_up(cli: Cli, store: Path) -> None:
    told = cli("stats", store, "--json").json
    assert told["kind"] == "engine"
    assert told["entries"] == sum(level["entries"] for level in told["levels"])
    assert told["table_bytes"] == sum(p.stat().st_size for p in store.glob("*.sst"))
    assert told["bytes"] == sum(p.stat().st_size for p in store.iterdir() if p.name != "LOCK")
    assert told["orphans"] == []
    shown = cli("stats", store)
    assert f"{told['entries']:,}" in shown.out


def test_verify_finds_nothing_wrong_with_a_sound_store(cli: Cli, store: Path) -> None:
    assert "nothing wrong" in cli("verify", store).out
    told = cli("verify", store, "--json").json
    assert told["ok"]
    assert told["problems"] == []
    assert told["files"] == len(list(store.glob("*.sst"))) + len(list(store.glob("*.wal"))) + 1


def test_dump_shows_every_entry_of_a_table(cli: Cli, store: Path) -> None:
    for table in store.glob("*.sst"):
        records = cli("dump", table, "--json").json
        head = next(r for r in records if r["record"] == "table")
        entries = [r for r in records if r["record"] in ("put", "delete")]
        assert len(entries) == head["entries"]
        assert [r["key"] for r in entries] == sorted(r["key"] for r in entries)
        assert all(("value" in r) == (r["record"] == "put") for r in entries)


def test_dump_can_stop_early(cli: Cli, store: Path) -> None:
    table = next(store.glob("*.sst"))
    assert len(cli("dump", table, "--limit", 3).out.splitlines()) == 3
    assert len(cli("dump", table, "--limit", 3, "--json").json) == 3
    assert cli("dump", table, "--limit", 0, "--json").json == []


def test_dump_shows_what_the_manifest_records(cli: Cli, store: Path) -> None:
    records = cli("dump", store / "MANIFEST", "--json").json
    assert records[0]["record"] == "manifest"
    tables: set[int] = set()
    for record in records:
        if record["record"] == "snapshot":
            tables.clear()
        if record["record"] == "add":
            tables.add(record["number"])
        if record["record"] == "remove":
            tables.discard(record["number"])
    assert tables == {int(p.stem) for p in store.glob("*.sst")}


def test_dump_shows_the_batches_of_a_log(cli: Cli, tmp_path: Path) -> None:
    with lsmkv.open(str(tmp_path / "s")) as db:
        with db.batch() as batch:
            batch.put(b"a", b"1").delete(b"b")
        db.put(b"c", b"2")
        (log,) = (tmp_path / "s").glob("*.wal")
        records = cli("dump", log, "--json").json
    entries = [(r["record"], r["seq"], r["key"]) for r in records if r["record"] in ("put", "delete")]
    assert entries == [("put", 1, "61"), ("delete", 2, "62"), ("put", 3, "63")]
    assert [r["entries"] for r in records if r["record"] == "batch"] == [2, 1]


def test_files_are_known_by_their_contents_too(cli: Cli, store: Path, tmp_path: Path) -> None:
    table = next(store.glob("*.sst"))
    copy = tmp_path / "some-file"
    for original in (table, store / "MANIFEST"):
        copy.write_bytes(original.read_bytes())
        assert cli("dump", copy, "--json").json == cli("dump", original, "--json").json


def test_a_checkpoint_holds_the_same(cli: Cli, store: Path, tmp_path: Path) -> None:
    told = cli("checkpoint", store, tmp_path / "copy", "--json").json
    assert told["entries"] > 0
    assert contents(tmp_path / "copy") == contents(store)


@pytest.mark.parametrize("arguments", [("tree",), ("stats",), ("verify",), ("tree", "--json"), ("stats", "--json")])
def test_looking_changes_nothing(cli: Cli, store: Path, arguments: tuple[str, ...]) -> None:
    before = image(store)
    assert cli(arguments[0], store, *arguments[1:]).code == 0
    assert image(store) == before


@pytest.mark.parametrize("name", ["tree", "stats", "verify"])
def test_looking_works_beside_a_live_writer(cli: Cli, store: Path, name: str) -> None:
    with lsmkv.open(str(store)) as db:
        db.put(b"unflushed", b"x")
        assert cli(name, store, "--json").code == 0


def test_help_explains_every_command(cli: Cli) -> None:
    shown = cli("--help")
    assert shown.code == 0
    for name in ("tree", "stats", "verify", "dump", "checkpoint", "demo"):
        assert name in shown.out
        assert cli(name, "--help").code == 0


def test_the_version_is_the_installed_one(cli: Cli) -> None:
    assert cli("--version").out.startswith("lsmkv ")
