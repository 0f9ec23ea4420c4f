"""``lsmkv verify --liveness``: live counts that are wrong are found by one scan of the index, and put right if asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv
from lsmkv_tensor import PageStore, StoreOptions
from lsmkv_tensor.cli.survey import segments_of

Cli = Callable[..., Any]
PAGE = 5000
OPTIONS = StoreOptions(capacity_bytes=16 << 20, segment_bytes=256 << 10)


def keys(start: int, stop: int) -> list[bytes]:
    return [i.to_bytes(4, "big") * 7 for i in range(start, stop)]


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    path = tmp_path / "pages"
    with PageStore.open(str(path), options=OPTIONS) as store:
        namespace = store.namespace({"m": 1}, PAGE)
        for start in range(0, 90, 30):
            assert all(namespace.put_many(keys(start, start + 30), [b"p" * PAGE] * 30))
        namespace.delete_many(keys(0, 7))
    return path


def spoil(path: Path, number: int, pages: int, nbytes: int) -> None:
    """Record wrong counts for a segment."""
    with lsmkv.open(path / "index") as db:
        segment = segments_of(db, str(path))[number]
        db.put(segment.key, segment.record(pages, nbytes), sync=True)


def test_counts_of_a_sound_store_are_exact(cli: Cli, pages: Path) -> None:
    told = cli("verify", pages, "--liveness", "--json")
    assert told.json == {"path": str(pages), "segments": 3, "wrong": [], "repaired": False}
    assert told.code == 0
    assert "exact" in cli("verify", pages, "--liveness").out


def test_wrong_counts_are_found_shown_and_put_right(cli: Cli, pages: Path) -> None:
    with PageStore.open(str(pages), options=OPTIONS) as store:
        before = store.stats()
    spoil(pages, 1, +3, +4096)
    spoil(pages, 2, -2, -8192)
    told = cli("verify", pages, "--liveness", "--json")
    assert told.code == 2
    assert [(one["segment"], one["recorded_pages"] - one["pages"]) for one in told.json["wrong"]] == [(1, 3), (2, -2)]
    assert [one["recorded_bytes"] - one["bytes"] for one in told.json["wrong"]] == [4096, -8192]
    shown = cli("verify", pages, "--liveness")
    assert "--repair" in shown.err
    mended = cli("verify", pages, "--liveness", "--repair", "--json")
    assert mended.code == 0
    assert mended.json["repaired"]
    assert cli("verify", pages, "--liveness", "--json").json["wrong"] == []
    with PageStore.open(str(pages), options=OPTIONS) as store:
        after = store.stats()
        assert (after.pages, after.live_bytes) == (before.pages, before.live_bytes)


def test_it_counts_beside_a_writer_but_repairs_only_alone(cli: Cli, pages: Path) -> None:
    with PageStore.open(str(pages), options=OPTIONS):
        assert cli("verify", pages, "--liveness", "--json").code == 0
        refused = cli("verify", pages, "--liveness", "--repair")
        assert refused.code == 2
        assert "one writer at a time" in refused.err


def test_an_engine_counts_nothing_and_repair_goes_with_liveness(cli: Cli, pages: Path) -> None:
    assert "no segments" in cli("verify", pages / "index", "--liveness").err
    assert "--liveness" in cli("verify", pages, "--repair").err
