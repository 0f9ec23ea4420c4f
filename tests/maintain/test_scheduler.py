"""Workers run when woken, look again when woken meanwhile, and stop for good."""

from threading import Event

import pytest

from lsmkv.env.scheduling import Scheduler
from lsmkv.maintain.scheduler import ManualScheduler, ThreadedScheduler

WAIT_S = 30  # reached only when a test fails


@pytest.fixture
def threaded():
    return ThreadedScheduler()


def test_manual_scheduler_runs_nothing():
    scheduler: Scheduler = ManualScheduler()
    worker = scheduler.start("flush", lambda: pytest.fail("ran by itself"))
    worker.wake()
    worker.stop()
    worker.stop()
    assert scheduler.manual


def test_step_runs_until_it_returns_false(threaded):
    left, done = [3, 2, 1], Event()

    def step():
        left.pop()
        if left:
            return True
        done.set()
        return False

    worker = threaded.start("flush", step)
    worker.wake()
    assert done.wait(WAIT_S)
    worker.stop()
    assert not left
    assert not threaded.manual


def test_nothing_runs_before_the_first_wake_or_after_stop(threaded):
    ran = []
    worker = threaded.start("flush", lambda: bool(ran.append(1)))
    worker.stop()
    worker.wake()
    worker.stop()
    assert ran == []


def test_wake_during_a_step_makes_it_look_again(threaded):
    inside, go_on, again = Event(), Event(), Event()

    def step():
        if inside.is_set():
            again.set()
        inside.set()
        go_on.wait(WAIT_S)
        return False

    worker = threaded.start("flush", step)
    worker.wake()
    assert inside.wait(WAIT_S)
    worker.wake()
    worker.wake()
    go_on.set()
    assert again.wait(WAIT_S)
    worker.stop()


def test_stop_waits_for_the_running_step(threaded):
    inside, go_on, finished = Event(), Event(), []

    def step():
        inside.set()
        go_on.wait(WAIT_S)
        finished.append(1)
        return True

    worker = threaded.start("flush", step)
    worker.wake()
    assert inside.wait(WAIT_S)
    go_on.set()
    worker.stop()
    assert finished
    count = len(finished)
    worker.wake()
    assert len(finished) == count


def test_worker_may_stop_itself(threaded):
    stopped = Event()

    def step():
        worker.stop()
        stopped.set()
        return True

    worker = threaded.start("flush", step)
    worker.wake()
    assert stopped.wait(WAIT_S)
    worker.stop()


def test_error_that_escapes_a_step_is_kept_and_ends_the_worker(threaded):
    ran = []

    def step():
        ran.append(1)
        raise KeyError("bug")

    worker = threaded.start("flush", step)
    worker.wake()
    worker._thread.join(WAIT_S)
    worker.wake()
    worker.stop()
    assert isinstance(worker.error, KeyError)
    assert ran == [1]


def test_many_wakes_never_lose_the_last_one(threaded):
    seen, produced, caught_up = 0, 0, Event()

    def step():
        nonlocal seen
        seen = produced
        if seen == 2000:
            caught_up.set()
        return False

    worker = threaded.start("flush", step)
    for _ in range(2000):
        produced += 1
        worker.wake()
    assert caught_up.wait(WAIT_S)
    worker.stop()
