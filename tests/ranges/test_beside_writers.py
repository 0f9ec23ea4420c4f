"""Writers beside a range delete: what they wrote before it goes, what they write after it stays, nothing in between."""

from __future__ import annotations

import threading

import lsmkv
from lsmkv.testing import MemoryFileSystem
from tests.ranges.conftest import KEYS


def interrupting(disk, act):
    """Call ``act`` once, at the next read of a table: a small range is looked at before its turn to commit has come."""

    def hook(op, path):
        if op == "pread" and path.endswith(".sst"):
            disk.on_op = None
            act()

    disk.on_op = hook


def test_a_key_written_after_the_look_and_before_the_delete_goes(filled, disk):
    db = filled(range_delete_keys=20, block_cache_bytes=0)
    interrupting(disk, lambda: db.put(b"1055", b"between"))
    db.delete_range(b"100", b"110")
    assert disk.on_op is None, "it was looked at"
    assert [key for key, _ in db.scan()] == KEYS[:100] + KEYS[110:]
    assert db.stats().range_deletes == 0


def test_a_range_that_grows_after_the_look_is_no_longer_small(filled, disk):
    db = filled(range_delete_keys=20, block_cache_bytes=0)
    interrupting(disk, lambda: db.put_many([(b"1055%02d" % i, b"between") for i in range(30)]))
    db.delete_range(b"100", b"110")
    assert [key for key, _ in db.scan()] == KEYS[:100] + KEYS[110:]
    assert db.stats().range_deletes == 1


def test_a_key_deleted_after_the_look_stays_deleted_for_a_snapshot_in_between(filled, disk):
    db = filled(range_delete_keys=20, block_cache_bytes=0)
    seen = []

    def act():
        db.delete(b"105")
        seen.append(db.snapshot())
        db.put(b"106", b"between")

    interrupting(disk, act)
    db.delete_range(b"100", b"110")
    assert [key for key, _ in seen[0].scan()] == [key for key in KEYS if key != b"105"]
    assert db.get_many(KEYS[99:111]) == [KEYS[99] * 20, *[None] * 10, KEYS[110] * 20]


def test_readers_see_all_of_a_batch_or_nothing():
    """Each batch deletes the range and puts it anew: no reader may find a key missing, or two generations at once."""
    keys = [b"%02d" % i for i in range(8)]
    options = lsmkv.Options(
        fs=MemoryFileSystem(), range_delete_keys=0, memtable_bytes=1 << 16, event_log=False, max_immutables=50
    )
    failures = []
    with lsmkv.open("/db", options) as db:
        db.put_many([(key, b"0") for key in keys])
        stop = threading.Event()

        def read():
            while not stop.is_set():
                many = db.get_many(keys)
                scanned = [value for _, value in db.scan()]
                if len(set(many)) != 1 or None in many or len(set(scanned)) != 1 or len(scanned) != len(keys):
                    failures.append((many, scanned))
                    return
                if db.get(keys[3]) is None:
                    failures.append("get")
                    return

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            for n in range(1, 120):
                with db.batch() as batch:
                    batch.delete_range(None, None)
                    for key in keys:
                        batch.put(key, b"%d" % n)
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        assert not failures, failures[0]
        db.settle()
        assert [value for _, value in db.scan()] == [b"119"] * 8
        db.check()
