"""What each part promises holds beside the others: queue and ends, breaker and close, reopening and quotas, sync and put."""

from __future__ import annotations

import pytest

from lsmkv.testing import FailOp, Hang
from lsmkv_tensor.errors import ClosedError, IOFailedError, PoisonedError
from tests.tensor_runtime.conftest import SIZE, Call

PER_SEGMENT = 13


def opened(world, **options):
    return world.open(**{"breaker_failures": 3, **options}).namespace({"m": 1}, SIZE)


def poison(world) -> None:
    """Write something and have its sync fail."""
    ns = world.store.namespace({"m": "poison"}, SIZE)
    world.put(ns, [999])
    world.fs.add(FailOp("sync", path="*.seg", times=1))
    with pytest.raises(PoisonedError):
        world.store.sync()


# ends


def test_pages_end_after_a_restart_though_the_first_put_with_an_end_was_declined(faulty):
    ns = opened(faulty)
    faulty.fs.add(FailOp("pwritev", path="*.seg", times=1))
    assert ns.put_many(faulty.keys([0]), faulty.pages([0], SIZE), ttl_s=60) == [False]
    assert ns.put_many(faulty.keys([1]), faulty.pages([1], SIZE), ttl_s=60) == [True]
    faulty.store.close()
    faulty.clock.advance(600)
    ns = opened(faulty)
    assert faulty.check(ns, [1]) == set()
    assert not ns.contains(faulty.keys([1])).any()


def test_a_page_that_waits_to_be_written_ends_at_its_time(faulty):
    ns = opened(faulty, put_queue_bytes=10 * SIZE)
    assert ns.put_many(faulty.keys([0]), faulty.pages([0], SIZE), ttl_s=60, wait=False) == [True]
    assert faulty.check(ns, [0]) == {0}
    faulty.clock.advance(600)
    assert faulty.check(ns, [0]) == set()
    assert not ns.contains(faulty.keys([0])).any()
    assert ns.contains_prefix(faulty.keys([0])) == 0
    faulty.store.step()  # written late, it is not younger for that
    assert faulty.check(ns, [0]) == set()


# dropped namespaces


def test_a_view_of_a_dropped_namespace_is_refused_by_the_queue_too(faulty):
    ns = opened(faulty, put_queue_bytes=10 * SIZE)
    faulty.store.drop_namespace(ns.number)
    with pytest.raises(ClosedError):
        faulty.put(ns, [0])
    assert faulty.check(ns, [0]) == set()


