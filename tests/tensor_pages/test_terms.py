"""What namespaces may claim: pages that end, quotas, and namespaces that nobody uses any more."""

from __future__ import annotations

import pytest

from lsmkv.env.rng import seeded
from lsmkv.testing import ManualClock
from lsmkv_tensor.errors import InvalidArgumentError

SIZE = 4000
PER_SEGMENT = 13


@pytest.fixture
def clock():
    return ManualClock(wall=1_800_000_000.0)


def test_a_page_ends_and_is_a_miss_for_everybody_then(world, clock):
    store = world.open(clock=clock)
    ns = store.namespace({"m": 1}, SIZE, ttl_s=600)
    forever = store.namespace({"m": 2}, SIZE)
    world.put(ns, range(5))
    world.put(forever, range(5))
    assert ns.put_many(world.keys([7]), world.pages([7], SIZE), ttl_s=3600) == [True]
    clock.advance(599)
    assert world.check(ns, range(8)) == {0, 1, 2, 3, 4, 7}
    assert ns.contains_prefix(world.keys(range(8))) == 5
    clock.advance(61)
    assert world.check(ns, range(8)) == {7}
    assert ns.contains(world.keys(range(8))).tolist() == [False] * 7 + [True]
    assert ns.contains_prefix(world.keys(range(8))) == 0
    assert list(ns.keys()) == [world.key(7)]
    assert ns.parents(world.keys([0])) == [None]
    assert world.check(forever, range(5)) == set(range(5))


def test_an_ended_page_can_be_stored_again_and_the_counts_stay_exact(world, clock):
    store = world.open(clock=clock)
    ns = store.namespace({"m": 1}, SIZE, ttl_s=60)
    told = []
    ns.on_evict(lambda keys, sizes: told.extend(keys))
    for salt in range(3):
        assert world.put(ns, range(5), salt) == [True] * 5
        assert world.check(ns, range(5), salt) == set(range(5))
        assert store.stats().pages == 5
        assert store.stats().live_bytes == 5 * 4096
        clock.advance(121)
    assert told == []  # each was replaced, none is gone


@pytest.mark.parametrize("queue", [0, 64 << 10])
def test_whoever_stores_a_page_again_is_not_told_that_it_is_gone(world, clock, queue):
    store = world.open(clock=clock, put_queue_bytes=queue)
    ns = store.namespace({"m": 1}, SIZE, ttl_s=60)
    told = []
    ns.on_evict(lambda keys, sizes: told.extend(keys))
    world.put(ns, range(5))
    store.sync()
    clock.advance(121)
    assert world.put(ns, range(4), salt=1) == [True] * 4
    store.sync()
    assert ns.contains(world.keys(range(5))).tolist() == [True] * 4 + [False]
    assert told == []
    world.fs.on_op = refuse_segments
    clock.advance(121)
    world.put(ns, range(3), salt=2)
    while store.step():
        pass
    world.fs.on_op = None
    assert not ns.contains(world.keys(range(5))).any()
    assert set(world.keys(range(3))) <= set(told)  # these did end, and nothing took their place


def refuse_segments(op, path):
    if op == "pwritev" and path.endswith(".seg"):
        raise OSError(5, "broken", path)


def test_the_end_of_a_page_survives_restarts_crashes_and_moving(world, clock):
    store = world.open(clock=clock)
    ns = store.namespace({"m": 1}, SIZE, ttl_s=600)
    world.put(ns, range(PER_SEGMENT))
    world.put(ns, range(100, 100 + PER_SEGMENT))
    ns.delete_many(world.keys(i for i in range(PER_SEGMENT) if i % 3))
    assert store.gc().pages_moved == 5
    store.sync()
    world.fs = world.fs.crash(None)
    ns = world.open(clock=clock).namespace({"m": 1}, SIZE)
    assert world.check(ns, range(PER_SEGMENT)) == {0, 3, 6, 9, 12}
    clock.advance(661)
    assert world.check(ns, range(200)) == set()
    store = world.reopen(clock=clock)
    ns = store.namespace({"m": 1}, SIZE)
    assert ns.contains(world.keys(range(200))).sum() == 0
    report = store.gc()
    assert report.pages_dropped == 5 + PER_SEGMENT
    assert report.bytes_dropped == (5 + PER_SEGMENT) * 4096
    assert store.stats().pages == 0


