"""Verification offline: what is damaged is a problem, what opening would repair is a warning, and nothing is changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import lsmkv
from lsmkv.env.posix import PosixFileSystem
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.observe.report import survey
from lsmkv.testing import MemoryFileSystem


def options(**more: object) -> lsmkv.Options:
    return lsmkv.Options(memtable_bytes=16 << 10, level0_runs=2, scheduler=ManualScheduler(), **more)  # type: ignore[arg-type] # fields by name


def fill(db: lsmkv.DB, n: int = 1000) -> None:
    for i in range(0, n, 100):
        db.put_many((f"{j * 17 % n:04d}".encode(), b"value" * (j % 7)) for j in range(i, i + 100))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store as a killed process leaves it: tables, and logs that hold the rest."""
    with lsmkv.open(str(tmp_path / "live"), options()) as db:
        fill(db)
        db.step()
        db.put(b"last", b"words", sync=True)
        shutil.copytree(tmp_path / "live", tmp_path / "copy")
    return tmp_path / "copy"


def image(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.iterdir()}


def test_a_sound_store_is_sound_and_untouched(store: Path) -> None:
    before = image(store)
    report = lsmkv.verify(str(store))
    assert report.ok
    assert report.warnings == ()
    assert report.entries == 1001
    assert image(store) == before


def test_every_flipped_byte_of_a_table_is_found(store: Path) -> None:
    table = min(store.glob("*.sst"), key=lambda p: p.stat().st_size)
    data = table.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 150)):
        table.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        problems = lsmkv.verify(str(store)).problems
        assert [p.file for p in problems[:1]] == [str(table)], f"byte {at}"


def test_another_tables_bytes_are_found(store: Path) -> None:
    with lsmkv.open(str(store), options()) as db:
        db.flush()
    first, second, *_ = sorted(store.glob("*.sst"))
    first.write_bytes(second.read_bytes())
    assert not lsmkv.verify(str(store)).ok


def test_a_torn_log_is_a_warning_and_opening_agrees(store: Path) -> None:
    log = max(store.glob("*.wal"))
    with log.open("ab") as file:
        file.write(b"half a frame")
    report = lsmkv.verify(str(store))
    assert report.ok
    assert any("dropped 12 bytes" in warning for warning in report.warnings)
    with lsmkv.open(str(store), options()) as db:
        assert db.get(b"last") == b"words"


def test_leftovers_are_named(store: Path) -> None:
    (store / "999999.sst").write_bytes(b"unfinished")
    (store / "MANIFEST.tmp").write_bytes(b"unfinished")
    (store / "notes.txt").write_bytes(b"not ours")
    report = lsmkv.verify(str(store))
    assert report.ok
    assert [w.split()[0].rpartition("/")[2] for w in report.warnings] == ["999999.sst", "MANIFEST.tmp", "notes.txt"]


def test_a_missing_table_is_a_problem(store: Path) -> None:
    table = min(store.glob("*.sst"))
    table.unlink()
    (problem,) = lsmkv.verify(str(store)).problems
    assert (problem.file, problem.offset) == (str(table), -1)
    assert "missing" in str(problem)


def test_no_store_is_an_error_not_a_finding(tmp_path: Path) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError, match="no lsmkv store"):
        lsmkv.verify(str(tmp_path))


def test_a_store_after_a_power_cut_verifies_in_memory_too() -> None:
    fs = MemoryFileSystem()
    with lsmkv.open("s", options(fs=fs)) as db:
        fill(db)
        db.sync()
        crashed = fs.crash(None)
    report = lsmkv.verify("s", crashed)
    assert report.ok, report.problems
    assert report.entries == 1000


def test_a_follower_shows_tables_and_logs_together(store: Path) -> None:
    with lsmkv.open(store, read_only=True) as follower:
        seen = dict(follower.scan())
        assert seen[b"last"] == b"words"
        assert len(seen) == 1001
        assert [k for k, _ in follower.scan(prefix=b"00")] == sorted(k for k in seen if k.startswith(b"00"))
    with lsmkv.open(str(store), options()) as db:
        assert dict(db.scan()) == seen


def test_a_survey_says_what_is_due(store: Path) -> None:
    report = survey(str(store), PosixFileSystem())
    assert report.logs >= 1
    assert report.log_bytes > 0
    assert report.tables == len(list(store.glob("*.sst")))
    assert "level 0" in report.pending
    assert report.bytes == sum(p.stat().st_size for p in store.iterdir() if p.name != "LOCK")
    with lsmkv.open(str(store), options()) as db:
        db.settle()
    assert survey(str(store), PosixFileSystem()).pending == ""
