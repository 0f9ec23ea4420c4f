"""What the policy knows of pages lives on across a clean close, and its loss costs ranks only; what a store does by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.vlog.gc import Collector

SIZE = 4000
PER_SEGMENT = 13
NAME = "/store/RETENTION"


@pytest.fixture
def mine(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return "remembering:Remembering"


def full(world, **options):
    """A store whose oldest segment was read last, and the number of segments' worth of pages in it."""
    store = world.open(**options)
    ns = store.namespace({"m": 1}, SIZE)
    usable = store.stats().segments_max - 1
    for s in range(usable):
        world.put(ns, range(s * PER_SEGMENT, (s + 1) * PER_SEGMENT))
    world.check(ns, range(PER_SEGMENT))
    return store, usable


def survivors(world, **options):
    """How many of the oldest pages outlive the next segment of new ones."""
    ns = world.open(**options).namespace({"m": 1}, SIZE)
    world.put(ns, range(1000, 1000 + PER_SEGMENT))
    return len(world.check(ns, range(PER_SEGMENT)))


def test_a_clean_close_keeps_the_ranks(world, mine):
    store, _ = full(world, eviction=mine)
    store.close()
    assert world.fs.exists(NAME)
    assert world.fs.total_bytes("/store") <= store_capacity(world)
    assert survivors(world, eviction=mine) == PER_SEGMENT
    assert not world.fs.exists(NAME)


def test_an_index_that_cannot_be_listed_costs_the_ranks_and_close_says_nothing(world, mine):
    world.fs = FaultFileSystem(world.fs)
    store, usable = full(world, eviction=mine)
    world.fs.add(FailOp("listdir", path="*/index"))
    store.close()
    world.fs.clear()
    ns = world.open(eviction=mine).namespace({"m": 1}, SIZE)
    assert ns.contains(world.keys(range(usable * PER_SEGMENT))).all()


def store_capacity(world):
    return world.options().capacity_bytes


@pytest.mark.parametrize("loss", ["missing", "damaged", "cut", "another policy", "crash", "unreadable"])
def test_without_the_ranks_the_oldest_go_first_and_nothing_else_is_lost(world, mine, loss):
    store, usable = full(world, eviction=mine)
    if loss == "crash":
        store.sync()
        world.fs = world.fs.crash(None)
    else:
        store.close()
    if loss == "missing":
        world.fs.unlink(NAME)
    elif loss == "damaged":
        world.fs.open(NAME, "rw").pwritev([b"?"], 40)
    elif loss == "cut":
        world.fs.open(NAME, "rw").truncate(50)
    elif loss == "unreadable":
        world.fs = FaultFileSystem(world.fs)
        world.fs.add(FailOp("open", path=NAME))
    eviction = "lru" if loss == "another policy" else mine
    ns = world.open(eviction=eviction).namespace({"m": 1}, SIZE)
    assert ns.contains(world.keys(range(usable * PER_SEGMENT))).all()
    assert not world.fs.exists(NAME)
    world.put(ns, range(1000, 1000 + PER_SEGMENT))
    assert len(world.check(ns, range(PER_SEGMENT))) < PER_SEGMENT
    assert len(world.check(ns, range(2000))) >= (usable - 1) * PER_SEGMENT


def test_a_disk_that_refuses_the_file_does_not_fail_the_close(world, mine):
    world.fs = FaultFileSystem(MemoryFileSystem())
    store, usable = full(world, eviction=mine)
    world.fs.add(FailOp("pwritev", path=NAME))
    store.close()
    world.fs.clear()
    ns = world.open(eviction=mine).namespace({"m": 1}, SIZE)
    assert ns.contains(world.keys(range(usable * PER_SEGMENT))).all()


def test_what_is_no_policy_is_refused_before_anything_is_made(world):
    with pytest.raises(InvalidArgumentError, match="eviction"):
        world.open(eviction="clairvoyant")
    world.store = None


def test_a_store_of_many_segments_keeps_one_free_ahead_of_need(world):
    world.segments = 20
    store, _ = full(world)
    ns = store.namespace({"m": 1}, SIZE)
    while store.step():
        pass
    assert store._space.has_free()
    before = store.stats()
    assert before.gc_segments >= 1
    assert before.evicted_pages <= 2 * PER_SEGMENT
    assert all(world.put(ns, range(1000, 1000 + PER_SEGMENT)))
    assert store.stats().gc_segments == before.gc_segments
    assert store.stats().pages == len(list(ns.keys()))


def test_background_work_keeps_to_its_budget_and_says_so(world):
    world.segments = 20
    store, usable = full(world)
    ns = store.namespace({"m": 1}, SIZE)
    alive = [i for i in range(usable * PER_SEGMENT) if i % 5 == 0]
    ns.delete_many(world.keys(i for i in range(usable * PER_SEGMENT) if i % 5))
    collector = store._collector
    assert isinstance(collector, Collector)
    collector.step()
    report = collector.step(4096)
    assert report.victims == ()
    assert "bytes of I/O, the budget is 4096" in report.reason
    while (report := collector.step(6 * 4096)).victims:
        assert report.bytes_read + report.bytes_moved <= 6 * 4096
        assert report.bytes_dropped == 0
    assert world.check(ns, range(usable * PER_SEGMENT)) == set(alive)


def test_free_segments_are_given_back_when_others_need_the_disk(world):
    world.fs = MemoryFileSystem(capacity_bytes=2 << 20)
    world.segments = 20
    store, usable = full(world, min_free_bytes=200 << 10)
    ns = store.namespace({"m": 1}, SIZE)
    assert world.fs.free_bytes("/store") >= 200 << 10
    ns.delete_many(world.keys(range(PER_SEGMENT, usable * PER_SEGMENT)))
    store.gc()
    assert store.stats().free_segments > 3
    world.fs.open("/others", "create").allocate(world.fs.free_bytes("/store") - (100 << 10))
    store.step()
    assert world.fs.free_bytes("/store") >= 200 << 10
    assert world.check(ns, range(PER_SEGMENT)) == set(range(PER_SEGMENT))
    for i in range(2000, 2100):
        assert world.put(ns, [i]) == [True]
    assert world.fs.free_bytes("/store") >= 190 << 10