def test_ended_pages_make_room_before_any_other(world, clock):
    store = world.open(clock=clock)
    brief = store.namespace({"m": 1}, SIZE, ttl_s=60)
    ns = store.namespace({"m": 2}, SIZE)
    usable = store.stats().segments_max - 1
    for s in range(usable - 1):
        world.put(ns, range(s * PER_SEGMENT, (s + 1) * PER_SEGMENT))
    world.put(brief, range(PER_SEGMENT))  # the youngest of all
    clock.advance(121)
    world.put(ns, range(1000, 1000 + PER_SEGMENT))
    assert world.check(ns, range((usable - 1) * PER_SEGMENT)) == set(range((usable - 1) * PER_SEGMENT))
    assert store.stats().evicted_pages == PER_SEGMENT


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), True, "1"])
def test_a_time_to_live_that_is_none_is_refused(world, bad):
    store = world.open()
    with pytest.raises(InvalidArgumentError, match="ttl_s"):
        store.namespace({"m": 1}, SIZE, ttl_s=bad)
    ns = store.namespace({"m": 1}, SIZE)
    with pytest.raises(InvalidArgumentError, match="ttl_s"):
        ns.put_many(world.keys([1]), world.pages([1], SIZE), ttl_s=bad)


def test_a_namespace_stays_inside_its_quota_and_evicts_its_own_pages_only(world):
    store = world.open()
    quota = 10 * 4096
    ns = store.namespace({"m": 1}, SIZE, quota_bytes=quota)
    other = store.namespace({"m": 2}, SIZE)
    world.put(other, range(PER_SEGMENT))
    rng = seeded(5)
    for _ in range(60):
        ids = [int(rng.random() * 100) for _ in range(1 + int(rng.random() * 8))]
        ids = list(dict.fromkeys(ids))
        new = ~ns.contains(world.keys(ids))
        flags = world.put(ns, ids)
        assert flags == ns.contains(world.keys(ids)).tolist()  # what was there may have made room for the rest
        assert all(flag for flag, missing in zip(flags, new.tolist(), strict=True) if missing)
        assert len(list(ns.keys())) * 4096 <= quota
        if rng.random() < 0.3:
            ns.delete_many(world.keys(ids[:2]))
    assert len(list(ns.keys())) >= 8
    flags = world.put(ns, range(200, 230))  # more than it may ever have
    assert sum(flags) == 10
    assert world.check(ns, range(200, 230)) == {i for i, flag in zip(range(200, 230), flags, strict=True) if flag}
    assert world.check(other, range(PER_SEGMENT)) == set(range(PER_SEGMENT))
    assert store.stats().pages == 10 + PER_SEGMENT


def test_a_quota_holds_for_pages_of_an_earlier_life(world):
    ns = world.open().namespace({"m": 1}, SIZE)
    world.put(ns, range(30))
    ns = world.reopen().namespace({"m": 1}, SIZE, quota_bytes=12 * 4096)
    assert world.put(ns, [100]) == [True]
    assert len(list(ns.keys())) <= 12
    with pytest.raises(InvalidArgumentError, match="quota_bytes"):
        world.store.namespace({"m": 1}, SIZE, quota_bytes=100)


def test_a_namespace_that_nobody_opened_for_long_goes_first(world, clock):
    store = world.open(clock=clock, idle_after_s=7 * 86400)
    old, ns = store.namespace({"model": "old"}, SIZE), store.namespace({"model": "new"}, SIZE)
    usable = store.stats().segments_max - 1
    for s in range(usable - 1):
        world.put(ns, range(s * PER_SEGMENT, (s + 1) * PER_SEGMENT))
    world.put(old, range(PER_SEGMENT))
    for days in (3, 5):
        clock.advance(days * 86400)
        store = world.reopen(clock=clock, idle_after_s=7 * 86400)
        ns = store.namespace({"model": "new"}, SIZE)
    world.put(ns, range(1000, 1000 + PER_SEGMENT))
    assert world.check(ns, range((usable - 1) * PER_SEGMENT)) == set(range((usable - 1) * PER_SEGMENT))
    assert store.stats().evicted_pages == PER_SEGMENT
    assert list(store.namespace({"model": "old"}, SIZE).keys()) == []


def test_a_retired_namespace_goes_first_unless_it_is_opened_again(world, clock):
    store = world.open(clock=clock)
    old, ns = store.namespace({"model": "old"}, SIZE, name="old"), store.namespace({"model": "new"}, SIZE)
    world.put(old, range(5))
    world.put(ns, range(5))
    store.retire_namespace("old")
    assert store.namespace({"model": "old"}, SIZE).pin(world.keys([0])) == [True]
    assert store.gc().pages_dropped == 0
    store.retire_namespace("old")
    store = world.reopen(clock=clock)
    assert store.gc().pages_dropped == 5
    assert world.check(store.namespace({"model": "new"}, SIZE), range(5)) == set(range(5))
    with pytest.raises(InvalidArgumentError, match="nobody"):
        store.retire_namespace("nobody")
