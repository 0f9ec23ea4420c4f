"""Deletions leave the disk: within a bound if one is set, and as soon as no snapshot needs what they hide."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.tiered import Tiered
from lsmkv.testing.clock import ManualClock
from lsmkv.testing.memfs import MemoryFileSystem

POLICIES = [Leveled(size_ratio=3), Tiered(size_ratio=4), LazyLeveling(size_ratio=3)]


def tombstones(db):
    return sum(t.tombstones for t in db.tree().tables)


def two_levels(db, keys=300):
    """Old data deep down."""
    db.put_many((b"%04d" % i, b"v" * 20) for i in range(keys))
    db.compact()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_deletion_is_gone_from_disk_when_its_time_is_over(open_db, policy):
    clock = ManualClock()
    with open_db(clock=clock, tombstone_age_s=100.0, policy=policy, level0_runs=4) as db:
        two_levels(db)
        db.delete_many(b"%04d" % i for i in range(0, 300, 10))
        db.settle()
        assert db.tree().levels[0].runs == ()
        clock.advance(49)
        assert db.pending() is None
        clock.advance(1)
        assert "half as old" in db.pending().reason
        db.settle()
        assert tombstones(db) == 30
        assert db.tree().levels[0].runs != ()
        clock.advance(49)
        assert db.pending() is None
        clock.advance(1)
        db.settle()
        assert tombstones(db) == 0
        assert db.tree().entries == 270
        assert len(list(db.scan())) == 270
        db.check()


def test_without_a_bound_time_changes_nothing(open_db):
    clock = ManualClock()
    with open_db(clock=clock, level0_runs=4) as db:
        two_levels(db)
        db.delete(b"0001")
        db.flush()
        clock.advance(10**9)
        assert db.pending() is None
        assert tombstones(db) == 1


def test_the_age_counts_from_the_write_and_survives_reopening_and_merges(open_db):
    clock = ManualClock()
    settings = {"clock": clock, "tombstone_age_s": 100.0, "level0_runs": 1, "policy": Tiered(size_ratio=4)}

    def one_arrival(db, at):
        for half in (0, 30):
            db.put_many((b"%04d" % i, b"v" * 20) for i in range(at + half, at + half + 30))
            db.flush()
        db.settle()

    with open_db(**settings) as db:
        one_arrival(db, 0)
        db.delete(b"0001")
        written = clock.now()
        clock.advance(30)
        one_arrival(db, 100)
        table = next(t for t in db.tree().tables if t.tombstones)
        assert db.tree().levels[0].runs == ()
        assert table.tombstone_s == written
        assert table.born_s == table.newest_s == written + 30
    with open_db(**settings) as db:
        assert next(t for t in db.tree().tables if t.tombstones).tombstone_s == written
        clock.advance(69)
        db.settle()
        assert tombstones(db) == 1
        clock.advance(1)
        db.settle()
        assert tombstones(db) == 0


def test_only_what_the_deletion_covers_is_rewritten(open_db):
    clock = ManualClock()
    with open_db(clock=clock, tombstone_age_s=100.0, level0_runs=4, table_bytes=1024) as db:
        two_levels(db, keys=600)
        before = {t.number for t in db.tree().tables}
        db.delete(b"0005")
        db.flush()
        clock.advance(100)
        db.settle()
        assert tombstones(db) == 0
        assert len(before - {t.number for t in db.tree().tables}) <= 2


@pytest.mark.parametrize("policy", POLICIES)
def test_a_snapshot_keeps_what_it_reads_and_its_release_lets_it_go(open_db, policy):
    with open_db(policy=policy, level0_runs=1) as db:
        two_levels(db)
        snapshot = db.snapshot()
        db.delete_many(b"%04d" % i for i in range(0, 300, 2))
        db.put_many((b"%04d" % i, b"new") for i in range(1, 300, 2))
        db.compact()
        db.settle()
        assert snapshot.get(b"0010") == b"v" * 20
        assert db.tree().entries == 600
        assert sum(t.shadowed for t in db.tree().tables) == 300
        assert db.pending() is None
        snapshot.close()
        assert "no snapshot needs" in db.pending().reason
        db.settle()
        assert db.tree().entries == 150
        assert tombstones(db) == 0
        assert sum(t.shadowed for t in db.tree().tables) == 0
        assert list(db.scan()) == [(b"%04d" % i, b"new") for i in range(1, 300, 2)]
        db.check()


def test_an_older_snapshot_keeps_everything_when_a_younger_one_goes(open_db):
    with open_db(level0_runs=1) as db:
        two_levels(db)
        old = db.snapshot()
        db.delete_many(b"%04d" % i for i in range(300))
        young = db.snapshot()
        db.compact()
        db.settle()
        young.close()
        assert db.pending() is None
        assert len(list(old.scan())) == 300
        old.close()
        db.settle()
        assert db.tree().entries == 0
        assert db.tree().tables == ()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("pdfwsr"), st.integers(0, 30), st.integers(0, 60)), max_size=60),
    st.sampled_from(POLICIES),
)
def test_bound_and_contents_hold_whatever_happens(steps, policy):
    """Put, delete, flush, wait, take and release snapshots: settled, no tombstone without a snapshot is past the bound."""
    clock = ManualClock()
    options = lsmkv.Options(
        fs=MemoryFileSystem(), clock=clock, scheduler=ManualScheduler(), policy=policy, tombstone_age_s=50.0,
        memtable_bytes=2048, table_bytes=1024, block_bytes=256, level0_runs=2, level0_stop_runs=8,
    )  # fmt: skip
    model: dict[bytes, bytes] = {}
    snapshots: list[tuple[lsmkv.Snapshot, dict[bytes, bytes]]] = []
    with lsmkv.open("/db", options) as db:
        for kind, key, wait in steps:
            name = b"%02d" % key
            if kind == "p":
                db.put(name, b"%d" % wait)
                model[name] = b"%d" % wait
            elif kind == "d":
                db.delete(name)
                model.pop(name, None)
            elif kind == "f":
                db.flush()
            elif kind == "w":
                clock.advance(wait)
            elif kind == "s":
                snapshots.append((db.snapshot(), dict(model)))
            elif snapshots:
                snapshots.pop(key % len(snapshots))[0].close()
            db.settle()
            shape = db.tree()
            if not snapshots:
                overdue = [t for t in shape.tables if t.tombstones and shape.now_s - t.tombstone_s >= 50]
                assert not overdue
            assert dict(db.scan()) == model
            for snapshot, then in snapshots:
                assert dict(snapshot.scan()) == then
        for snapshot, _ in snapshots:
            snapshot.close()
        clock.advance(200)
        db.settle()
        clock.advance(200)
        db.settle()
        assert tombstones(db) == 0
        db.check()


def wait_until(fs, condition, timeout_s=30.0):
    """Wait until ``condition`` holds, looking whenever a file is unlinked."""
    done = threading.Event()
    fs.on_op = lambda op, path: done.set() if op == "unlink" else None
    for _ in range(int(timeout_s)):
        if condition():
            return True
        done.wait(1.0)
        done.clear()
    return condition()


def test_workers_wake_by_themselves_when_a_deletion_grows_old(memory_fs):
    options = lsmkv.Options(fs=memory_fs, tombstone_age_s=0.4)
    with lsmkv.open("/db", options) as db:
        two_levels(db)
        db.delete_many(b"%04d" % i for i in range(100))
        assert wait_until(memory_fs, lambda: db.tree().entries == 200 and not tombstones(db))
        memory_fs.on_op = None


def test_the_worker_wakes_when_a_snapshot_is_released(memory_fs):
    with lsmkv.open("/db", lsmkv.Options(fs=memory_fs, level0_runs=1)) as db:
        two_levels(db)
        snapshot = db.snapshot()
        db.delete_many(b"%04d" % i for i in range(100))
        db.compact()
        db.settle()
        assert tombstones(db) == 100
        snapshot.close()
        assert wait_until(memory_fs, lambda: not tombstones(db))
        memory_fs.on_op = None


@pytest.mark.parametrize("policy", POLICIES)
def test_deletions_that_sink_because_of_their_age_do_not_make_the_levels_smaller(open_db, policy):
    """Bug: each sinking table of a few deletions counted as an arrival, so levels seemed overfull and were poured down."""
    clock = ManualClock()
    with open_db(clock=clock, tombstone_age_s=100.0, policy=policy, level0_runs=1) as db:
        for n in range(6):
            db.put_many((b"%04d" % i, b"%d" % n) for i in range(100 * n, 100 * n + 50))
            db.flush()
            db.settle()
        before = db.tree().buffer_entries
        for n in range(10):
            db.delete(b"%04d" % n)
            db.flush()
            clock.advance(101)
            db.settle()
        assert tombstones(db) == 0
        assert db.tree().buffer_entries == before
        db.check()
