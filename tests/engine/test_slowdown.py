"""Writes slow down before they stop: in proportion to their bytes, at the pace of background work, and with a reason."""

from __future__ import annotations

import doctest
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lsmkv
from lsmkv.base.events import read_events
from lsmkv.testing import ManualClock
from lsmkv.write import pace
from lsmkv.write.pace import FIRST_RATE, LEAST_RATE, MOST_WAIT_S, Pace, allowed_rate, pressure

MIB = 1 << 20


class Idle:
    """A scheduler that is not manual and yet runs nothing: the test decides when background work happens."""

    manual = False

    def start(self, name, step):
        return self

    def wake(self, after_s=0.0):
        pass

    def stop(self):
        pass


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def behind(open_db, clock):
    """A store whose level 0 is at the beginning of the slow-down."""
    with open_db(scheduler=Idle(), clock=clock, level0_runs=2, level0_slowdown_runs=3, level0_stop_runs=6) as db:
        add_runs(db, 3)
        yield db


def add_runs(db, count, value=b"v" * 50):
    for n in range(count):
        db.put(b"%03d" % n, value)
        db.flush()


@given(st.floats(1e6, 1e10), st.floats(0, 1), st.floats(0, 1))
def test_the_allowed_rate_falls_with_the_pressure_and_has_a_floor(achieved, one, other):
    low, high = sorted([one, other])
    assert allowed_rate(achieved, low) >= allowed_rate(achieved, high) >= LEAST_RATE


def test_the_example_of_the_rate_holds():
    failed, tried = doctest.testmod(pace)
    assert (failed, tried) == (0, 1)


@given(
    st.lists(st.tuples(st.integers(1, 8 * MIB), st.floats(0, 1), st.floats(0, 0.5)), max_size=40),
    st.floats(0.0, 3.0),
)
def test_no_wait_is_longer_than_its_bound_whatever_came_before(writes, bound):
    pace, now = Pace(), 0.0
    for nbytes, at, passes in writes:
        assert 0 <= pace.wait_s("level0", at, nbytes, now, bound) <= min(bound, MOST_WAIT_S)
        now += passes


@given(st.integers(2, 30), st.integers(100_000, 400_000))
def test_waits_are_in_proportion_to_bytes(count, nbytes):
    """Many writes at one moment wait, the last of them, as long as one write of all their bytes."""
    many, one = Pace(), Pace()
    for _ in range(count):
        last = many.wait_s("level0", 0.75, nbytes, 10.0)
    assert last == pytest.approx(one.wait_s("level0", 0.75, count * nbytes, 10.0), abs=1e-6)
    assert last == pytest.approx(min(count * nbytes / FIRST_RATE - 0.001, MOST_WAIT_S), abs=1e-6)


def test_the_pace_follows_what_background_work_achieves():
    fast, slow = Pace(), Pace()
    for _ in range(10):
        fast.relieved("level0", 64 * MIB, 1.0)
        slow.relieved("level0", 4 * MIB, 1.0)
    assert slow.wait_s("level0", 0.75, MIB, 0.0) == pytest.approx(16 * fast.wait_s("level0", 0.75, MIB, 0.0), rel=0.1)
    assert slow.wait_s("memtables", 0.75, MIB, 50.0) < 0.05, "a reason learns from its own work"


def test_pressure_grows_with_every_write_from_the_slow_down_to_the_stop(open_db, clock):
    options = {"level0_runs": 2, "level0_slowdown_runs": 3, "level0_stop_runs": 6, "memtable_bytes": 4096}
    with open_db(scheduler=Idle(), clock=clock, **options) as db:
        seen = []
        for n in range(60):
            db.put(b"%03d" % n, b"v" * 50)
            found = pressure(db._box.current, db.options)
            seen.append(found[1] if found is not None else 0.0)
            if n % 10 == 9:
                db.flush()
        assert seen == sorted(seen)
        assert seen[0] == 0
        assert 0.8 < seen[-1] <= 1


def test_a_slowed_write_waits_is_counted_and_written(behind, clock):
    size = 4 * MIB
    before = clock.monotonic()
    behind.put(b"k", bytes(size))
    waited = clock.monotonic() - before
    assert waited >= size / allowed_rate(1e12, 0) > 0
    assert behind.get(b"k") == bytes(size)
    stats = behind.stats()
    assert stats.slowdowns == {"level0": 1}
    assert stats.slowdown_seconds["level0"] == pytest.approx(waited)
    assert stats.stalls == {}


def test_nobody_waits_below_the_slow_down(open_db, clock):
    with open_db(scheduler=Idle(), clock=clock, level0_runs=2, level0_slowdown_runs=4, level0_stop_runs=6) as db:
        add_runs(db, 3)
        db.put(b"k", bytes(4 * MIB))
        assert clock.slept == []
        assert db.stats().slowdowns == {}


