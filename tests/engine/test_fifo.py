"""FIFO: the oldest data goes when there is too much of it or its time is over, and not while a snapshot reads it."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv import FIFO
from lsmkv.base.events import read_events
from lsmkv.maintain.compact import run_task
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.clock import ManualClock
from lsmkv.testing.memfs import MemoryFileSystem


def batch(n, size=30):
    """Keys of flush ``n``, unlike those of any other."""
    return [(b"%04d:%02d" % (n, i), b"v" * 20) for i in range(size)]


def present(db):
    """The flushes of which something is left."""
    return sorted({int(key[:4]) for key, _ in db.scan()})


def test_beyond_its_capacity_the_oldest_tables_go_and_nothing_is_merged(open_db, memory_fs):
    with open_db(policy=FIFO(capacity_bytes=8000), level0_runs=4) as db:
        for n in range(30):
            db.put_many(batch(n))
            db.flush()
            db.settle()
            assert db.stats().bytes <= 8000
        left = present(db)
        assert 2 < len(left) < 30
        assert left == list(range(30))[-len(left) :]
        assert db.stats().compaction_written_bytes == 0
        assert len([name for name in memory_fs.listdir("/db") if name.endswith(".sst")]) == len(db.tree().tables)
        assert sum(level.merges.drops for level in db.stats().ledger.levels) > 0
        db.check()
    drops = [e for e in read_events(memory_fs, "/db") if e.get("task") == "drop"]
    assert drops
    assert all(e["dropped_bytes"] > 0 and e["written_bytes"] == 0 for e in drops)


def test_data_goes_when_its_time_is_over_although_nothing_is_written(open_db):
    clock = ManualClock()
    with open_db(policy=FIFO(capacity_bytes=1 << 30, ttl_s=100), clock=clock) as db:
        for n in range(5):
            db.put_many(batch(n))
            db.flush()
            db.settle()
            clock.advance(30)
        assert present(db) == [2, 3, 4] or present(db) == [1, 2, 3, 4]
        db.settle()
        clock.advance(50)
        assert db.pending() is not None
        db.settle()
        assert present(db) == [4]
        clock.advance(100)
        db.settle()
        assert present(db) == []
        assert db.tree().tables == ()
        db.check()


def test_what_a_snapshot_reads_stays_until_it_is_released_and_writes_go_on(open_db):
    with open_db(policy=FIFO(capacity_bytes=6000), level0_runs=2, level0_stop_runs=4) as db:
        for n in range(4):
            db.put_many(batch(n))
            db.flush()
            db.settle()
        with db.snapshot() as snapshot:
            then = dict(snapshot.scan())
            for n in range(4, 20):
                db.put_many(batch(n))
                db.flush()
                db.settle()
            assert dict(snapshot.scan()) == then
            assert db.stats().bytes > 6000
            assert db.pending() is None
        assert db.pending().drops
        db.settle()
        assert db.stats().bytes <= 6000
        db.check()


def test_a_snapshot_taken_at_the_last_moment_is_not_robbed(open_db):
    """Between the pick and its turn somebody began to read: the task does nothing."""
    with open_db(policy=FIFO(capacity_bytes=3000)) as db:
        for n in range(5):
            db.put_many(batch(n))
            db.flush()
        task = db.pending()
        assert task.drops
        with db.snapshot() as snapshot:
            before = dict(snapshot.scan())
            assert run_task(db._core, task) is False
            assert dict(snapshot.scan()) == before
        assert run_task(db._core, task) is True


def test_deleted_keys_do_not_return_when_tables_go(open_db):
    with open_db(policy=FIFO(capacity_bytes=9000), level0_runs=3) as db:
        for n in range(40):
            db.put_many([*batch(n), (b"again", b"%d" % n)])
            db.delete(b"again")
            db.flush()
            db.settle()
            assert db.get(b"again") is None
        db.check()


def test_a_tree_of_another_policy_is_dropped_from_its_deepest_data_on(open_db):
    with open_db(policy=lsmkv.Leveled(size_ratio=3), level0_runs=1, table_bytes=1024) as db:
        for n in range(30):
            db.put_many(batch(n))
            db.flush()
            db.settle()
        everything = dict(db.scan())
        db.set_policy(FIFO(capacity_bytes=db.stats().bytes // 2))
        db.settle()
        left = dict(db.scan())
        assert left.items() <= everything.items()
        assert 0 < len(left) < len(everything)
        assert db.stats().transition.done
        db.check()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("pdfw"), st.integers(0, 15), st.integers(1, 40)), max_size=80))
def test_whatever_happens_reads_see_the_newest_value_or_nothing(steps):
    clock = ManualClock()
    options = lsmkv.Options(
        fs=MemoryFileSystem(), clock=clock, scheduler=ManualScheduler(), policy=FIFO(capacity_bytes=3000, ttl_s=100),
        memtable_bytes=2048, block_bytes=256, level0_runs=2, level0_stop_runs=8,
    )  # fmt: skip
    newest: dict[bytes, bytes | None] = {}
    with lsmkv.open("/db", options) as db:
        for n, (kind, key, wait) in enumerate(steps):
            name = b"%02d" % key
            if kind == "p":
                newest[name] = b"%d" % n * 20
                db.put(name, newest[name])
            elif kind == "d":
                newest[name] = None
                db.delete(name)
            elif kind == "f":
                db.flush()
            else:
                clock.advance(wait)
            db.settle()
            for one, value in newest.items():
                assert db.get(one) in (value, None)
        db.check()
    with lsmkv.open("/db", options) as db:
        for one, value in newest.items():
            assert db.get(one) in (value, None)


def test_the_worker_wakes_by_itself_when_a_time_to_live_ends():
    fs = MemoryFileSystem()
    gone = threading.Event()
    with lsmkv.open("/db", lsmkv.Options(fs=fs, policy=FIFO(capacity_bytes=1 << 30, ttl_s=0.3))) as db:
        db.put_many(batch(1))
        fs.on_op = lambda op, path: gone.set() if op == "unlink" and path.endswith(".sst") else None
        db.flush()
        assert gone.wait(30)
        fs.on_op = None
        assert list(db.scan()) == []
