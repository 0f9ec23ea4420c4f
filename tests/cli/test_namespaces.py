"""``lsmkv namespaces``: what is registered, what it takes, and dropping one only when that was meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lsmkv.cli.tools import Tools
from lsmkv_tensor import PageStore, StoreOptions

Cli = Callable[..., Any]
PAGE = 20_000
OPTIONS = StoreOptions(capacity_bytes=48 << 20, segment_bytes=256 << 10)


def key(i: int) -> bytes:
    return i.to_bytes(28, "big")


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Two namespaces that fill more segments than the least capacity has."""
    path = tmp_path / "pages"
    with PageStore.open(str(path), options=OPTIONS) as store:
        first = store.namespace({"model": "m"}, PAGE, name="first")
        second = store.namespace({"model": "n"}, PAGE, name="second", codec="shuffle_zstd")
        for start in range(0, 200, 20):
            keys = [key(i) for i in range(start, start + 20)]
            assert all(first.put_many(keys, [bytes([i % 256]) * PAGE for i in range(start, start + 20)]))
        assert all(second.put_many(keys[:5], [bytes(PAGE)] * 5))
        store.namespace({"model": "o"}, 7)
    return path


def test_it_lists_them(cli: Cli, pages: Path) -> None:
    found = cli("namespaces", pages, "--json").json["namespaces"]
    assert [(n["number"], n["names"], n["page_bytes"], n["fields"]) for n in found] == [
        (1, ["first"], PAGE, {"model": "m"}),
        (2, ["second"], PAGE, {"model": "n"}),
        (3, [], 7, {"model": "o"}),
    ]
    assert all(len(n["digest"]) == 64 and "pages" not in n for n in found)
    shown = cli("namespaces", pages, "list", "second")
    assert "second" in shown.out
    assert "first" not in shown.out


def test_it_tells_their_sizes(cli: Cli, pages: Path) -> None:
    first, second, third = cli("namespaces", pages, "size", "--json").json["namespaces"]
    assert (first["pages"], first["bytes"], first["stored_bytes"], first["disk_bytes"]) == (
        200,
        200 * PAGE,
        200 * PAGE,
        200 * 20_480,
    )
    assert (second["pages"], second["bytes"], second["disk_bytes"], second["pages_by_codec"]) == (5, 5 * PAGE, 5 * 4096, {"1": 5})
    assert (third["pages"], third["disk_bytes"]) == (0, 0)
    shown = cli("namespaces", pages, "size").out
    assert "3.8 MiB" in shown
    assert "model=m" in shown
    (only,) = cli("namespaces", pages, "size", second["digest"], "--json").json["namespaces"]
    assert only == second


def test_looking_works_beside_a_live_store(cli: Cli, pages: Path) -> None:
    with PageStore.open(str(pages), options=OPTIONS) as store:
        store.namespace({"model": "m"}, PAGE).put_many([key(500)], [bytes(PAGE)])
        assert cli("namespaces", pages, "size", "first", "--json").json["namespaces"][0]["pages"] == 201
        assert cli("namespaces", pages, "drop", "first", "--yes").code == 2
        assert len(store.namespaces()) == 3


def test_drop_takes_one_and_leaves_the_others_whole(cli: Cli, pages: Path) -> None:
    told = cli("namespaces", pages, "drop", "second", "--yes", "--json").json
    assert told["dropped_pages"] == 5
    assert told["namespace"]["names"] == ["second"]
    with PageStore.open(str(pages), options=OPTIONS) as store:
        assert [info.number for info in store.namespaces()] == [1, 3]
        ns = store.namespace({"model": "m"}, PAGE)
        assert ns.contains([key(i) for i in range(200)]).all(), "a command that opens a store evicts nothing"
        assert store.stats().pages == 200
    assert cli("verify", pages).code == 0


@pytest.mark.parametrize(("answer", "left"), [("y\n", 2), ("n\n", 3), ("", 3)])
def test_drop_asks_first(command: Tools, cli: Cli, pages: Path, answer: str, left: int) -> None:
    result = CliRunner().invoke(command.app, ["namespaces", str(pages), "drop", "first"], input=answer)
    assert result.exit_code == (0 if answer == "y\n" else 1)
    assert "200 pages" in result.stderr
    assert len(cli("namespaces", pages, "--json").json["namespaces"]) == left


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["drop"], "which namespace"),
        (["drop", "third", "--yes"], "there are: first, second"),
        (["size", "third"], "there are: first, second"),
        (["drop", "first", "--json"], "--yes"),
    ],
)
def test_what_is_not_meant_is_refused(cli: Cli, pages: Path, arguments: list[str], told: str) -> None:
    outcome = cli("namespaces", pages, *arguments)
    assert outcome.code == 2
    assert told in outcome.err
    assert len(cli("namespaces", pages, "--json").json["namespaces"]) == 3


def test_a_store_of_another_kind_is_refused(cli: Cli, store: Path, tmp_path: Path) -> None:
    assert "for page stores" in cli("namespaces", store).err
    assert cli("namespaces", tmp_path / "nothing").code == 2
