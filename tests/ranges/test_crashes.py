"""The power may fail at any file-system call around range deletes: what comes back is a prefix of the commits."""

from __future__ import annotations

import random

import pytest

import lsmkv
from lsmkv.errors import LsmError
from lsmkv.testing import DictOracle, MemoryFileSystem
from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv.testing.oracle import RangeGone
from tests.power import cut_before
from tests.ranges.conftest import KEYS


def workload(db, oracle, *, seed=3, steps=24):
    """Commits one after the other, range deletes among them; each is in the oracle before it is written."""
    rng = random.Random(seed)
    for n in range(steps):
        ops = []
        for _ in range(rng.randrange(1, 5)):
            low = rng.randrange(len(KEYS))
            if rng.random() < 0.35:
                ops.append(RangeGone(KEYS[low], rng.choice([None, *KEYS[low + 1 :]])))
            else:
                ops.append((KEYS[low], None if rng.random() < 0.2 else b"%d" % n))
        batch = lsmkv.WriteBatch()
        for one in ops:
            if isinstance(one, RangeGone):
                batch.delete_range(one.start, one.stop)
            else:
                batch.put(*one) if one[1] is not None else batch.delete(one[0])
        oracle.write(ops)
        sync = n % 5 == 2
        db.write(batch, sync=sync)
        if n % 6 == 5:
            db.flush()
        if sync or n % 6 == 5:
            oracle.sync()
        if n % 8 == 7:
            db.settle()
    db.delete_range(KEYS[20], KEYS[150])
    oracle.delete_range(KEYS[20], KEYS[150])
    db.flush()
    oracle.sync()


def run_until(open_db, fs, stop_at):
    oracle = DictOracle()
    with cut_before(fs, stop_at) as cut:
        db = open_db(fs=fs)
        workload(db, oracle)
        db.close()
    return oracle, cut.calls


@pytest.mark.parametrize("keep", [None, 1, 2, 3, 4], ids=["only what was synced", *(f"some of the rest {i}" for i in range(4))])
def test_after_a_power_cut_at_any_call_the_state_is_a_prefix_of_the_commits(open_db, keep):
    _, total = run_until(open_db, MemoryFileSystem(), -1)
    assert total > 150
    for stop_at in range(1 if keep is None else keep, total + 1, 2 if keep is None else 4):
        fs = MemoryFileSystem()
        oracle, _ = run_until(open_db, fs, stop_at)
        fs = fs.crash(None if keep is None else random.Random(1000 * keep + stop_at))
        db = open_db(fs=fs)
        oracle.crash(dict(db.scan()))
        db.check()
        db.settle()
        assert dict(db.scan()) == oracle.contents, f"cut before call {stop_at}, after settling"
        db.put(b"150", b"later")
        assert db.get(b"150") == b"later"
        db.close()
        assert lsmkv.verify("/db", fs).ok


@pytest.mark.parametrize("op", ["pwritev", "sync", "create", "sync_dir"])
def test_one_failure_anywhere_loses_nothing_that_was_acknowledged(open_db, op):
    """A full disk or a failed sync while ranges are deleted: the call says so, and reopening finds a prefix."""
    for after in range(0, 60, 3):
        fs = MemoryFileSystem()
        faults = FaultFileSystem(fs)
        oracle = DictOracle()
        try:
            db = open_db(fs=faults)
            faults.add(FailOp(op, nth=after + 1, times=1))
            workload(db, oracle)
        except LsmError:
            pass
        faults.clear()
        fs = fs.crash()
        with open_db(fs=fs) as db:
            oracle.crash(dict(db.scan()))
            db.check()


def test_reopened_between_all_steps_it_is_the_same(open_db, disk):
    oracle = DictOracle()
    db = open_db()
    rng = random.Random(5)
    for n in range(40):
        low = rng.randrange(150)
        if n % 3 == 1:
            db.delete_range(KEYS[low], KEYS[low + 40])
            oracle.delete_range(KEYS[low], KEYS[low + 40])
        else:
            pairs = [(key, b"%d" % n) for key in KEYS[low : low + 30]]
            db.put_many(pairs)
            oracle.write(pairs)
        if n % 2:
            db.close()
            db = open_db()
        if n % 10 == 9:
            db.checkpoint(f"/copy{n}")
            with lsmkv.open(f"/copy{n}", lsmkv.Options(fs=disk)) as copy:
                assert dict(copy.scan()) == oracle.contents
        assert dict(db.scan()) == oracle.contents
        assert lsmkv.verify("/db", disk).ok


def test_what_only_a_log_says_counts_from_the_opening_on(open_db, disk):
    """The store was opened without range deletes in its manifest: its first edit brought them in, and readers must know."""
    db = open_db()
    db.put_many([(key, b"1") for key in KEYS])
    db.flush()
    db.delete_range(KEYS[20], KEYS[150])
    db.sync()
    fs = disk.crash()
    with open_db(fs=fs) as db:
        assert [key for key, _ in db.scan()] == KEYS[:20] + KEYS[150:]
        assert db.get(KEYS[20]) is db.get_many(KEYS[149:150])[0] is None
