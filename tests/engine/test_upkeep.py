"""Background work as visible tasks: pending, step, settle, stalls, and what a failure leaves behind."""

from __future__ import annotations

import errno

import pytest

import lsmkv
from lsmkv.maintain.scheduler import ThreadedScheduler
from lsmkv.testing.faults import FailOp, FaultFileSystem


def fill(db, rounds, per_round=60):
    for r in range(rounds):
        db.put_many((b"%04d" % (i * 7 % per_round), b"%d" % r) for i in range(per_round))
        db.flush()


def test_pending_names_the_next_task_and_step_does_it(open_db):
    with open_db() as db:
        assert db.pending() is None
        assert db.step() is None
        fill(db, 3)
        task = db.pending()
        assert task is not None
        assert task.output_level == 1
        assert {i.level for i in task.inputs} == {0}
        assert db.step() == task
        assert db.pending() is None
        shape = db.tree()
        assert [len(level.runs) for level in shape.levels] == [0, 1]
        assert shape.entries == 60
        db.check()


def test_settle_leaves_at_most_one_run_a_level_and_few_files(open_db, memory_fs):
    with open_db() as db:
        for r in range(40):
            fill(db, 1, per_round=40)
            if r % 5 == 4:
                db.settle()
                assert all(len(level.runs) <= 1 for level in db.tree().levels[1:])
                assert len(db.tree().levels[0].runs) <= 2
                db.check()
        tables = [n for n in memory_fs.listdir("/db") if n.endswith(".sst")]
        assert len(tables) == len(db.tree().tables)


def test_a_manual_store_that_is_full_works_inside_the_write_and_counts_the_stall(open_db):
    with open_db(max_immutables=1) as db:
        for i in range(2000):
            db.put(b"%06d" % i, b"v" * 50)
        stats = db.stats()
        assert stats.flushes > 10
        assert stats.stalls["memtables"] > 0
        assert db.get_many([b"%06d" % i for i in range(2000)]) == [b"v" * 50] * 2000


def test_a_threaded_store_settles_by_itself(open_db, tmp_path):
    with lsmkv.open(str(tmp_path / "db"), lsmkv.Options(memtable_bytes=4096, table_bytes=8192, level0_runs=2)) as db:
        for i in range(3000):
            db.put(b"%06d" % (i * 31 % 1000), b"%d" % i)
        db.settle()
        assert len(list(db.scan())) == 1000
        assert db.stats().compactions > 0
        assert db.stats().background_failures == 0
        db.check()


def test_a_full_disk_refuses_the_write_keeps_the_data_and_recovers(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs, [])
    db = open_db(fs=fs, max_immutables=1)
    rule = FailOp(op="pwritev", path="*.sst", errno=errno.ENOSPC)
    fs.add(rule)
    written = 0
    with pytest.raises(lsmkv.NoSpaceError, match=r"\.sst"):
        while written < 1000:
            db.put(b"%06d" % written, b"v" * 100)
            written += 1
    assert db.get(b"%06d" % (written - 1)) == b"v" * 100
    assert not [n for n in memory_fs.listdir("/db") if n.endswith(".sst")]
    fs.remove(rule)
    for i in range(written, 1000):
        db.put(b"%06d" % i, b"v" * 100)
    assert len(list(db.scan())) == 1000
    db.close()


def test_a_store_on_a_full_disk_closes_without_losing_anything(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs, [])
    db = open_db(fs=fs)
    db.put_many((b"%d" % i, b"v") for i in range(20))
    fs.add(FailOp(op="pwritev", path="*.sst", errno=errno.ENOSPC))
    db.close()
    with open_db(fs=memory_fs.crash()) as again:
        assert len(list(again.scan())) == 20


def test_a_full_log_refuses_the_batch_and_goes_on_afterwards(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs, [])
    with open_db(fs=fs) as db:
        db.put(b"a", b"1")
        rule = FailOp(op="pwritev", path="*.wal", errno=errno.ENOSPC)
        fs.add(rule)
        with pytest.raises(lsmkv.NoSpaceError):
            db.put_many([(b"b", b"2"), (b"c", b"3")])
        assert db.get_many([b"a", b"b", b"c"]) == [b"1", None, None]
        fs.remove(rule)
        db.put(b"b", b"4", sync=True)
        with open_db(fs=memory_fs.crash()) as again:
            assert again.get_many([b"a", b"b", b"c"]) == [b"1", b"4", None]


def test_a_failed_sync_poisons_writes_but_not_reads_and_reopening_recovers(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs, [])
    db = open_db(fs=fs)
    db.put(b"a", b"1", sync=True)
    fs.add(FailOp(op="sync", path="*.wal", errno=errno.EIO, times=1))
    with pytest.raises(lsmkv.PoisonedError):
        db.put(b"b", b"2", sync=True)
    with pytest.raises(lsmkv.PoisonedError, match="reopen"):
        db.put(b"c", b"3")
    assert db.get(b"a") == b"1"
    db.close()
    with open_db() as again:
        assert again.get(b"a") == b"1"
        assert again.get(b"c") is None


def test_background_failures_are_retried_without_a_call(tmp_path, memory_fs):
    fs = FaultFileSystem(memory_fs, [FailOp(op="pwritev", path="*.sst", errno=errno.ENOSPC, times=1)])
    with lsmkv.open("/db", lsmkv.Options(fs=fs, memtable_bytes=4096, scheduler=ThreadedScheduler())) as db:
        for i in range(100):
            try:
                db.put(b"%06d" % i, b"v" * 100)
            except lsmkv.NoSpaceError:
                continue
        db.flush()
        assert db.stats().flushes > 0


def test_compact_of_a_range_touches_only_what_overlaps(open_db):
    with open_db(table_bytes=1024) as db:
        db.put_many((b"%04d" % i, b"v" * 20) for i in range(400))
        db.compact()
        before = {t.number for t in db.tree().tables}
        db.put(b"0100", b"new")
        db.compact(b"0100", b"0101")
        after = {t.number for t in db.tree().tables}
        assert len(before & after) >= len(before) - 2
        assert db.get(b"0100") == b"new"
        db.check()


def test_compressed_levels_read_back(open_db):
    with open_db(compression=("none", "zstd")) as db:
        fill(db, 5, per_round=200)
        db.compact()
        assert db.get(b"0007") == b"4"
        assert db.stats().levels[-1].entries == 200


def test_options_that_cannot_work_are_refused_by_name():
    for name, value in [
        ("memtable_bytes", 0),
        ("block_bytes", 1.5),
        ("compression", "lz4"),
        ("wal_sync", "sometimes"),
        ("memtable", "tree"),
        ("level0_stop_runs", 4),
        ("filter_bits_per_key", -1),
    ]:
        with pytest.raises(lsmkv.InvalidArgumentError, match=f"Options.{name}"):
            lsmkv.Options(**{name: value})
