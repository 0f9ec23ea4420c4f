"""Tables written for nothing: a failed flush or compaction leaves no file behind for longer than the disk insists on it."""

from __future__ import annotations

import errno

import pytest

import lsmkv
from lsmkv.testing.faults import FailOp, FaultFileSystem


@pytest.fixture
def fs(memory_fs):
    return FaultFileSystem(memory_fs)


def tables_on_disk(fs):
    return {int(name[:-4]) for name in fs.inner.listdir("/db") if name.endswith(".sst")}


def tables_of(db):
    return {table.number for table in db.tree().tables}


def load(db):
    """Three overlapping runs of level 0: a compaction is due that writes several tables."""
    for r in range(3):
        db.put_many((b"%03d" % i, b"%d" % r * 20) for i in range(200))
        db.flush()


@pytest.mark.parametrize("op", ["open", "pwritev", "sync"])
def test_outputs_that_cannot_be_removed_at_once_are_removed_later_and_known_until_then(open_db, fs, op):
    """Bug: nobody remembered them, check() called them corruption, and their space was lost until the store was reopened."""
    with open_db(fs=fs, memtable_bytes=1 << 16, table_bytes=1024) as db:
        load(db)
        fs.add(FailOp(op, path="*.sst", nth=5, times=1, errno=errno.ENOSPC))
        stuck = fs.add(FailOp("unlink", path="*.sst"))
        with pytest.raises(lsmkv.LsmError):
            db.step()
        assert tables_on_disk(fs) > tables_of(db)
        db.check()
        fs.remove(stuck)
        db.settle()
        assert tables_on_disk(fs) == tables_of(db)
        db.check()


def test_a_worker_that_keeps_failing_removes_what_earlier_tries_left(open_db, fs):
    with open_db(fs=fs, memtable_bytes=1 << 16, table_bytes=1024) as db:
        load(db)
        before = tables_on_disk(fs)
        fs.add(FailOp("pwritev", path="*.sst", nth=3, errno=errno.ENOSPC))
        stuck = fs.add(FailOp("unlink", path="*.sst"))
        for _ in range(3):
            assert db._upkeep._background("compact") is False
        assert len(tables_on_disk(fs)) > len(before) + 2
        fs.remove(stuck)
        assert db._upkeep._background("compact") is False
        assert tables_on_disk(fs) == before
        fs.clear()


@pytest.mark.parametrize("kind", ["flush", "compaction"])
def test_tables_whose_edit_is_refused_go(open_db, fs, kind):
    """Bug: the table of a flush stayed, one more with each try."""
    with open_db(fs=fs, memtable_bytes=1 << 16, table_bytes=1024) as db:
        load(db)
        if kind == "flush":
            db.put(b"more", b"1")
        before = tables_on_disk(fs)
        fs.add(FailOp("pwritev", path="*MANIFEST", times=1, errno=errno.ENOSPC))
        with pytest.raises(lsmkv.NoSpaceError):
            db.flush() if kind == "flush" else db.step()
        assert tables_on_disk(fs) == before == tables_of(db)
        assert db._core.building == set()
        db.settle()
        db.check()


def test_a_table_that_could_not_be_begun_is_forgotten(open_db, fs):
    with open_db(fs=fs, memtable_bytes=1 << 16) as db:
        load(db)
        fs.add(FailOp("open", path="*.sst", nth=4, times=3, errno=errno.ENOSPC))
        for _ in range(3):
            with pytest.raises(lsmkv.NoSpaceError):
                db.step()
        fs.clear()
        assert db._core.building == set()
        db.settle()
        db.check()