def test_a_slow_down_at_the_stop_is_none(open_db, clock):
    with open_db(scheduler=Idle(), clock=clock, level0_runs=2, level0_slowdown_runs=6, level0_stop_runs=6) as db:
        add_runs(db, 6)
        db.put(b"k", b"v")
        db.put(b"k", bytes(1000))
        assert db.stats().slowdowns == {}


def test_waiting_memtables_slow_writes_down_too(open_db, clock):
    with open_db(scheduler=Idle(), clock=clock, max_immutables=2, memtable_bytes=64 << 10) as db:
        for n in range(2):
            db.put(b"%d" % n, b"v")
            db._committer.rotate()
        db.put(b"k", bytes(4 * MIB))
        assert set(db.stats().slowdowns) == {"memtables"}
        assert "2 full memtables wait" in db._gate.slow.reason()


def test_the_wait_ends_when_the_pressure_is_gone(behind, clock, monkeypatch):
    behind._gate.slow._pace.achieved["level0"] = LEAST_RATE / 8
    slices = []

    def sleep(seconds):
        slices.append(seconds)
        clock.advance(seconds)
        if len(slices) == 3:
            behind.settle()

    monkeypatch.setattr(clock, "sleep", sleep)
    behind.put(b"k", bytes(8 * MIB))
    assert len(slices) == 3
    assert not behind._gate.slow.on


def test_a_closing_store_ends_the_wait(behind, clock, monkeypatch):
    def sleep(seconds):
        clock.advance(seconds)
        behind._gate.close()

    monkeypatch.setattr(clock, "sleep", sleep)
    with pytest.raises(lsmkv.ClosedError):
        behind.put(b"k", bytes(8 * MIB))
    assert behind.get(b"k") is None


def test_readers_and_other_writers_do_not_wait_for_one_that_is_slowed_down(behind, clock, monkeypatch):
    """Everything below happens while a writer waits; a lock that it held would hang it (the test has a timeout)."""
    done = []

    def sleep(seconds):
        clock.advance(seconds)
        if not done:
            done.append(True)
            thread = threading.Thread(target=others)
            thread.start()
            thread.join()

    def others():
        assert behind.get(b"000") == b"v" * 50
        assert behind.get_many([b"001"]) == [b"v" * 50]
        with behind.snapshot() as snapshot:
            assert len(list(snapshot.scan())) == 3
        behind.put(b"other", b"small")
        behind.sync()
        behind.check()
        done.append("all")

    monkeypatch.setattr(clock, "sleep", sleep)
    behind.put(b"k", bytes(4 * MIB))
    assert done == [True, "all"]


def test_a_manual_scheduler_slows_nobody_down(open_db, clock):
    with open_db(clock=clock, level0_runs=2, level0_slowdown_runs=3, level0_stop_runs=6) as db:
        add_runs(db, 5)
        db.put(b"k", bytes(4 * MIB))
        assert clock.slept == []
        assert db.stats().slowdowns == {}


def test_the_event_log_tells_of_a_whole_slow_down_once(behind, memory_fs, clock):
    for n in range(3):
        behind.put(b"k", bytes(4 * MIB + n))
    seconds = behind.stats().slowdown_seconds["level0"]
    behind.settle()
    told = [event for event in read_events(memory_fs, "/db") if event["kind"] == "slowdown"]
    assert len(told) == 1
    assert told[0]["waits"] == 3
    assert told[0]["seconds"] == pytest.approx(seconds, abs=1e-5)
    assert told[0]["reason"] == "level0"
    assert "level 0 holds" in told[0]["why"]
    assert told[0]["lasted_s"] >= told[0]["seconds"] > 0


def test_a_slow_down_without_a_wait_is_not_told(behind, memory_fs):
    behind.settle()
    assert not [event for event in read_events(memory_fs, "/db") if event["kind"] == "slowdown"]


def test_a_store_that_is_behind_when_opened_slows_down_from_the_first_write(open_db, clock):
    few = {"level0_runs": 2, "level0_slowdown_runs": 3, "level0_stop_runs": 6}
    with open_db(scheduler=Idle(), clock=clock, **few) as db:
        add_runs(db, 3)
    with open_db(scheduler=Idle(), clock=clock, **few) as db:
        db.put(b"k", bytes(4 * MIB))
        assert db.stats().slowdowns == {"level0": 1}


@pytest.mark.parametrize("runs", [2, 7, 1, True, 3.5])
def test_a_slow_down_outside_the_limits_is_refused(runs):
    with pytest.raises(lsmkv.InvalidArgumentError, match="level0_slowdown_runs"):
        lsmkv.Options(level0_runs=2, level0_slowdown_runs=runs, level0_stop_runs=6)
