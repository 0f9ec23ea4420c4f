"""A disk that fails is left alone, tried again, and trusted again; a poisoned store reopens itself; the server sees misses."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from lsmkv.testing import FailOp, Hang, ManualClock
from lsmkv_tensor import PageFormat, TensorStore
from lsmkv_tensor.errors import ClosedError, IOFailedError, PoisonedError
from lsmkv_tensor.runtime.breaker import FIRST_BACKOFF_S, MAX_BACKOFF_S, Breaker
from tests.tensor_pages.conftest import World
from tests.tensor_runtime.conftest import SIZE, Call, FaultyWorld

DISK = ("pwritev", "sync", "allocate", "preadv", "pread", "open")


def opened(world, **options):
    return world.open(**{"breaker_failures": 3, **options}).namespace({"m": 1}, SIZE)


def break_disk(world, *ops):
    for op in ops or DISK:
        world.fs.add(FailOp(op))


def mend(world):
    """The disk is well again, and its back-off over."""
    world.fs.clear()
    world.clock.advance(MAX_BACKOFF_S)


def tripped(world, **options):
    """A store whose writes have failed until the breaker opened; pages 0 to 5 are stored."""
    ns = opened(world, **options)
    world.put(ns, range(6))
    world.store.sync()
    break_disk(world, "pwritev")
    for i in range(3):
        assert world.put(ns, [10 + i]) == [False]
    return ns


def test_failures_in_a_row_open_it_and_everything_is_a_miss_at_once(faulty):
    ns = tripped(faulty)
    rule = faulty.fs.add(FailOp("preadv"))
    assert faulty.check(ns, range(6)) == set()
    assert ns.contains(faulty.keys(range(6))).tolist() == [False] * 6
    assert ns.contains_prefix(faulty.keys(range(6))) == 0
    assert ns.contains_prefix(faulty.keys(range(6)), deadline_s=5) == 0
    assert faulty.put(ns, [20]) == [False]
    assert faulty.fs.hits(rule) == 0
    health = faulty.store.health()
    assert (health.state, health.trips, health.attempts, health.recoveries) == ("failing", 1, 0, 0)
    assert health.since == faulty.clock.now()
    assert "write of pages" in health.reasons[0]


def test_it_is_tried_after_the_back_off_and_recovery_is_counted(faulty):
    ns = tripped(faulty)
    faulty.store.step()
    assert faulty.store.health().attempts == 0
    faulty.clock.advance(FIRST_BACKOFF_S)
    faulty.store.step()
    assert faulty.store.health().attempts == 1
    assert faulty.store.health().state == "failing"
    faulty.fs.clear()
    faulty.clock.advance(FIRST_BACKOFF_S)
    faulty.store.step()
    assert faulty.store.health().attempts == 1  # twice as long now
    faulty.clock.advance(FIRST_BACKOFF_S)
    faulty.store.step()
    health = faulty.store.health()
    assert (health.state, health.reasons, health.attempts, health.recoveries) == ("ok", (), 2, 1)
    assert health.since == faulty.clock.now()
    assert faulty.check(ns, range(6)) == set(range(6))
    assert faulty.put(ns, [20]) == [True]


def test_after_a_recovery_one_failure_opens_it_again_and_a_success_does_not(faulty):
    ns = tripped(faulty)
    mend(faulty)
    faulty.store.step()
    assert faulty.put(ns, [20]) == [True]
    break_disk(faulty, "pwritev")
    assert faulty.put(ns, [21]) == [False]
    assert faulty.store.health().state == "ok"
    mend(faulty)
    faulty.put(ns, [22])
    for i in range(3):
        break_disk(faulty, "pwritev")
        faulty.put(ns, [30 + i])
    mend(faulty)
    faulty.store.step()
    break_disk(faulty, "pwritev")
    faulty.put(ns, [40])
    assert faulty.store.health().state == "failing"


def test_reads_that_fail_open_it_too_and_writes_do_not_hide_them(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(6))
    rule = faulty.fs.add(FailOp("preadv", path="*.seg"))
    for i in range(3):
        assert faulty.check(ns, range(6)) == set()
        assert faulty.put(ns, [10 + i]) == [i < 2]
    assert faulty.store.health().state == "failing"
    faulty.fs.remove(rule)
    mend(faulty)
    faulty.store.step()
    assert faulty.check(ns, range(13)) == {*range(6), 10, 11}


def test_an_index_that_cannot_be_read_is_a_miss_and_no_exception(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(6))
    ns = opened_again(faulty)
    break_disk(faulty, "pread", "open")
    out = np.zeros((6, SIZE), np.uint8)
    assert ns.get_into(faulty.keys(range(6)), out) == [False] * 6
    assert ns.get_into(faulty.keys(range(6)), out, deadline_s=100) == [False] * 6
    assert not ns.contains(faulty.keys(range(6))).any()
    assert ns.contains_prefix(faulty.keys(range(6))) == 0


def opened_again(world):
    world.store.close()
    return opened(world, block_cache_bytes=0)


def test_without_a_breaker_errors_come_as_they_are(faulty):
    ns = opened(faulty, breaker_failures=0)
    faulty.put(ns, range(6))
    faulty.store.close()
    ns = opened(faulty, breaker_failures=0, block_cache_bytes=0)
    break_disk(faulty, "pread", "open")
    with pytest.raises(IOFailedError):
        ns.contains(faulty.keys(range(6)))
    assert faulty.store.health().state == "ok"


def test_a_full_disk_is_no_failing_disk(faulty):
    ns = opened(faulty)
    faulty.fs.add(FailOp("allocate", errno=28))
    faulty.fs.add(FailOp("pwritev", path="*.seg", errno=28))
    for i in range(10):
        assert faulty.put(ns, [i]) == [False]
    assert faulty.store.health().state == "ok"


def poisoned(world, **options):
    ns = opened(world, **options)
    world.put(ns, range(6))
    world.store.sync()
    world.put(ns, range(6, 9))
    world.fs.add(FailOp("sync", path="*.seg", times=1))
    with pytest.raises(PoisonedError):
        world.store.sync()
    return ns


def test_a_poisoned_store_reads_on_declines_puts_and_reopens_itself(faulty):
    ns = poisoned(faulty)
    assert faulty.check(ns, range(9)) == set(range(9))
    assert faulty.put(ns, [20]) == [False]
    assert faulty.store.health().state == "degraded"
    assert "syncing a segment" in faulty.store.health().reasons[0]
    faulty.store.step()
    assert faulty.store.health().state == "ok"
    assert faulty.store.health().recoveries == 1
    assert faulty.check(ns, range(6)) == set(range(6))
    assert faulty.put(ns, [20]) == [True]
    faulty.store.sync()
    hits = faulty.store.stats().hits
    assert faulty.check(ns, [20]) == {20}
    assert faulty.store.stats().hits == hits + 1  # counted on
    faulty.store.close()
    assert faulty.check(opened(faulty), [*range(6), 20]) == {*range(6), 20}


def test_a_put_that_meets_the_poison_first_is_declined_and_not_raised(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(6))
    faulty.fs.add(FailOp("sync", path="*.wal"))
    with pytest.raises(IOFailedError):
        faulty.store.sync()
    for i in range(30):  # the index takes no more
        assert faulty.put(ns, [50 + i]) == [False]
    assert faulty.check(ns, range(6)) == set(range(6))
    mend(faulty)
    faulty.store.step()
    assert faulty.put(ns, [50]) == [True]


def test_a_store_that_cannot_be_reopened_is_failing_and_says_why(faulty):
    ns = poisoned(faulty)
    break_disk(faulty, "lock")
    faulty.store.step()
    assert faulty.put(ns, [20]) == [False]
    with pytest.raises(PoisonedError):
        ns.delete_many(faulty.keys([0]))
    with pytest.raises(PoisonedError):
        faulty.store.sync()
    assert faulty.check(ns, range(6)) == set()
    assert faulty.store.health().state != "ok"
    mend(faulty)
    faulty.store.step()
    assert faulty.check(ns, range(6)) == set(range(6))
    assert ns.delete_many(faulty.keys([0])) == 1


def test_a_store_that_could_not_be_reopened_closes(faulty):
    poisoned(faulty)
    break_disk(faulty, "lock")
    faulty.store.step()
    faulty.fs.clear()
    faulty.store.close()
    assert faulty.store.health().state == "closed"
    assert faulty.check(opened(faulty), range(6)) == set(range(6))


def test_reopening_waits_for_calls_inside_and_calls_wait_for_it(faulty):
    ns = poisoned(faulty)
    rule = faulty.fs.add(Hang("preadv", path="*.seg", times=1))
    reading = Call(lambda: faulty.check(ns, range(6)))
    assert rule.reached.wait(60)
    opening = faulty.fs.add(Hang("lock", times=1))
    stepping = Call(faulty.store.step)
    rule.event.set()
    assert reading.result() == set(range(6))
    assert opening.reached.wait(60)
    waiting = Call(lambda: faulty.check(ns, range(6)))
    opening.event.set()
    stepping.result()
    assert waiting.result() == set(range(6))
    assert faulty.store.health().state == "ok"


def test_sync_and_delete_say_so_while_pages_cannot_be_written(faulty):
    ns = opened(faulty, put_queue_bytes=10 * SIZE)
    faulty.put(ns, range(6))
    faulty.store.sync()
    break_disk(faulty, "pwritev")
    for i in range(3):
        assert faulty.store.health().state == "ok"
        assert faulty.put(ns, [10 + i]) == [True]
        if i == 2:
            waiting = ns.put_many(faulty.keys([13]), faulty.pages([13], SIZE), ttl_s=3600)  # a write of its own
            assert waiting == [True]
        faulty.store.step()
    assert faulty.store.health().state == "failing"
    faulty.fs.clear()
    for refused in (faulty.store.sync, lambda: ns.delete_many(faulty.keys([13]))):
        with pytest.raises(IOFailedError):
            refused()
    assert faulty.put(ns, [20]) == [False]
    assert faulty.store.stats().queued_pages == 1
    mend(faulty)
    faulty.store.step()
    faulty.put(ns, [20])
    faulty.store.sync()
    assert faulty.check(ns, range(21)) == {*range(6), 13, 20}


def test_a_closed_store_says_so_whatever_the_breaker_says(faulty):
    ns = tripped(faulty)
    faulty.fs.clear()
    faulty.store.close()
    for call in (lambda: ns.contains([b"k"]), lambda: faulty.put(ns, [1]), lambda: faulty.check(ns, [1])):
        with pytest.raises(ClosedError):
            call()


def test_hanging_reads_and_a_full_queue_are_told(faulty):
    ns = opened(faulty, put_queue_bytes=10 * SIZE)
    faulty.put(ns, range(10))
    assert "queue" in faulty.store.health().reasons[0]
    faulty.store.sync()
    rule = faulty.fs.add(Hang("preadv", path="*.seg"))
    out = np.zeros((1, SIZE), np.uint8)
    call = Call(lambda: ns.get_into(faulty.keys([0]), out, deadline_s=9))
    assert rule.reached.wait(60)
    faulty.clock.advance(10)
    assert call.result() == [False]
    assert faulty.store.health().reasons == ("1 reads hang",)
    assert faulty.store.health().state == "degraded"
    rule.event.set()


def test_the_back_off_doubles_up_to_its_limit():
    clock = ManualClock()
    breaker = Breaker(clock, 1)
    waits = []
    breaker.wake = waits.append
    breaker.failed("read", ValueError())
    for _ in range(9):
        clock.advance(waits[-1])
        assert not breaker.attempt(ValueError)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    clock.advance(60)
    assert breaker.attempt(lambda: None)
    assert breaker.attempt(ValueError)  # nothing to try
    breaker.failed("read", ValueError())
    assert waits[-1] == 60
    clock.advance(60)
    breaker.attempt(lambda: None)
    breaker.worked("read")
    breaker.failed("read", ValueError())
    assert waits[-1] == 1


def test_callers_beside_a_failing_disk_with_real_threads():
    world = FaultyWorld(segments=20)
    ns = world.open(scheduler=None, clock=None, breaker_failures=3).namespace({"m": 1}, SIZE)
    world.put(ns, range(20))
    world.store.sync()
    stop = threading.Event()
    counts = [0] * 3

    def work(n):
        i = 100 * (n + 1)
        while not stop.is_set():
            World.check(ns, range(20))
            World.put(ns, [i])
            i += 1
            counts[n] += 1

    calls = [Call(lambda n=n: work(n)) for n in range(3)]
    for _ in range(3):
        world.fs.add(FailOp("sync", path="*.seg", times=1))
        with pytest.raises(PoisonedError):
            while True:
                world.put(ns, [int(counts[0]) + 5000])
                world.store.sync()
        trips = world.store.health().trips
        while world.store.health().recoveries < trips:
            stop.wait(0.002)
    stop.set()
    for call in calls:
        call.result()
    assert world.check(ns, range(20)) <= set(range(20))
    world.store.close()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("lsmkv")]


def test_a_tensor_store_on_a_failing_disk_stores_and_finds_nothing_and_never_raises(faulty):
    fmt = PageFormat(page_tokens=2, shape=(SIZE,), dtype=torch.int8)
    tokens = list(range(40))
    options = faulty.options(segment_bytes=64 << 10, breaker_failures=2)
    with TensorStore.open("/t", fmt, namespace="m", options=options) as store:
        pages = torch.zeros(20, SIZE, dtype=torch.int8)
        for start in range(0, 500, 20):  # groups lose pages: their trails are tidied by puts
            assert store.put_batch([start, start, *tokens], pages[:1]) == 1
            store.put_batch([start, start, *tokens], pages, first_page=1)
        store.sync()
        break_disk(faulty, "pwritev", "allocate", "preadv", "pread", "open")
        for start in range(1000, 1100, 20):
            assert store.put_batch([start, start, *tokens], pages[:1]) == 0
            store.get_batch(tokens)
        assert store.probe([480, 480, *tokens]) == 0
        assert store.plan(tokens).pages == 0
        assert store.health().state == "failing"
        mend(faulty)
        store.step()
        assert store.health().state == "ok"
        assert store.probe([480, 480, *tokens]) == 42
        assert store.put_batch([1000, 1000, *tokens], pages[:1]) == 1
