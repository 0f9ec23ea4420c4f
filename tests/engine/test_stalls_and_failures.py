"""A write that waits for room is failed by the work that would make the room, and by no other."""

from __future__ import annotations

import pytest

import lsmkv
from lsmkv.errors import NoSpaceError
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