def test_a_view_of_a_dropped_namespace_stays_closed_when_the_store_reopens_itself(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    faulty.store.drop_namespace(ns.number)
    poison(faulty)
    faulty.store.step()
    assert faulty.store.health().recoveries == 1
    with pytest.raises(ClosedError):
        faulty.put(ns, [0])
    with pytest.raises(ClosedError):
        ns.write_records({b"r": b"v"})
    assert faulty.store.stats().pages == sum(info.size.pages for info in faulty.store.namespaces(sizes=True))


# reopening in place


def test_quotas_and_counters_survive_a_reopening_that_fails_at_first(faulty):
    store = faulty.open(breaker_failures=3)
    ns = store.namespace({"m": 1}, SIZE, quota_bytes=3 * 4096)
    faulty.put(ns, range(2))
    assert faulty.check(ns, range(2)) == {0, 1}
    hits = store.stats().hits
    poison(faulty)
    rule = faulty.fs.add(FailOp("listdir", path="*vlog"))
    store.step()
    assert faulty.fs.hits(rule)
    assert store.health().state != "ok"
    faulty.fs.clear()
    faulty.clock.advance(60)
    store.step()
    assert store.health().state == "ok"
    faulty.put(ns, range(10, 16))
    assert ns.contains(faulty.keys(range(20))).sum() <= 3
    assert store.stats().hits == hits


def test_background_work_that_waited_for_a_reopening_poisons_nothing(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    store = faulty.store
    store.step()
    poison(faulty)
    opening = faulty.fs.add(Hang("lock", times=1))
    stepping = Call(store.step)
    assert opening.reached.wait(60)
    failures = store._upkeep.failures
    background = Call(store._upkeep.step)
    while not store._gate._paused:
        pass
    opening.event.set()
    stepping.result()
    background.result()
    assert store.health().state == "ok"
    assert store.stats().upkeep_failures == failures


# durability


def test_what_is_put_while_another_thread_syncs_is_durable_at_the_next_sync(faulty):
    ns = opened(faulty)
    faulty.put(ns, [0])
    segment = faulty.store._space.active
    done = []

    def sync_now(op, path):
        if op == "pwritev" and path.endswith(".seg") and not done:
            done.append(op)
            faulty.store._space.sync_segment(segment)  # where a sync is that began before this put

    faulty.fs.inner.on_op = sync_now
    assert faulty.put(ns, [1]) == [True]
    faulty.fs.inner.on_op = None
    assert done
    faulty.store.sync()
    faulty.crash()
    assert faulty.check(faulty.store.namespace({"m": 1}, SIZE), [0, 1]) == {0, 1}


def test_a_sync_after_reopening_covers_what_was_put_before(faulty):
    """The segment for survivors may be the younger of two that were open."""
    ns = opened(faulty)
    faulty.put(ns, range(PER_SEGMENT))
    faulty.put(ns, range(20, 26))
    ns.delete_many(faulty.keys(range(2, PER_SEGMENT)))
    assert faulty.store.gc(max_live=0.5).pages_moved
    faulty.put(ns, range(30, 34))
    space = faulty.store._space
    assert space.active is not None
    assert space.survivors is not None
    assert space.survivors.generation > space.active.generation
    faulty.fs.add(FailOp("sync", path="*.wal", times=1))
    with pytest.raises(IOFailedError):
        faulty.store._db.sync()
    faulty.store._services.breaker.poison(PoisonedError("x", OSError("y")))
    faulty.store.step()
    assert faulty.store.health().state == "ok"
    there = faulty.check(ns, range(40))
    faulty.store.sync()
    faulty.crash()
    assert faulty.check(faulty.store.namespace({"m": 1}, SIZE), range(40)) == there


# queue, breaker, close


def broken(world, **options):
    """A store with real threads, pages of two calls in its queue, and a disk that fails the first."""
    ns = opened(world, put_queue_bytes=10 * SIZE, scheduler=None, breaker_failures=1, **options)
    world.put(ns, range(3))
    world.store.sync()
    return ns


def test_close_does_not_wait_for_the_back_off(faulty):
    ns = broken(faulty)
    faulty.store._services.breaker.wake = lambda after_s: None  # it never ends
    rule = faulty.fs.add(Hang("pwritev", path="*.seg", times=1))
    failing = faulty.fs.add(FailOp("pwritev", path="*.seg"))
    faulty.put(ns, [10])
    assert rule.reached.wait(60)
    faulty.put(ns, [11])
    rule.event.set()
    while faulty.store.health().state != "failing" or faulty.store.stats().queued_pages > 1:
        pass
    faulty.fs.remove(failing)
    Call(faulty.store.close).result()
    assert faulty.check(opened(faulty), [10, 11]) == {11}


@pytest.mark.parametrize("poisoning", [False, True])
@pytest.mark.parametrize("call", ["sync", "delete_many"])
def test_who_waits_for_the_queue_is_told_when_the_disk_fails_meanwhile(faulty, call, poisoning):
    ns = broken(faulty)
    if poisoning:
        faulty.put(ns, range(PER_SEGMENT - 3))
        faulty.store.sync()
    rule = faulty.fs.add(Hang("pwritev", path="*.seg", times=1))
    faulty.fs.add(FailOp("sync" if poisoning else "pwritev", path="*.seg"))
    faulty.fs.add(FailOp("open", path="*TRY"))
    faulty.put(ns, [30])
    assert rule.reached.wait(60)
    faulty.put(ns, [31])
    calls = {"sync": faulty.store.sync, "delete_many": lambda: ns.delete_many(faulty.keys([31]))}
    waiting = Call(calls[call])
    rule.event.set()
    with pytest.raises(IOFailedError):
        waiting.result()
    faulty.fs.clear()


CALLS = ["drop_namespace", "retire_namespace", "namespace", "delete_many", "write_records", "put_stored"]


@pytest.mark.parametrize("call", CALLS)
def test_whatever_call_meets_a_poisoned_index_has_the_store_reopened(faulty, call):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    stored = ns.stored(faulty.keys([0]))
    faulty.fs.add(FailOp("sync", path="*.wal", times=1))
    with pytest.raises(IOFailedError):
        faulty.store._db.sync()
    calls = {
        "drop_namespace": lambda: faulty.store.drop_namespace(ns.number),
        "retire_namespace": lambda: faulty.store.retire_namespace(ns.number),
        "namespace": lambda: faulty.store.namespace({"m": 2}, SIZE),
        "delete_many": lambda: ns.delete_many(faulty.keys([0])),
        "write_records": lambda: ns.write_records({b"r": b"v"}),
        "put_stored": lambda: ns.put_stored([page._replace(key=faulty.key(7)) for page in stored]),
    }
    with pytest.raises(PoisonedError):
        calls[call]()
    assert faulty.store.health().state == "degraded"
    faulty.store.step()
    assert faulty.store.health().state == "ok"
    calls[call]()
