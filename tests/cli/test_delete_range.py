"""``lsmkv delete-range``: every key of a range, and no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv
from lsmkv_tensor import PageStore, StoreOptions

Cli = Callable[..., Any]
KEYS = [b"key-%03d" % i for i in range(600)]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    with lsmkv.open(path) as db:
        db.put_many((key, b"v") for key in KEYS)
    return path


def left(path: Path) -> list[bytes]:
    assert lsmkv.verify(str(path)).ok
    with lsmkv.open(path) as db:
        return [key for key, _ in db.scan()]


@pytest.mark.parametrize(
    ("bounds", "gone"),
    [
        (["--start", "key-100", "--stop", "key-103"], range(100, 103)),
        (["--start", "key-001"], range(1, 600)),
        (["--stop", "key-500"], range(500)),
        (["--prefix", "key-1"], range(100, 200)),
        (["--prefix", "key-1", "--stop", "key-150"], range(100, 150)),
        (["--hex", "--prefix", b"key-59".hex()], range(590, 600)),
        (["--all"], range(600)),
    ],
)
def test_what_is_in_the_range_goes_and_nothing_else(cli: Cli, small: Path, bounds: list[str], gone: range) -> None:
    done = cli("delete-range", small, *bounds)
    assert done.code == 0, done.err
    assert done.out.startswith("deleted ")
    assert left(small) == [key for i, key in enumerate(KEYS) if i not in gone]


def test_json_tells_the_bounds(cli: Cli, small: Path) -> None:
    told = cli("delete-range", small, "--prefix", "key-1", "--json").json
    assert (told["start"], told["stop"]) == (b"key-1".hex(), b"key-2".hex())


@pytest.mark.parametrize(
    "bounds", [[], ["--prefix", ""], ["--start", ""], ["--all", "--start", "a"], ["--start", "b", "--stop", "a"], ["--stop", ""]]
)
def test_a_range_that_is_none_or_is_not_said_deletes_nothing(cli: Cli, small: Path, bounds: list[str]) -> None:
    assert cli("delete-range", small, *bounds).code == 2
    assert left(small) == KEYS


def test_it_is_refused_where_there_is_no_tree_or_another_has_it(cli: Cli, small: Path, tmp_path: Path) -> None:
    assert "does not exist" in cli("delete-range", tmp_path / "none", "--all").err
    assert not (tmp_path / "none").exists()
    with lsmkv.open(small):
        assert "already open" in cli("delete-range", small, "--all").err
    PageStore.open(tmp_path / "pages", options=StoreOptions(capacity_bytes=16 << 20)).close()
    assert "engine alone" in cli("delete-range", tmp_path / "pages", "--all").err
