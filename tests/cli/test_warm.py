"""``lsmkv warm`` reads the index and the pages that it is asked for, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lsmkv.cli.tools import Tools
from lsmkv.testing import CountingFileSystem
from lsmkv_tensor import PageStore, StoreOptions
from lsmkv_tensor.cli import warm as module

Cli = Callable[..., Any]
PAGE = 20_000
OPTIONS = StoreOptions(capacity_bytes=48 << 20, segment_bytes=1 << 20)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A hundred pages in one namespace and five in another, over several segments."""
    path = tmp_path / "pages"
    with PageStore.open(str(path), options=OPTIONS) as pages:
        for name, count in (("first", 100), ("second", 5)):
            ns = pages.namespace({"model": name}, PAGE, name=name)
            keys = [i.to_bytes(28, "big") for i in range(count)]
            assert all(ns.put_many(keys, [bytes([i]) * PAGE for i in range(count)]))
    return path


def test_it_reads_everything_that_is_stored(cli: Cli, store: Path) -> None:
    told = cli("warm", store, "--json").json
    assert told["pages"] == 105
    assert told["left_pages"] == 0
    assert told["page_bytes"] >= 105 * PAGE
    assert told["index_bytes"] == sum(p.stat().st_size for p in (store / "index").glob("*.sst"))
    shown = cli("warm", store)
    assert shown.code == 0
    assert "105 pages" in shown.out


def test_one_namespace_the_index_alone_and_the_pages_alone(cli: Cli, store: Path) -> None:
    assert cli("warm", store, "--namespace", "second", "--json").json["pages"] == 5
    index = cli("warm", store, "--no-pages", "--json").json
    assert index["index_bytes"] > 0
    assert index["pages"] == index["page_bytes"] == 0
    pages = cli("warm", store, "--no-index", "--json").json
    assert pages["index_bytes"] == 0
    assert pages["pages"] == 105
    assert "no pages" in cli("warm", store, "--no-pages").out


def test_no_more_than_memory_has_room_for(cli: Cli, store: Path) -> None:
    told = cli("warm", store, "--most-mib", "1", "--json").json
    assert told["pages"] == (1 << 20) // PAGE
    assert told["pages"] + told["left_pages"] == 105
    assert "left out" in cli("warm", store, "--most-mib", "1").out


def test_it_works_beside_a_live_store_and_changes_nothing(cli: Cli, store: Path) -> None:
    with PageStore.open(str(store), options=OPTIONS) as pages:
        pages.namespace({"model": "first"}, PAGE).put_many([bytes(27) + b"x"], [bytes(PAGE)])
        before = sorted((p.name, p.stat().st_mtime_ns) for p in (store / "vlog").iterdir())
        assert cli("warm", store, "--json").json["pages"] == 106
        assert sorted((p.name, p.stat().st_mtime_ns) for p in (store / "vlog").iterdir()) == before


def test_the_bytes_are_read_in_few_calls(command: Tools, store: Path) -> None:
    counting = CountingFileSystem(command.fs)
    stretches, count, _ = module._pages(counting, str(store), None, None)
    assert count == 105
    assert len(stretches) <= len(list((store / "vlog").iterdir()))
    advanced: list[int] = []
    module._read(counting, stretches, advanced.append)
    assert sum(advanced) == sum(end - start for _, start, end in stretches)


def test_a_file_that_vanishes_is_passed_over(command: Tools, store: Path) -> None:
    stretches, _, _ = module._pages(command.fs, str(store), None, None)
    Path(stretches[0][0]).unlink()
    advanced: list[int] = []
    module._read(command.fs, stretches, advanced.append)
    assert sum(advanced) == sum(end - start for _, start, end in stretches)


def test_what_makes_no_sense_is_refused(cli: Cli, store: Path, tmp_path: Path) -> None:
    assert cli("warm", store, "--no-index", "--no-pages").code == 2
    assert cli("warm", store, "--namespace", "third").code == 2
    assert cli("warm", tmp_path / "nothing").code == 2
    assert cli("warm", store / "index").code == 2


def test_ctrl_c_ends_it(command: Tools, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_read", interrupt)
    result = CliRunner().invoke(command.app, ["warm", str(store)], obj=command)
    assert result.exit_code == 130
