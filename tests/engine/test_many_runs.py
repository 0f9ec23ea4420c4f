"""More runs than files may be open: scans and merges go on, within the limit of the process."""

from __future__ import annotations

import contextlib
import os
import resource

import pytest

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler

RUNS = 120


@contextlib.contextmanager
def open_files(more: int):
    """Only so many files more than are open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def path(tmp_path):
    """A store of 120 runs that share their keys."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc to know how many files are open")
    options = lsmkv.Options(policy=lsmkv.FIFO(1 << 40), scheduler=ManualScheduler(), event_log=False)
    with lsmkv.open(tmp_path / "db", options) as db:
        for i in range(RUNS):
            db.put_many([(b"%04d" % (i + 7 * j), b"%d" % i) for j in range(20)])
            db.flush()
            db.settle()
        assert sum(len(level.runs) for level in db.tree().levels) == RUNS
    return tmp_path / "db"


def test_a_scan_and_a_merge_of_more_runs_than_files_may_be_open(path):
    expected = {b"%04d" % (i + 7 * j): b"%d" % i for i in range(RUNS) for j in range(20)}
    with open_files(40), lsmkv.open(path, lsmkv.Options(scheduler=ManualScheduler(), event_log=False)) as db:
        assert list(db.scan()) == sorted(expected.items())
        assert list(db.scan(reverse=True)) == sorted(expected.items(), reverse=True)
        assert db.get_many(sorted(expected)) == [expected[key] for key in sorted(expected)]
        db.set_policy(lsmkv.Leveled(size_ratio=4))
        db.settle()
        assert sum(len(level.runs) for level in db.tree().levels[1:]) == 1
        assert list(db.scan()) == sorted(expected.items())


def test_readers_that_were_dropped_for_others_keep_reading_but_no_file(path):
    options = lsmkv.Options(scheduler=ManualScheduler(), event_log=False, max_open_tables=3, block_cache_bytes=0)
    with lsmkv.open(path, options) as db:
        before = len(os.listdir("/proc/self/fd"))
        scan = db.scan()
        first = next(scan)
        assert len(os.listdir("/proc/self/fd")) <= before + 3
        assert [first, *scan] == list(db.scan())
