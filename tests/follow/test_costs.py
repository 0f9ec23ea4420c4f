"""A look reads what is new and nothing else; memory follows what the writer has not flushed."""

from __future__ import annotations

import pytest

import lsmkv
from lsmkv.testing import CountingFileSystem
from tests.follow.conftest import Stage, Witness
from tests.follow.test_in_the_middle import commits, prepared, rewrite, turn

HEAD, FRAME = 112, 48


def counted(stage: Stage, **settings: object) -> tuple[CountingFileSystem, lsmkv.Follower]:
    disk = CountingFileSystem(stage.fs)
    return disk, stage.follow(fs=disk, **settings)


def test_a_look_without_news_reads_a_few_bytes_of_the_manifest() -> None:
    stage = prepared()
    disk, follower = counted(stage)
    disk.clear()
    with stage.aside():
        assert not follower.refresh()
    assert disk.calls("listdir") == 1
    assert (disk.calls("open"), disk.calls("open", "MANIFEST")) == (1, 1)
    assert (disk.calls("read"), disk.bytes("read")) == (2, HEAD + FRAME)


def test_a_look_reads_new_commits_once() -> None:
    stage = prepared()
    disk, follower = counted(stage)
    wal = stage.db._committer.wal
    for n in (1, 5, 50):
        before = wal.length
        commits(stage, n)
        disk.clear()
        with stage.aside():
            assert follower.refresh()
        assert disk.bytes("read", "*.wal") == wal.length - before
        assert disk.bytes("read", "MANIFEST") == HEAD + FRAME
        assert disk.calls("open", "*.wal") == 0
    turn(stage)
    disk.clear()
    with stage.aside():
        assert follower.refresh()
    assert disk.calls("open", "*.wal") == 1, "the log that is new"


def test_a_look_reads_new_edits_and_after_a_rewrite_the_manifest_once() -> None:
    stage = prepared()
    disk, follower = counted(stage)
    length = stage.db._core.manifest.length
    stage.db.flush()
    manifest = stage.db._core.manifest
    new = manifest.length - length
    disk.clear()
    with stage.aside():
        assert follower.refresh()
    read = disk.bytes("read", "MANIFEST")
    assert new <= read <= HEAD + FRAME + manifest.allocated - length
    rewrite(stage)
    disk.clear()
    with stage.aside():
        assert follower.refresh()
    assert disk.bytes("read", "MANIFEST") == HEAD + stage.db._core.manifest.allocated
    disk.clear()
    with stage.aside():
        assert not follower.refresh()
    assert disk.bytes("read") == HEAD + FRAME


@pytest.mark.parametrize("torn", [b"x", b"\xf5Lf\n" + bytes(100), b"half a frame" * 1000, bytes(5000)])
def test_half_a_frame_is_not_read_again_and_again(torn: bytes) -> None:
    stage = prepared()
    commits(stage)
    disk, follower = counted(stage)
    wal = stage.db._committer.wal
    with stage.aside():
        stage.fs.open(wal.path, "rw").pwritev([torn], wal.length)
        assert not follower.refresh()
        disk.clear()
        for _ in range(10):
            assert not follower.refresh()
    again = len(torn) if torn.startswith(b"\xf5Lf\n") else FRAME  # its payload might just have been half copied
    assert disk.bytes("read", "*.wal") <= 10 * again
    wal._file.truncate(wal.length)
    commits(stage)
    with stage.aside():
        assert follower.refresh()
        assert dict(follower.scan()) == stage.history[stage.acknowledged]


def test_what_was_flushed_leaves_memory() -> None:
    stage = prepared()
    _, follower = counted(stage)
    witness = Witness(stage, follower)
    for _ in range(5):
        turn(stage)
        witness.look()
        assert follower.stats().memtable_entries > 0
        stage.db.flush()
        witness.look()
        stats = follower.stats()
        assert (stats.memtable_entries, stats.memtable_bytes, stats.logs) == (0, 0, 0)
        assert len(follower._trail._parts) <= 1
        assert len(follower._trail._logs) == 1


def test_open_tables_stay_within_their_bound() -> None:
    stage = Stage(policy=lsmkv.Tiered(size_ratio=8), level0_runs=20, level0_stop_runs=40)
    stage.open()
    for _ in range(12):
        commits(stage)
        stage.db.flush()
    assert len(stage.db.tree().tables) == 12
    with stage.aside():
        follower = stage.follow(max_open_tables=3)
        for key in list(stage.history[-1]) * 3:
            assert follower.get(key) == stage.history[-1][key]
        assert follower.stats().open_tables <= 3
        held = sum(data.opens for data in stage.fs._tree.files("/"))
        scan = follower.scan()
        next(scan)
        assert sum(data.opens for data in stage.fs._tree.files("/")) >= held + 9, "a scan holds them all"
        del scan
        follower.get_many(list(stage.history[-1]))
        assert sum(data.opens for data in stage.fs._tree.files("/")) <= held + 1
