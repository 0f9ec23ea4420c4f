"""Closing, failing and interrupting at bad moments: nothing acknowledged is lost, nothing hangs, nothing leaks."""

from __future__ import annotations

import contextlib
import errno
import gc
import sys
import threading

import pytest

import lsmkv
from lsmkv.errors import IOFailedError
from lsmkv.live.snapshots import SnapshotRegistry
from lsmkv.maintain.scheduler import ThreadedScheduler
from lsmkv.testing.faults import FailOp, FaultFileSystem, Hang
from lsmkv.testing.memfs import MemoryFileSystem


def interrupt_at(function, name):
    """Raise KeyboardInterrupt at the first entry of ``name`` while ``function`` runs."""

    def trace(frame, event, arg):
        if event == "call" and frame.f_code.co_qualname == name:
            sys.settrace(None)
            raise KeyboardInterrupt
        return

    sys.settrace(trace)
    try:
        with pytest.raises(KeyboardInterrupt):
            function()
    finally:
        sys.settrace(None)


def test_close_waits_for_a_compaction_in_another_thread(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs)
    db = open_db(fs=fs)
    for i in range(4):
        db.put_many((b"%03d" % k, b"%d" % i) for k in range(100))
        db.flush()
    hold = threading.Event()
    rule = Hang("sync", path="*.sst", event=hold, reached=threading.Event())
    fs.add(rule)
    errors = []

    def compact():
        try:
            db.compact()
        except lsmkv.ClosedError as error:
            errors.append(error)

    compacting = threading.Thread(target=compact)
    compacting.start()
    rule.reached.wait()
    closing = threading.Thread(target=db.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive(), "the compaction is still inside"
    hold.set()
    closing.join()
    compacting.join()
    with open_db() as again:
        assert again.get(b"050") == b"3"
        again.check()


def test_a_scan_over_the_end_of_its_store_says_so(open_db):
    db = open_db()
    db.put_many((b"%04d" % i, b"v") for i in range(1000))
    scan = db.scan()
    next(scan)
    db.close()
    with pytest.raises(lsmkv.ClosedError):
        list(scan)


def test_an_unusable_leftover_log_does_not_hide_the_next_one(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs)
    db = open_db(fs=fs)
    db.put(b"a", b"1", sync=True)
    fs.add(FailOp("pwritev", path="*.wal", times=1))
    fs.add(FailOp("unlink", path="*.wal", times=1))
    with pytest.raises(IOFailedError):
        db.flush()
    fs.clear()
    with db._committer.lock:
        db._committer.rotate()
    db.put(b"b", b"2", sync=True)
    with open_db(fs=memory_fs.crash()) as again:
        assert dict(again.scan()) == {b"a": b"1", b"b": b"2"}


@pytest.mark.parametrize(
    "moment",
    ["Core.new_mem", "WalWriter.__init__", "StateBox.swap", "View.__init__", "Manifest._mark", "apply_edit", "Memtable.apply"],
)
def test_ctrl_c_anywhere_in_a_write_or_flush_loses_nothing_acknowledged(open_db, memory_fs, moment):
    db = open_db()
    db.put(b"a", b"1", sync=True)
    db.flush()
    db.put(b"b", b"2", sync=True)

    def work():
        db.flush()
        db.put(b"c", b"3")

    interrupt_at(work, moment)
    acknowledged = {b"a": b"1", b"b": b"2"}
    try:
        db.put(b"d", b"4", sync=True)
        acknowledged[b"d"] = b"4"
        db.flush()
    except lsmkv.PoisonedError:
        pass
    assert acknowledged.items() <= dict(db.scan()).items()
    with open_db(fs=memory_fs.crash()) as again:
        got = dict(again.scan())
        assert acknowledged.items() <= got.items()
        assert got.items() <= (acknowledged | {b"c": b"3"}).items()
        again.check()


def test_ctrl_c_before_anything_was_written_poisons_nothing(open_db):
    with open_db() as db:
        interrupt_at(lambda: db.put(b"a", b"1"), "Committer._ready")
        assert db.get(b"a") is None
        db.put(b"b", b"2")
        assert dict(db.scan()) == {b"b": b"2"}, "the interrupted write must not appear later"


def test_the_garbage_collector_may_drop_snapshots_inside_the_registry():
    registry = SnapshotRegistry()
    registry.acquire(7)
    registry.acquire(9)
    with registry._lock:
        registry.drop(7)
    assert registry.numbers() == [9]
    assert registry.settle() == 1


def test_snapshots_in_cycles_let_go_when_collected(open_db):
    with open_db() as db:
        cycle = [db.snapshot()]
        cycle.append(cycle)
        del cycle
        gc.collect()
        assert db.stats().snapshots == 0


@pytest.mark.parametrize("op", ["pwritev", "open"])
def test_a_store_that_could_not_be_opened_for_lack_of_space_opens_later(memory_fs, op):
    fs = FaultFileSystem(memory_fs, [FailOp(op, path="*.wal", errno=errno.ENOSPC)])
    with pytest.raises(lsmkv.NoSpaceError):
        lsmkv.open("/db", lsmkv.Options(fs=fs))
    fs.clear()
    lsmkv.open("/db", lsmkv.Options(fs=fs)).close()


def test_opening_under_a_fault_at_every_call_never_keeps_the_lock():
    base = MemoryFileSystem()
    with lsmkv.open("/db", lsmkv.Options(fs=base)) as db:
        db.put(b"a", b"1")
    for op in ("open", "pwritev", "sync", "sync_dir", "listdir", "stat", "exists", "preadv", "pread", "rename", "unlink"):
        for nth in range(1, 8):
            fs = FaultFileSystem(base, [FailOp(op, nth=nth, times=1)])
            try:
                lsmkv.open("/db", lsmkv.Options(fs=fs)).close()
            except lsmkv.LsmError:
                fs.clear()
                with lsmkv.open("/db", lsmkv.Options(fs=fs)) as db:
                    assert db.get(b"a") == b"1"


@pytest.mark.parametrize("path", ["*.wal", "*MANIFEST", "*.sst"])
def test_a_file_that_cannot_be_closed_does_not_keep_the_lock(open_db, memory_fs, path):
    fs = FaultFileSystem(memory_fs)
    db = open_db(fs=fs)
    db.put(b"a", b"1", sync=True)
    fs.add(FailOp("close", path=path))
    with contextlib.suppress(IOFailedError):
        db.close()
    fs.clear()
    with open_db() as again:
        assert again.get(b"a") == b"1"


def test_a_failed_manifest_sync_poisons_writes_at_once(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs)
    db = open_db(fs=fs)
    db.put(b"a", b"1")
    fs.add(FailOp("sync", path="*MANIFEST", times=1))
    with pytest.raises(lsmkv.PoisonedError):
        db.flush()
    with pytest.raises(lsmkv.PoisonedError, match="reopen"):
        db.put(b"b", b"2")
    assert db.get(b"a") == b"1"
    db.close()
    with open_db() as again:
        assert again.get(b"a") == b"1"


def test_a_bug_in_a_policy_is_told_to_whoever_waits(memory_fs):
    class Broken:
        def pick(self, shape):
            raise ValueError("no idea")

        def describe(self):
            return {"name": "leveled", "size_ratio": 10}

    options = lsmkv.Options(
        fs=memory_fs, policy=Broken(), memtable_bytes=4096, level0_runs=1, level0_stop_runs=2, scheduler=ThreadedScheduler()
    )
    with lsmkv.open("/db", options) as db:
        with pytest.raises(lsmkv.LsmError, match="no idea"):
            for i in range(10_000):
                db.put(b"%05d" % i, b"v" * 100)
        assert "no idea" in db.stats().last_error


def test_check_is_safe_beside_a_writer(tmp_path):
    with lsmkv.open(str(tmp_path / "db"), lsmkv.Options(memtable_bytes=1 << 16)) as db:
        done = threading.Event()

        def write():
            for i in range(3000):
                db.put(b"%05d" % i, b"v" * 50)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        while not done.is_set():
            db.check()
        writer.join()


def test_tables_that_could_not_be_unlinked_are_tried_again(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs)
    with open_db(fs=fs) as db:
        for i in range(3):
            db.put(b"k", b"%d" % i)
            db.flush()
        fs.add(FailOp("unlink", path="*.sst", times=1))
        db.compact()
        db.check()
        db.settle()
        assert len([n for n in memory_fs.listdir("/db") if n.endswith(".sst")]) == len(db.tree().tables) == 1


def test_what_an_ended_scan_held_goes_with_the_next_step(open_db, memory_fs):
    with open_db() as db:
        for i in range(3):
            db.put(b"k", b"%d" % i)
            db.flush()
        scan = db.scan()
        next(scan)
        db.compact()
        scan.close()
        db.settle()
        assert len([n for n in memory_fs.listdir("/db") if n.endswith(".sst")]) == 1


def test_compact_reclaims_versions_that_snapshots_needed(open_db):
    with open_db() as db:
        snaps = []
        for i in range(5):
            db.put_many((b"%03d" % k, b"%d" % i) for k in range(50))
            snaps.append(db.snapshot())
        db.compact()
        assert db.tree().entries > 50
        for snap in snaps:
            snap.close()
        db.compact()
        assert db.tree().entries == 50
