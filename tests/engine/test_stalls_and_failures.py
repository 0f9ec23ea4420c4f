"""A write that waits for room is failed by the work that would make the room, and by no other."""

from __future__ import annotations

import pytest

import lsmkv
from lsmkv.errors import NoSpaceError
from lsmkv.testing import ManualClock
from lsmkv.write.stall import StallGate

FULL = NoSpaceError("write table", "/db/000001.sst", OSError(28, "No space left on device"))


def gate_of(db, work):
    """A gate as with background workers, whose wake does ``work(gate)``."""
    gate = StallGate(db._core, lambda: work(gate), None)
    return gate


@pytest.fixture
def waiting_flush(open_db):
    """A store with as many full memtables as may wait."""
    with open_db(max_immutables=1) as db:
        db.put(b"a", b"1")
        db._committer.rotate()
        yield db


@pytest.fixture
def full_level0(open_db):
    """A store whose level 0 holds as many runs as it may."""
    with open_db(level0_runs=2, level0_stop_runs=3) as db:
        for n in range(3):
            db.put(b"a", b"%d" % n)
            db.flush()
        yield db


def test_a_failed_compaction_does_not_fail_who_waits_for_a_flush(waiting_flush):
    """Bug: any failure failed any waiting write, although there was room a moment later."""

    def work(gate):
        gate.failed("compact", FULL)
        if not tried:
            tried.append(1)
            return
        waiting_flush.step()

    tried = []
    gate = gate_of(waiting_flush, work)
    assert gate.reason()[0] == "memtables"
    gate.wait()
    assert gate.reason() is None


def test_a_failed_flush_does(waiting_flush):
    gate = gate_of(waiting_flush, lambda gate: gate.failed("flush", FULL))
    with pytest.raises(NoSpaceError):
        gate.wait()


def test_a_failed_flush_does_not_fail_who_waits_for_a_compaction(full_level0):
    def work(gate):
        gate.failed("flush", FULL)
        if not tried:
            tried.append(1)
            return
        full_level0.step()

    tried = []
    gate = gate_of(full_level0, work)
    assert gate.reason()[0] == "level0"
    gate.wait()
    assert gate.reason() is None


def test_a_failed_compaction_does_fail_it(full_level0):
    gate = gate_of(full_level0, lambda gate: gate.failed("compact", FULL))
    with pytest.raises(NoSpaceError):
        gate.wait()


def test_a_poisoned_store_fails_whoever_waits(waiting_flush):
    def work(gate):
        gate.failed("compact", waiting_flush._core.poisoned(OSError(5, "lost")))

    with pytest.raises(lsmkv.PoisonedError):
        gate_of(waiting_flush, work).wait()


@pytest.fixture
def both(open_db):
    """A store in whose way a full memtable stands, and behind that a full level 0."""
    clock = ManualClock()
    with open_db(max_immutables=1, level0_runs=2, level0_stop_runs=3, stall_timeout_s=10.0, clock=clock) as db:
        for n in range(2):
            db.put(b"a", b"%d" % n)
            db.flush()
        db.put(b"a", b"2")
        db._committer.rotate()
        yield db, clock


def test_the_time_of_a_wait_counts_for_what_was_in_the_way_then(both):
    """Bug: all of it counted for what stood first; a full level 0 behind a memtable passed for slow flushes."""
    db, clock = both

    def work(_gate):
        clock.advance(next(seconds))
        db.step()

    seconds = iter((1.0, 4.0))
    gate = gate_of(db, work)
    gate.wait()
    assert gate.count == {"memtables": 1, "level0": 1}
    assert gate.seconds == {"memtables": 1.0, "level0": 4.0}


def test_who_gives_up_says_for_what_and_how_long_it_waited(both):
    db, clock = both

    def work(_gate):
        clock.advance(6.0)
        if not flushed:
            flushed.append(db.step())

    flushed = []
    gate = gate_of(db, work)
    with pytest.raises(lsmkv.BusyError, match=r"level 0 holds 3 runs \(limit 3\).*waited 12 s.*stall_timeout_s"):
        gate.wait()
    assert gate.seconds == {"memtables": 6.0, "level0": 6.0}
