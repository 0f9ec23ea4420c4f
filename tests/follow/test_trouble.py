"""Crashes, refusals, damage and replaced stores, as a follower meets them."""

from __future__ import annotations

import errno

import pytest

import lsmkv
from lsmkv.base.frames import pack_file_header
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.faults import FailOp, FaultFileSystem, FlipByte, ShortWrite
from lsmkv.wal.batch import WalBatch
from tests.follow.conftest import COUNT, PATH, Witness
from tests.follow.test_in_the_middle import commits, prepared, turn


def contents(fs, *, read_only: bool) -> dict[bytes, bytes]:
    options = lsmkv.Options(fs=fs, scheduler=ManualScheduler(), rng=seeded(1), refresh_s=None)
    with lsmkv.open(PATH, options, read_only=read_only) as store:
        return dict(store.scan())


@pytest.mark.parametrize("seed", range(40))
def test_after_a_power_cut_it_shows_what_recovery_will_find(seed: int) -> None:
    """Holes between logs, torn tails, logs without header: the same rules, and then the same through the recovery."""
    stage = prepared()
    for _ in range(seed % 4):
        turn(stage)
    stage.fs.on_op = None
    left = stage.fs.crash(seeded(seed))
    with lsmkv.open(PATH, lsmkv.Options(fs=left, refresh_s=None), read_only=True) as follower:
        shown = dict(follower.scan())
        assert shown in stage.history
        assert contents(left, read_only=False) == shown
        follower.refresh()
        assert dict(follower.scan()) == shown


def test_a_group_that_the_disk_refused_is_never_shown() -> None:
    stage = prepared()
    follower = stage.follow()
    shown = dict(stage.history[stage.acknowledged])
    faults = FaultFileSystem(stage.fs)
    wal = stage.db._committer.wal
    wal._file = faults.open(wal.path, "rw")

    def look(op: str, path: str) -> None:
        follower.refresh()
        assert dict(follower.scan()) == shown

    stage.on_call = look
    seq = stage.db._committer.last_seq + 1
    for size in range(0, 300, 20):
        rules = [faults.add(ShortWrite(size=size, times=1)), faults.add(FailOp("pwritev", nth=2, errno=errno.ENOSPC))]
        with pytest.raises(lsmkv.NoSpaceError):
            wal.append([WalBatch(seq + i, [b"k%02d" % i], [b"ghost" * 10]) for i in range(3)])
        for rule in rules:
            faults.remove(rule)
    stage.on_call = lambda op, path: None
    commits(stage)
    with stage.aside():
        assert follower.refresh()
        assert dict(follower.scan()) == stage.history[stage.acknowledged]
        assert follower.stats().reloads == 0


def test_a_commit_whose_sync_failed_is_shown_and_comes_back_by_reopening() -> None:
    stage = prepared()
    follower = stage.follow()
    wal = stage.db._committer.wal
    faults = FaultFileSystem(stage.fs, [FailOp("sync", times=1)])
    wal._file = faults.open(wal.path, "rw")
    with pytest.raises(lsmkv.PoisonedError):
        stage.db.put(b"poison", b"?", sync=True)
    with stage.aside():
        follower.refresh()
        assert follower.get(b"poison") == b"?"
    with stage.aside(False):
        stage.db.close()
        stage.open()
    assert stage.db.get(b"poison") == b"?"
    with stage.aside():
        follower.refresh()
        assert follower.get(b"poison") == b"?"


def test_the_number_of_a_log_that_was_never_begun_may_be_given_again() -> None:
    """The follower had opened a log without a header; the writer removed it and gave its number to a log with commits."""
    stage = prepared()
    number = next(stage.db._core.numbers)
    path = f"{PATH}/{number:06d}.wal"
    with stage.aside():
        stage.fs.open(path, "create")
        follower = stage.follow()
        stage.fs.unlink(path)
    stage.db._core.numbers = iter([number, *range(number + 1, number + 1000)])
    turn(stage)
    assert stage.db._committer.wal.path == path
    with stage.aside():
        follower.refresh()
        assert dict(follower.scan()) == stage.history[stage.acknowledged]


