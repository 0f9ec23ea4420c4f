"""``lsmkv stats`` and ``lsmkv verify`` on a root look at every member; other commands say which to name."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsmkv_tensor import PageStore, StoreOptions
from tests.cli.conftest import run
from tests.sharing.conftest import FIELDS, PAGE, put

OPTIONS = StoreOptions(capacity_bytes=4 << 20, segment_bytes=64 << 10, index_bytes=1 << 20)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i, name in enumerate(("a", "b")):
        with PageStore.open(tmp_path, options=OPTIONS, member=name) as store:
            put(store.namespace(FIELDS, PAGE), range(10 * i, 10 * i + 3 + i))
    return tmp_path


def test_stats_lists_the_members(root: Path) -> None:
    found = run("stats", root, "--json").json
    assert found["kind"] == "root of page stores"
    assert found["pages"] == 7
    assert {name: member["pages"] for name, member in found["members"].items()} == {"a": 3, "b": 4}
    shown = run("stats", root)
    assert shown.code == 0
    assert "members" in shown.out


def test_a_member_that_cannot_be_read_says_why(root: Path) -> None:
    (root / "a" / "index" / "MANIFEST").write_bytes(b"x" * 200)
    found = run("stats", root, "--json").json
    assert "CorruptionError" in found["members"]["a"]["error"]
    assert found["members"]["b"]["pages"] == found["pages"] == 4


def test_verify_checks_them_all(root: Path) -> None:
    assert run("verify", root).code == 0
    segment = next((root / "b" / "vlog").glob("*.seg"))
    with segment.open("r+b") as file:
        file.seek(2 * 4096 + 100)
        file.write(b"\0\0\0\0")
    found = run("verify", root, "--json")
    assert found.code != 0
    assert str(segment) in found.out


def test_tree_draws_every_member(root: Path) -> None:
    shown = run("tree", root)
    assert shown.code == 0
    assert all(shown.out.count(f"{root / name}: 1 table") == 1 for name in "ab")
    found = run("tree", root, "--json").json
    assert found["members"] == [run("tree", root / name, "--json").json for name in "ab"]


def test_a_command_about_one_tree_says_that_there_are_several(root: Path) -> None:
    shown = run("scan", root)
    assert shown.code == 2
    assert "root of page stores" in shown.out + shown.err
    assert run("tree", root / "a").code == 0


@pytest.mark.parametrize("command", [("namespaces",), ("warm",), ("verify", "--liveness")])
def test_a_command_about_one_page_store_names_those_that_there_are(root: Path, command: tuple[str, ...]) -> None:
    """They told of "a store of the root of page stores"."""
    shown = run(command[0], root, *command[1:])
    assert shown.code == 2
    told = " ".join((shown.out + shown.err).split())
    assert "a store of the" not in told
    assert all(str(root / name) in told for name in "ab")
