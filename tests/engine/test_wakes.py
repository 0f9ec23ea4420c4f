"""Who looks again, and when: a worker that could not do what was due is woken by the clock or by whoever stood in its way."""

from __future__ import annotations

import pytest

from lsmkv import FIFO
from lsmkv.errors import LsmError
from lsmkv.maintain import upkeep
from lsmkv.testing.clock import ManualClock


class Wakes:
    """A manual scheduler that remembers when each worker was to be woken."""

    manual = True

    def __init__(self):
        self.after_s = {}

    def start(self, name, step):
        return Remembering(self.after_s.setdefault(name, []))


class Remembering:
    """A worker that only remembers."""

    def __init__(self, after_s):
        self.after_s = after_s

    def wake(self, after_s=0.0):
        self.after_s.append(after_s)

    def stop(self):
        """Nothing runs."""


@pytest.fixture
def wakes():
    return Wakes()


@pytest.fixture
def expired(open_db, wakes):
    """A FIFO store whose only table is past its time."""
    clock = ManualClock()
    with open_db(policy=FIFO(capacity_bytes=1 << 30, ttl_s=10), clock=clock, scheduler=wakes) as db:
        db.put(b"a", b"1")
        db.flush()
        clock.advance(11)
        yield db


def held_up(monkeypatch, db, *, release):
    """Have a snapshot taken between the look and the drop; it is in the list returned."""
    taken = []
    run_task = upkeep.run_task

    def delayed(core, task):
        if not taken:
            taken.append(db.snapshot())
        done = run_task(core, task)
        if release:
            taken[0].close()
        return done

    monkeypatch.setattr(upkeep, "run_task", delayed)
    return taken


def test_a_drop_that_a_racing_snapshot_refused_is_tried_again_when_the_snapshot_is_released(monkeypatch, expired, wakes):
    """Bug: the worker slept on the tree as it was before the snapshot, and nobody woke it again."""
    taken = held_up(monkeypatch, expired, release=False)
    assert expired.step() is None
    woken = wakes.after_s["lsmkv-compact"]
    woken.clear()
    taken[0].close()
    assert 0.0 in woken
    assert expired.step() is not None
    assert list(expired.scan()) == []


def test_it_is_tried_again_soon_if_the_snapshot_is_gone_by_then(monkeypatch, expired, wakes):
    woken = wakes.after_s["lsmkv-compact"]
    held_up(monkeypatch, expired, release=True)
    woken.clear()
    assert expired.step() is None
    assert upkeep.SHORTEST_SLEEP_S in woken
    assert expired.step() is not None


class Vanishing(list):
    """The workers of a store that another thread stops right after they were asked for."""

    def __init__(self, upkeep_):
        super().__init__(upkeep_._workers)
        self.upkeep = upkeep_

    def __bool__(self):
        self.upkeep._workers = []
        return True


def test_a_step_during_the_close_of_another_thread_does_not_stumble_over_stopped_workers(expired):
    """Bug: the list of workers was looked at, then emptied by close, then indexed."""
    db = expired
    db._upkeep._workers = Vanishing(db._upkeep)
    with db.snapshot():
        assert db.step() is None
    assert db._upkeep._workers == []


def test_neither_does_a_failure(expired):
    error = LsmError("the disk is full")
    expired._upkeep._workers = Vanishing(expired._upkeep)
    expired._upkeep._failed("flush", error)
    assert expired._upkeep.last_error is error
    assert expired._upkeep._workers == []