def test_a_lost_table_is_named() -> None:
    stage = prepared()
    stage.db.compact()
    (table, *_) = stage.db.tree().tables
    path = f"{PATH}/{table.number:06d}.sst"
    with stage.aside():
        follower = stage.follow()
        stage.fs.unlink(path)
        for read in (
            lambda: follower.get(table.smallest),
            lambda: follower.get_many([table.smallest]),
            lambda: follower.contains_many([table.smallest]),
            lambda: list(follower.scan()),
            follower.snapshot,
        ):
            with pytest.raises(lsmkv.CorruptionError, match="the manifest names this table, but it is missing") as caught:
                read()
            assert caught.value.file == path
        assert follower.stats().snapshots == 0, "what failed holds nothing"


@pytest.mark.parametrize("name", ["MANIFEST", "log", "table"])
def test_damage_that_stays_is_corruption_and_damage_that_goes_is_nothing(name: str) -> None:
    stage = prepared()
    stage.db.sync()
    commits(stage)
    with stage.aside():
        files = {"MANIFEST": "MANIFEST", "log": stage.db._committer.wal.path.rpartition("/")[2], "table": "*.sst"}
        faults = FaultFileSystem(stage.fs)
        follower = stage.follow(fs=faults, block_cache_bytes=0)
        before = dict(stage.history[stage.acknowledged])
    stage.db.sync()
    commits(stage)
    with stage.aside():
        offset = {"MANIFEST": 130, "log": 100, "table": 30}[name]
        once = faults.add(FlipByte(path=files[name], offset=offset, nth=2 if name == "MANIFEST" else 1, times=1))
        reader = stage.follow(fs=faults, block_cache_bytes=0)
        if name != "table":
            assert faults.hits(once) == 1, "a byte was wrong the first time"
            assert dict(reader.scan()) == stage.history[stage.acknowledged]
            assert reader.stats().reloads == 1
        faults.clear()
        faults.add(FlipByte(path=files[name], offset=offset))
        with pytest.raises(lsmkv.CorruptionError):
            stage.follow(fs=faults, block_cache_bytes=0).get_many(list(before))
        faults.clear()
        follower.refresh()
        assert dict(follower.scan()) == stage.history[stage.acknowledged]


def test_a_store_that_became_older_is_not_followed() -> None:
    stage = prepared()
    with stage.aside(False):
        stage.db.checkpoint("/old")
    commits(stage)
    with stage.aside():
        follower = stage.follow()
        shown = dict(stage.history[stage.acknowledged])
        stage.fs.rename(PATH, "/away")
        stage.fs.rename("/old", PATH)
        with pytest.raises(lsmkv.CorruptionError, match="not the same store any more"):
            follower.refresh()
        assert follower.get_many(list(shown)) == list(shown.values()) or follower.get(COUNT) == shown[COUNT]
        with stage.follow() as anew:
            assert dict(anew.scan()) in stage.history


def test_a_store_that_is_gone_is_told() -> None:
    stage = prepared()
    with stage.aside():
        follower = stage.follow()
        stage.fs.rename(PATH, "/away")
        with pytest.raises(lsmkv.IOFailedError, match=PATH):
            follower.refresh()
        stage.fs.rename("/away", PATH)
        assert not follower.refresh()
        assert Witness(stage, follower).read() == stage.acknowledged


def test_a_store_of_a_later_format_is_told() -> None:
    stage = prepared()
    with stage.aside():
        follower = stage.follow()
        stage.fs.open(f"{PATH}/MANIFEST", "rw").pwritev([pack_file_header(b"lsmkvMAN", 99, 1, None)], 0)
        with pytest.raises(lsmkv.FormatTooNewError):
            follower.refresh()
