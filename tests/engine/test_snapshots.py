"""A snapshot keeps showing one moment, whatever happens to the tree."""

from __future__ import annotations

import threading

import pytest

import lsmkv
from lsmkv.base.keys import MAX_SEQ
from lsmkv.testing.faults import FaultFileSystem, Hang


def test_a_snapshot_survives_overwrites_deletes_flush_and_compaction(open_db):
    keys = [b"k%02d" % i for i in range(40)]
    with open_db() as db:
        db.put_many((k, b"1") for k in keys)
        first = db.snapshot()
        db.put_many((k, b"2") for k in keys[:20])
        db.delete_many(keys[20:30])
        second = db.snapshot()
        db.put_many((k, b"3") for k in keys)
        for move in (lambda: None, db.flush, db.settle, db.compact):
            move()
            assert first.get_many(keys) == [b"1"] * 40
            assert second.get_many(keys) == [b"2"] * 20 + [None] * 10 + [b"1"] * 10
            assert [first.get(k) for k in keys] == [b"1"] * 40
            assert list(second.scan(reverse=True)) == [(k, b"1") for k in keys[:29:-1]] + [(k, b"2") for k in keys[19::-1]]
            assert second.contains_many(keys).tolist() == [True] * 20 + [False] * 10 + [True] * 10
            assert db.get_many(keys) == [b"3"] * 40
        before = db.stats().entries
        first.close()
        second.close()
        db.put(b"k00", b"4")
        db.compact()
        assert db.stats().entries < before
        assert db.get_many(keys) == [b"4"] + [b"3"] * 39


def test_a_closed_snapshot_says_so(open_db):
    with open_db() as db:
        with db.snapshot() as snap:
            assert snap.get(b"x") is None
        with pytest.raises(lsmkv.ClosedError, match="snapshot is closed"):
            snap.get(b"x")


def test_while_tables_are_dropped_who_begins_to_read_waits_and_who_writes_does_not(open_db, memory_fs):
    """Bug: the reader waited with the lock in its hand that every write needs, for as long as the disk took."""
    fs = FaultFileSystem(memory_fs)
    with open_db(fs=fs, policy=lsmkv.FIFO(capacity_bytes=500)) as db:
        for n in range(4):
            db.put(b"%d" % n, b"v" * 200)
            db.flush()
        slow = fs.add(Hang("sync", path="*MANIFEST", times=1))
        asked, seen = threading.Event(), []
        dropping = threading.Thread(target=db.step)
        dropping.start()
        slow.reached.wait()
        door = db._core.snapshots.door

        class Door:
            """Tells when somebody is about to wait at it."""

            def __enter__(self):
                asked.set()
                door.acquire()

            def __exit__(self, *error):
                door.release()

        db._core.snapshots.door = Door()
        reading = threading.Thread(target=lambda: seen.append(dict(db.scan())))
        reading.start()
        asked.wait()
        assert door.locked()
        db.put(b"9", b"written meanwhile")
        assert db._core.snapshots.floor() == MAX_SEQ
        assert seen == []
        slow.event.set()
        dropping.join()
        reading.join()
        assert seen == [dict(db.scan())]
        assert b"0" not in seen[0]
