"""A page store and who follows it stay where their names led when they were opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.followed import PageFollower
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore

OPTIONS = StoreOptions(capacity_bytes=8 << 20, segment_bytes=256 << 10)
KEYS = [bytes([n]) * 28 for n in range(20)]
PAGES = [bytes([n]) * 40_000 for n in range(20)]


def test_a_program_that_changes_its_directory_finds_its_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: segments were created, and read, wherever the names led by then."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    with (
        PageStore.open(["store", "more"], options=OPTIONS, member="a") as store,
        PageFollower.open("store", options=OPTIONS) as follower,
    ):
        monkeypatch.chdir(there)
        pages = store.namespace({"m": 1}, len(PAGES[0]))
        assert all(pages.put_many(KEYS, PAGES))
        store.sync()
        for reader in (pages, follower.namespace({"m": 1}, len(PAGES[0]))):
            follower.refresh()
            out = [bytearray(len(page)) for page in PAGES]
            assert all(reader.get_into(KEYS, out))
            assert out == PAGES
    assert list(there.iterdir()) == []
    with PageStore.open(here / "store", options=OPTIONS, member="a") as store:
        assert store.namespace({"m": 1}, len(PAGES[0])).contains_prefix(KEYS) == len(KEYS)


def test_one_directory_by_two_names_is_named_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError, match="none twice"):
        PageStore.open(["store", tmp_path / "store"], options=OPTIONS)
