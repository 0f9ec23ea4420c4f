"""A flush asks writers to stand aside while it works in the interpreter, and only then."""

from __future__ import annotations

import os
import threading

import pytest

import lsmkv
from lsmkv import NoSpaceError
from lsmkv.live.courtesy import LONGEST_S, Courtesy
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv.testing.memfs import MemoryFileSystem

PAIRS = [(os.urandom(16), os.urandom(100)) for _ in range(40_000)]


class Watched(FaultFileSystem):
    """Notes whether writers were asked to wait at each call that concerns a table."""

    db = None

    def __init__(self, inner):
        super().__init__(inner)
        self.asked: dict[str, list[bool]] = {}

    def strike(self, op, *paths):
        if self.db is not None and paths[0].endswith(".sst"):
            self.asked.setdefault(op, []).append(self.db._core.courtesy.gate is not None)
        return super().strike(op, *paths)


def filled(fs, **options):
    db = lsmkv.open("/db", lsmkv.Options(fs=fs, scheduler=ManualScheduler(), memtable_bytes=64 << 20, **options))
    for at in range(0, len(PAIRS), 500):
        db.put_many(PAIRS[at : at + 500])
    fs.db = db
    return db


def test_writers_are_asked_while_blocks_are_made_and_not_while_they_are_written():
    fs = Watched(MemoryFileSystem())
    with filled(fs) as db:
        db.flush()
        assert fs.asked["open"] == [True]
        assert len(fs.asked["pwritev"]) > 1
        assert not any(fs.asked["pwritev"] + fs.asked["sync"])
        assert db._core.courtesy.gate is None
        fs.db = None
        assert dict(db.scan()) == dict(PAIRS)


@pytest.mark.parametrize("options", [{"compression": "zstd"}, {}])
def test_nobody_is_asked_where_that_would_take_long(options):
    """Compressed blocks are made one by one, as is what a memtable of many shapes becomes."""
    fs = Watched(MemoryFileSystem())
    with filled(fs, **options) as db:
        if not options:
            db.put(b"another shape", b"")
        db.flush()
        assert not any(asked for calls in fs.asked.values() for asked in calls)


@pytest.mark.parametrize("op", ["open", "pwritev", "sync"])
def test_nobody_is_asked_any_more_once_a_flush_has_failed(op):
    fs = Watched(MemoryFileSystem())
    with filled(fs) as db:
        rule = fs.add(FailOp(op=op, path="*.sst", errno=28))
        with pytest.raises(NoSpaceError):
            db.flush()
        assert db._core.courtesy.gate is None
        fs.remove(rule)
        db.flush()
        fs.db = None
        assert dict(db.scan()) == dict(PAIRS)


def test_a_writer_waits_until_it_is_not_asked_for():
    courtesy, told, order = Courtesy(), threading.Event(), []

    def write():
        told.set()
        courtesy.wait()
        order.append("writer")

    with courtesy:
        thread = threading.Thread(target=write)
        thread.start()
        told.wait()
        thread.join(LONGEST_S / 4)  # long enough for one who does not wait
        order.append("flush")
    thread.join()
    assert order == ["flush", "writer"]


def test_a_writer_does_not_wait_for_ever():
    """Somebody who asked was interrupted: nothing depends on courtesy."""
    courtesy = Courtesy()
    courtesy.__enter__()
    courtesy.wait()
    courtesy.__enter__()
    courtesy.__exit__()
    courtesy.wait()
    assert courtesy.gate is None


def test_pauses_let_writers_through_and_end_with_the_work():
    courtesy = Courtesy()
    with pytest.raises(KeyError), courtesy:
        with courtesy.pause:
            courtesy.wait()
            assert courtesy.gate is None
        assert courtesy.gate is not None
        with courtesy.pause:
            raise KeyError
    assert courtesy.gate is None


def test_a_forked_child_is_not_asked():
    courtesy = Courtesy()
    courtesy.__enter__()
    courtesy.forked()
    assert courtesy.gate is None
