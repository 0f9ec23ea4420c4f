"""When the log is synced, and what stalls say."""

from __future__ import annotations

import threading

import pytest

import lsmkv
from lsmkv.maintain.scheduler import ThreadedScheduler
from lsmkv.testing.clock import ManualClock
from lsmkv.testing.faults import FailOp, FaultFileSystem, Hang


def synced_by_now(open_db, fs):
    with open_db(fs=fs.crash()) as db:
        return [k for k, _ in db.scan()]


def test_mode_write_syncs_every_batch(open_db, memory_fs):
    db = open_db(wal_sync="write")
    db.put(b"a", b"1")
    db.put_many([(b"b", b"2"), (b"c", b"3")])
    assert db.stats().wal_syncs == 2
    assert synced_by_now(open_db, memory_fs) == [b"a", b"b", b"c"]


def test_mode_interval_syncs_when_the_oldest_write_is_old_enough(open_db, memory_fs):
    clock = ManualClock()
    db = open_db(wal_sync="interval", wal_sync_interval_s=1.0, clock=clock)
    db.put(b"a", b"1")
    clock.advance(0.5)
    db.put(b"b", b"2")
    assert db.stats().wal_syncs == 0
    clock.advance(0.5)
    db.put(b"c", b"3")
    assert db.stats().wal_syncs == 1
    db.put(b"d", b"4")
    assert synced_by_now(open_db, memory_fs) == [b"a", b"b", b"c"]


def test_mode_interval_syncs_by_itself_when_writing_stops(memory_fs):
    with lsmkv.open("/db", lsmkv.Options(fs=memory_fs, wal_sync="interval", wal_sync_interval_s=0.01)) as db:
        db.put(b"a", b"1")
        synced = _wait_until(lambda: db.stats().wal_syncs == 1)
        assert synced


def _wait_until(condition):
    """Give background threads up to 5 s."""
    pause = threading.Event()
    for _ in range(500):
        if condition():
            return True
        pause.wait(0.01)
    return False


def test_db_sync_makes_everything_durable_across_rotated_logs(open_db, memory_fs):
    db = open_db(max_immutables=4)
    for i in range(100):
        db.put(b"%03d" % i, b"v" * 100)
    assert db.stats().immutable_memtables > 0
    db.sync()
    assert len(synced_by_now(open_db, memory_fs)) == 100


def test_a_stall_that_lasts_too_long_is_a_busy_error_with_its_reason(memory_fs):
    hold = threading.Event()
    fs = FaultFileSystem(memory_fs, [Hang(op="pwritev", path="*.sst", event=hold)])
    options = lsmkv.Options(fs=fs, memtable_bytes=4096, max_immutables=1, stall_timeout_s=0.01, scheduler=ThreadedScheduler())
    db = lsmkv.open("/db", options)
    with pytest.raises(lsmkv.BusyError, match="1 full memtables wait for their flush"):
        for i in range(200):
            db.put(b"%03d" % i, b"v" * 100)
    assert db.stats().stalls == {"memtables": 1}
    assert db.stats().stall_seconds["memtables"] > 0
    hold.set()
    db.close()


def test_a_log_that_cannot_be_created_refuses_the_write_and_nothing_else(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs)
    with open_db(fs=fs) as db:
        rule = FailOp("open", path="*.wal", errno=28)
        fs.add(rule)
        written = 0
        with pytest.raises(lsmkv.NoSpaceError):
            while written < 1000:
                db.put(b"%04d" % written, b"v" * 100)
                written += 1
        assert db.get(b"%04d" % (written - 1)) == b"v" * 100
        fs.remove(rule)
        db.put(b"%04d" % written, b"v" * 100)
        assert len(list(db.scan())) == written + 1


def test_a_torn_tail_is_cut_and_reported(open_db, memory_fs):
    db = open_db()
    db.put(b"a", b"1", sync=True)
    db.put(b"b", b"2" * 50)
    path = next(f"/db/{n}" for n in memory_fs.listdir("/db") if n.endswith(".wal"))
    image = memory_fs.crash()
    del db
    file = image.open(path, "rw")
    size = file.size()
    file.pwritev([b"garbage!"], size)
    file.sync()
    with open_db(fs=image) as again:
        assert dict(again.scan()) == {b"a": b"1"}
        assert any("8 bytes" in line or "dropped" in line for line in again.stats().recovery)


def test_damage_below_the_durable_mark_is_corruption(open_db, memory_fs):
    db = open_db()
    for i in range(5):
        db.put(b"%d" % i, b"v" * 40, sync=True)
    path = next(f"/db/{n}" for n in memory_fs.listdir("/db") if n.endswith(".wal"))
    image = memory_fs.crash()
    file = image.open(path, "rw")
    file.pwritev([b"\xff\xff"], 120)
    file.sync()
    with pytest.raises(lsmkv.CorruptionError, match=r"\.wal"):
        open_db(fs=image)
