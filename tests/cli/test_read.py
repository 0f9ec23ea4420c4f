"""`lsmkv get` and `lsmkv scan` show entries, of stores at rest and of those that somebody is writing."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv
from lsmkv_tensor import PageStore, StoreOptions

Cli = Callable[..., Any]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    with lsmkv.open(path) as db:
        db.put_many((b"key-%03d" % i, b"value %d" % i) for i in range(300))
        db.put(b"\xff\x00", b"\x00\x01")
        db.put("schlüssel".encode(), b"x" * 100)
        db.put(b"empty", b"")
    return path


def test_get_shows_a_value(cli: Cli, small: Path) -> None:
    assert cli("get", small, "key-007").out == "'value 7'\n"
    assert cli("get", small, "schlüssel").out == f"'{'x' * 100}'\n", "in full"
    assert cli("get", small, "0xff00", "--hex").out == "0x0001\n"
    assert cli("get", small, "ff00", "--hex", "--json").json == {
        "path": str(small),
        "key": "ff00",
        "found": True,
        "value": "0001",
    }
    assert cli("get", small, "empty").out == "''\n"
    assert cli("get", small, "empty", "--raw").out == ""
    assert cli("get", small, "key-007", "--raw").out == "value 7"


def test_get_of_an_absent_key_says_so_and_exits_with_1(cli: Cli, small: Path) -> None:
    outcome = cli("get", small, "nobody")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == f"lsmkv: {small}: no such key: 'nobody'\n"
    told = cli("get", small, "nobody", "--json")
    assert told.code == 1
    assert told.json == {"path": str(small), "key": b"nobody".hex(), "found": False, "value": None}


def test_scan_shows_a_range(cli: Cli, small: Path) -> None:
    assert cli("scan", small, "--prefix", "key-00").out.splitlines() == [f"'key-{i:03d}'  'value {i}'" for i in range(10)]
    assert cli("scan", small, "--start", "key-298", "--stop", "key-3", "--keys").out == "'key-298'\n'key-299'\n"
    assert cli("scan", small, "--reverse", "--limit", "1", "--hex").out == "0xff00  0x0001\n"
    told = cli("scan", small, "--prefix", "6b65792d30303", "--hex").err
    assert "two digits a byte" in told
    assert cli("scan", small, "--prefix", b"key-00".hex(), "--hex", "--limit", "2", "--json").json == [
        {"key": (b"key-%03d" % i).hex(), "value": (b"value %d" % i).hex()} for i in range(2)
    ]
    assert cli("scan", small, "--stop", "a", "--json", "--keys").json == []


def test_scan_stops_at_its_limit_and_says_so(cli: Cli, small: Path) -> None:
    cut = cli("scan", small)
    assert len(cut.out.splitlines()) == 100
    assert "there are more" in cut.err
    everything = cli("scan", small, "--limit", "0")
    assert len(everything.out.splitlines()) == 303
    assert everything.err == ""
    assert cli("scan", small, "--limit", "303").err == ""


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("reverse", [[], ["--reverse"]])
def test_a_scan_goes_on_where_it_says(cli: Cli, small: Path, form: list[str], reverse: list[str]) -> None:
    with lsmkv.open(small) as db:
        db.put_many((b"it's %d\xff" % i if i % 2 else b"it's %d" % i, b"") for i in range(200))
    more = ["scan", small, "--keys", "--limit", "37", *form, *reverse]
    shown, onwards = [], []
    for _ in range(20):  # fourteen parts
        part = cli(*more, *onwards)
        shown += part.json if form else part.out.splitlines()
        if "there are more" not in part.err:
            break
        onwards = shlex.split(re.search("shows all, (.*) goes on", part.err)[1])
    everything = cli("scan", small, "--keys", "--limit", "0", *form, *reverse)
    assert shown == (everything.json if form else everything.out.splitlines())


def test_both_see_what_a_live_writer_has_committed_and_change_nothing(cli: Cli, small: Path) -> None:
    with lsmkv.open(small, lsmkv.Options(status_interval_s=None)) as db:
        db.put(b"key-007", b"new")
        db.delete(b"key-008")
        before = {p.name: p.read_bytes() for p in small.iterdir()}
        assert cli("get", small, "key-007").out == "'new'\n"
        assert cli("get", small, "key-008").code == 1
        assert cli("scan", small, "--prefix", "key-00", "--keys").out.splitlines()[6:9] == ["'key-006'", "'key-007'", "'key-009'"]
        command = [sys.executable, "-m", "lsmkv.cli", "get", str(small), "key-007", "--raw"]
        assert subprocess.run(command, check=True, capture_output=True).stdout == b"new", "in another process, too"
        assert {p.name: p.read_bytes() for p in small.iterdir()} == before


@pytest.mark.parametrize("command", [["get", "{}", "key"], ["scan", "{}"]])
def test_where_there_is_no_store_both_say_so(cli: Cli, tmp_path: Path, command: list[str]) -> None:
    outcome = cli(*[word.format(tmp_path / "none") for word in command])
    assert (outcome.code, outcome.out) == (2, "")
    assert "does not exist" in outcome.err


def test_raw_and_json_exclude_each_other(cli: Cli, small: Path) -> None:
    assert cli("get", small, "key-007", "--raw", "--json").code == 2


def test_the_index_of_a_page_store_can_be_looked_into(cli: Cli, tmp_path: Path) -> None:
    with PageStore.open(tmp_path / "pages", options=StoreOptions(capacity_bytes=16 << 20)) as pages:
        pages.namespace({"model": "m"}, 4096)
        assert len(cli("scan", tmp_path / "pages", "--json").json) > 0
