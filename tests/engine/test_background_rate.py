"""The limit on background work: how much it lets through, who goes first, and who never waits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lsmkv
from lsmkv.live.throttle import BURST_S, LONGEST_DEBT_S, Bucket, Throttle
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import ManualClock, MemoryFileSystem
from tests.engine.test_slowdown import Idle

RATE = 64 << 10


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def limited(open_db, clock):
    with open_db(clock=clock, background_bytes_per_s=RATE, level0_runs=2, memtable_bytes=1 << 20, max_immutables=8) as db:
        yield db


def fill(db, count, start=0, value=100):
    for n in range(start, start + count):
        db.put(b"%06d" % (n * 7919 % 100_003), bytes(value))


def file_bytes(db):
    written = db.stats().ledger.bytes_written
    return written["flush"] + written["compaction"], db.stats().ledger.bytes_read["compaction"]


@given(st.lists(st.tuples(st.integers(0, RATE), st.floats(0, 2)), max_size=50))
def test_a_bucket_that_is_waited_for_never_lets_more_through_than_its_rate_and_one_burst(slices):
    bucket, now, spent = Bucket(), 5.0, 0
    for nbytes, idle in slices:
        now += idle
        now += bucket.owed_s(RATE, now)
        bucket.spend(nbytes, RATE, now)
        spent += nbytes
        assert spent - nbytes <= RATE * (now - 5.0 + BURST_S) + 1


@given(st.floats(1, 1e9), st.floats(0, 100))
def test_what_was_not_used_is_kept_for_a_burst_only(rate, idle):
    bucket = Bucket()
    bucket.owed_s(rate, 0.0)
    bucket.owed_s(rate, idle)
    assert bucket.in_hand == pytest.approx(BURST_S * rate)


def test_a_flush_waits_for_flushes_only_and_a_compaction_for_both():
    throttle = Throttle()
    throttle.charge("compact", RATE, RATE, 0.0)
    assert throttle.owed_s("flush", RATE, 0.0) == 0
    assert throttle.owed_s("compact", RATE, 0.0) == pytest.approx(1 - BURST_S)
    throttle.charge("flush", RATE // 2, RATE, 0.5)
    assert throttle.owed_s("flush", RATE, 0.5) == pytest.approx(0.5 - BURST_S)
    assert throttle.owed_s("compact", RATE, 0.5) == pytest.approx(1.0 - BURST_S)


def test_flushes_and_compactions_together_keep_to_the_rate(limited, clock):
    start = clock.monotonic()
    for round_ in range(6):
        fill(limited, 400, 400 * round_)
        limited.flush()
        limited.settle()
    took = clock.monotonic() - start
    written, read = file_bytes(limited)
    assert read > 0
    assert took >= (written + read) / RATE - 2 * BURST_S - LONGEST_DEBT_S
    assert took <= (written + read) / RATE + 1, "it waits for no more than was taken"
    stats = limited.stats()
    assert set(stats.background_waits) == {"flush", "compact"}
    assert sum(stats.background_wait_seconds.values()) == pytest.approx(took)


def test_without_a_limit_nothing_waits(open_db, clock):
    with open_db(clock=clock) as db:
        fill(db, 2000)
        db.settle()
        assert clock.slept == []
        assert db.stats().background_waits == {}


def test_a_limit_changes_nothing_of_what_is_stored(open_db):
    """Writing in slices gives the same files, byte for byte, also where keys have several versions."""

    def files(rate):
        fs = MemoryFileSystem()
        with open_db(fs=fs, clock=ManualClock(), memtable_bytes=16 << 20, background_bytes_per_s=rate) as db:
            snapshots = []
            for n in range(6):
                fill(db, 60, 30 * n, value=n * 9_000)
                snapshots.append(db.snapshot())
            db.flush()
            fill(db, 60, 0, value=1)
            db.compact()
            names = [name for name in fs.listdir("/db") if name.endswith(".sst")]
            found = {name: fs.open(f"/db/{name}").pread(1 << 30, 0) for name in names}
            for snapshot in snapshots:
                snapshot.close()
            return found

    assert files(None) == files(1 << 20)


def test_a_flush_does_not_wait_while_memtables_press_on_writers(open_db, clock):
    with open_db(clock=clock, scheduler=Idle(), background_bytes_per_s=1024, max_immutables=2, memtable_bytes=1 << 20) as db:
        for _ in range(2):
            fill(db, 100)
            db._committer.rotate()
        before = clock.monotonic()
        db.step()
        assert clock.monotonic() == before
        db.step()  # one is left: it waits for what both took
        assert clock.monotonic() > before


def test_opening_and_closing_wait_for_nothing(open_db, clock):
    db = open_db(clock=clock, background_bytes_per_s=1024)
    fill(db, 30)
    before = clock.monotonic()
    db.close()
    assert clock.monotonic() == before
    db = open_db(clock=clock, background_bytes_per_s=1024)
    fill(db, 30)
    del db  # the process dies: the log is replayed
    before = clock.monotonic()
    db = open_db(clock=clock, background_bytes_per_s=1024)
    assert clock.monotonic() == before
    assert db.stats().flushes == 0
    db.close()


def test_a_compaction_that_waits_gives_up_when_the_store_closes(tmp_path):
    """With real threads and a real clock, at a limit at which the merge would take hours: hanging is the failure."""
    few = lsmkv.Options(memtable_bytes=64 << 10, level0_runs=1, max_immutables=50, status_interval_s=None)
    with lsmkv.open(tmp_path / "db", replace(few, scheduler=ManualScheduler(), level0_stop_runs=50)) as db:
        for round_ in range(3):
            fill(db, 300, 300 * round_)
            db.flush()
    with lsmkv.open(tmp_path / "db", replace(few, background_bytes_per_s=1024.0)) as db:
        while not db._core.building:  # the merge has begun; nothing can end it before the store closes
            pass
    with lsmkv.open(tmp_path / "db", few) as db:
        assert sum(1 for _ in db.scan()) == 900


def test_the_limit_can_change_while_somebody_waits_for_it(limited, clock, monkeypatch):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        clock.advance(seconds)
        if len(slept) == 3:
            limited._core.options = replace(limited.options, background_bytes_per_s=None)

    fill(limited, 2000)
    monkeypatch.setattr(clock, "sleep", sleep)
    limited.flush()
    assert len(slept) == 3


@pytest.mark.parametrize("rate", [0, -1, 1000, float("nan"), "fast", True])
def test_a_limit_that_is_none_is_refused(rate):
    with pytest.raises(lsmkv.InvalidArgumentError, match="background_bytes_per_s"):
        lsmkv.Options(background_bytes_per_s=rate)
