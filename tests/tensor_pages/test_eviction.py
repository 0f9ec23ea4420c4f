"""The capacity is a hard bound on physical bytes; the oldest segment goes first, and its owner is told."""

from __future__ import annotations

import pytest

from lsmkv.env.rng import seeded
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.retention.quota import MIN_SEGMENTS, divide

SIZE = 4000
PER_SEGMENT = 13  # 16 blocks less header, frame header, end mark


def test_capacity_is_never_exceeded_after_any_call_of_the_file_system(world):
    store = None
    worst = 0

    def measure(op, path):
        nonlocal worst
        worst = max(worst, world.fs.total_bytes("/store"))

    world.fs.on_op = measure
    store = world.open()
    capacity = store.stats().capacity_bytes
    ns = store.namespace({"m": 1}, SIZE)
    rng = seeded(3)
    stored = 0
    for _ in range(150):
        ids = [int(rng.random() * 400) for _ in range(1 + int(rng.random() * 20))]
        stored += sum(world.put(ns, ids))
        if rng.random() < 0.2:
            ns.delete_many(world.keys(ids[:3]))
        if rng.random() < 0.1:
            store.gc()
    assert stored > 1000
    store.close()
    assert 0.5 * capacity < worst <= capacity
    assert world.fs.total_bytes("/store") <= capacity


def test_capacity_holds_when_the_index_is_what_grows(world):
    """One-byte pages: the index is larger than the pages would need, and is kept inside its share."""
    world.segments = 40
    worst = 0

    def measure(op, path):
        nonlocal worst
        worst = max(worst, world.fs.total_bytes("/store/index"))

    world.fs.on_op = measure
    store = world.open(index_bytes=64 << 10)
    ns = store.namespace({"m": 1}, 1)
    for start in range(0, 1200, 40):
        world.put(ns, range(start, start + 40))
    stats = store.stats()
    assert worst <= stats.index_share_bytes == 64 << 10
    assert stats.evicted_pages > 0
    assert world.check(ns, range(1160, 1200)) == set(range(1160, 1200))


def test_the_least_recently_used_pages_go_first_and_their_owner_is_told(world):
    store = world.open(eviction="lru")
    ns = store.namespace({"m": 1}, SIZE)
    other = store.namespace({"m": 2}, SIZE)
    told, others = [], []
    ns.on_evict(lambda keys, sizes: told.extend(zip(keys, sizes, strict=True)))
    other.on_evict(lambda keys, sizes: others.append(keys))
    usable = store.stats().segments_max - 1
    for s in range(usable):
        world.put(ns, range(s * PER_SEGMENT, (s + 1) * PER_SEGMENT))
    world.check(ns, range(PER_SEGMENT))  # the oldest segment is in use
    world.put(ns, range(1000, 1000 + PER_SEGMENT))
    names = {world.key(i): i for i in range(1100)}
    gone = {names[key] for key, _ in told}
    assert len(told) == len(gone) == store.stats().evicted_pages
    assert PER_SEGMENT - 4 <= len(gone) <= 2 * PER_SEGMENT
    assert gone <= set(range(PER_SEGMENT, 4 * PER_SEGMENT))
    assert all(size == SIZE for _, size in told)
    assert others == []
    everything = {*range(usable * PER_SEGMENT), *range(1000, 1000 + PER_SEGMENT)}
    assert world.check(ns, range(1100)) == everything - gone


def test_a_dead_segment_is_reused_before_anything_is_evicted(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    usable = store.stats().segments_max - 1
    for s in range(usable):
        world.put(ns, range(s * PER_SEGMENT, (s + 1) * PER_SEGMENT))
    ns.delete_many(world.keys(range(2 * PER_SEGMENT, 3 * PER_SEGMENT)))
    world.put(ns, range(1000, 1000 + PER_SEGMENT))
    stats = store.stats()
    assert (stats.evicted_pages, stats.recycled_segments) == (0, 1)
    assert world.check(ns, range(PER_SEGMENT)) == set(range(PER_SEGMENT))


def test_a_call_larger_than_the_store_keeps_what_fits_and_says_so(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(1000, 1013))
    told = []
    ns.on_evict(lambda keys, sizes: told.extend(keys))
    flags = world.put(ns, range(200))
    assert flags == [True] * sum(flags) + [False] * (200 - sum(flags))
    assert world.check(ns, range(200)) == set(range(sum(flags)))
    assert 3 * PER_SEGMENT <= sum(flags) < 200
    assert sorted(told) == sorted(world.keys(range(1000, 1013)))
    assert store.stats().declined_pages == 200 - sum(flags)


def test_pages_that_made_room_for_the_rest_of_their_call_are_reported_absent(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    usable = store.stats().segments_max - 1
    for s in range(usable):
        world.put(ns, range(s * PER_SEGMENT, (s + 1) * PER_SEGMENT))
    assert all(world.put(ns, [0, 1, *range(500, 500 + PER_SEGMENT)]))  # what is asked for again is not what makes room
    flags = world.put(ns, [0, 1, *range(600, 800)])
    assert flags[:2] == [False, False]
    assert not ns.contains(world.keys([0, 1])).any()
    assert flags[2:] == ns.contains(world.keys(range(600, 800))).tolist()


def test_a_raising_callback_is_counted_and_harms_nobody(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)

    def callback(keys, sizes):
        raise RuntimeError

    ns.on_evict(callback)
    for i in range(100):
        assert world.put(ns, [i]) == [True]
    assert store.stats().callback_errors > 0


def test_a_callback_may_use_the_store(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    seen = []
    ns.on_evict(lambda keys, sizes: seen.append(ns.contains(keys).any()))
    for i in range(100):
        world.put(ns, [i])
    assert seen
    assert not any(seen)


def test_a_smaller_capacity_evicts_at_opening(world):
    ns = world.open().namespace({"m": 1}, SIZE)
    for s in range(5):
        world.put(ns, range(s * PER_SEGMENT, (s + 1) * PER_SEGMENT))
    world.store.close()
    world.segments = 3
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    stats = store.stats()
    assert stats.segments <= 3
    assert world.fs.total_bytes("/store") <= stats.capacity_bytes
    assert max(world.check(ns, range(65))) == 64
    for i in range(100, 140):
        assert world.put(ns, [i]) == [True]
    assert world.fs.total_bytes("/store") <= stats.capacity_bytes


def test_a_capacity_too_small_names_the_minimum(world):
    with pytest.raises(InvalidArgumentError, match=r"at least (\d+)") as caught:
        world.open(capacity_bytes=100_000)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    with pytest.raises(InvalidArgumentError):
        world.open(capacity_bytes=least - 1)
    assert world.open(capacity_bytes=least).stats().segments_max == MIN_SEGMENTS


def test_a_page_too_large_for_a_segment_is_refused_when_its_namespace_is_made(world):
    store = world.open()
    with pytest.raises(InvalidArgumentError, match="at most 53248"):
        store.namespace({"m": 1}, 53249)
    ns = store.namespace({"m": 1}, 53248)
    for i in range(9):
        assert world.put(ns, [i]) == [True]
    assert 8 in world.check(ns, range(9))


@pytest.mark.parametrize("capacity", [64 << 20, 1 << 30, 20 << 30, 1 << 40, 1 << 44])
def test_the_division_of_a_capacity_adds_up(capacity):
    quota = divide(capacity, None, None)
    assert quota.index_bytes + quota.segments * quota.segment_bytes + 8192 <= capacity
    assert quota.segments >= 8
    assert quota.segment_bytes % 4096 == 0
    assert quota.segment_bytes <= 256 << 20
