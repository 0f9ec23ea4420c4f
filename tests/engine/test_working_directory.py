"""A store is where its name led when it was opened, wherever the program goes meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

import lsmkv


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories; the second has a store of its own, of the same name."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with lsmkv.open(there / "store") as db:
        db.put(b"there", b"1")
    return here, there


def names(place: Path) -> set[str]:
    return {path.name for path in (place / "store").iterdir()}


def test_a_program_that_changes_its_directory_writes_where_it_began(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: tables, logs and unlinks went by the name as it was given, into whatever store had that name where the program was."""
    here, there = places
    before = names(there)
    monkeypatch.chdir(here)
    with lsmkv.open("store") as db:
        db.put(b"here", b"1")
        monkeypatch.chdir(there)
        for n in range(3):
            db.put(b"here", b"%d" % n)
            db.flush()
        db.compact()
        assert db.get(b"here") == b"2"
        assert names(there) == before
        with pytest.raises(lsmkv.LockedError):
            lsmkv.open(here / "store")
    for place, key in ((here, b"here"), (there, b"there")):
        assert lsmkv.verify(place / "store").ok
        with lsmkv.open(place / "store") as db:
            assert [found for found, _ in db.scan()] == [key]


def test_a_follower_follows_the_store_that_it_was_opened_for(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = places
    monkeypatch.chdir(here)
    with lsmkv.open("store") as db, lsmkv.open("store", read_only=True) as follower:
        monkeypatch.chdir(there)
        db.put(b"here", b"1")
        db.flush()
        follower.refresh()
        assert [key for key, _ in follower.scan()] == [b"here"]


def test_dots_mean_what_the_kernel_makes_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``link/..`` is the directory that holds what the link points to, not the one that holds the link."""
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "deep")
    monkeypatch.chdir(tmp_path)
    with lsmkv.open("link/../store") as db:
        db.put(b"a", b"1")
        monkeypatch.chdir("/")
        db.flush()
    assert (tmp_path / "far" / "store" / "MANIFEST").exists()
    assert not (tmp_path / "store").exists()


def test_a_working_directory_that_is_gone_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(lsmkv.LsmError):
        lsmkv.open("store")
