"""A call with a deadline takes pages from the page cache into the caller's memory; whatever cannot be had so is copied."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.testing import FailOp, FaultFileSystem, FlipByte, Hang, MemoryFileSystem
from lsmkv_tensor.vlog import cached, hurried
from tests.tensor_pages.conftest import INDEX
from tests.tensor_runtime.conftest import Call, FaultyWorld

SIZE = 70_000
SEGMENT = 2 << 20
CANARY = 0xA5


class CachingWorld(FaultyWorld):
    """A world whose disk has a page cache that can be asked."""

    def __init__(self):
        super().__init__()
        self.fs = FaultFileSystem(MemoryFileSystem(page_cache=True))

    def options(self, **changes):
        sizes = {"segment_bytes": SEGMENT, "capacity_bytes": INDEX + 8192 + 6 * SEGMENT}
        return super().options(**(sizes | changes))

    def let_go(self):
        """Empty the page cache."""
        for data in self.fs.inner._tree.files("/"):
            data.cached.clear()

    def get(self, ns, ids, **when):
        """What came in time, and which pages were copied; every byte of them is compared."""
        ids, copied = list(ids), set()
        out = np.full((len(ids), SIZE), CANARY, np.uint8)
        flags = ns.get_into(self.keys(ids), out, copied=copied, **when)
        for at, flag in enumerate(flags):
            if flag:
                assert out[at].tobytes() == self.page(ids[at], SIZE)
        return {i for i, flag in zip(ids, flags, strict=True) if flag}, {ids[at] for at in copied}, out


@pytest.fixture
def world():
    found = CachingWorld()
    yield found
    found.fs.clear()
    found.store.close()


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(hurried, "PART_BYTES", 2 * SIZE)


def filled(world, ids, **options):
    ns = world.open(**options).namespace({"m": 1}, SIZE)
    world.put(ns, ids)
    return ns


def test_pages_that_the_page_cache_holds_are_copied_nowhere(world, small_parts):
    ns = filled(world, range(9))
    got, copied, _ = world.get(ns, [*range(9), 20, 21], deadline_s=5)
    assert (got, copied) == (set(range(9)), set())
    stats = world.store.stats()
    assert (stats.hits, stats.misses, stats.late_pages, stats.read_bytes) == (9, 2, 0, 9 * SIZE)
    staging = world.store._services.staging
    assert (staging.kept_bytes, staging.lent_bytes) == (0, 0)


def test_into_spans_too(world):
    ns = filled(world, range(3))
    parts = [[bytearray(1), bytearray(0), bytearray(SIZE - 1)] for _ in range(3)]
    copied = set()
    assert ns.get_into(world.keys(range(3)), parts, 5, copied=copied) == [True] * 3
    assert [b"".join(page) for page in parts] == world.pages(range(3), SIZE)
    assert copied == set()


def test_fetching_that_hangs_is_late_and_the_callers_memory_stays_as_it_was(world, small_parts):
    ns = filled(world, range(8))
    rule = world.fs.add(Hang("fetch", path="*.seg", nth=3))
    call = Call(lambda: world.get(ns, range(8), deadline_s=9))
    assert rule.reached.wait(60)
    world.clock.advance(10)
    got, copied, out = call.result()
    assert (got, copied) == (set(range(4)), set())
    stats = world.store.stats()
    assert (stats.hits, stats.misses, stats.late_pages, stats.hanging_reads) == (4, 4, 4, 1)
    rule.event.set()
    assert world.store._services.attempts.stop(60) == 0
    assert (out[4:] == CANARY).all()


def test_what_the_page_cache_let_go_of_is_copied(world):
    ns = filled(world, range(6))
    world.fs.add(FailOp("preadv_cached", errno=errno.EIO))
    assert world.get(ns, range(6), deadline_s=5)[:2] == (set(range(6)), set(range(6)))
    world.fs.clear()
    world.let_go()
    world.fs.add(FailOp("fetch"))
    assert world.get(ns, range(6), deadline_s=5)[:2] == (set(range(6)), set(range(6)))
    assert world.store.stats().read_errors == 0


def test_a_page_that_is_wrong_in_the_page_cache_is_read_again_and_one_that_is_wrong_on_the_disk_is_a_miss(world):
    ns = filled(world, range(4))
    place = world.store._log.current_places(ns.index_keys(world.keys([2])))[0]
    world.fs.add(FlipByte(place.offset + 100, path="*.seg", times=1))
    got, copied, _ = world.get(ns, range(4), deadline_s=5)
    assert (got, copied) == ({0, 1, 2, 3}, {2})
    world.fs.clear()
    world.fs.add(FlipByte(place.offset + 100, path="*.seg"))
    assert world.get(ns, range(4), deadline_s=5)[0] == {0, 1, 3}
    assert (world.store.stats().corrupt_pages, world.store.stats().misses) == (1, 1)


@pytest.mark.parametrize(
    "options", [{"direct_io": "always"}, {"keep_cached": False}, {"fs": FaultFileSystem(MemoryFileSystem())}]
)
def test_stores_that_leave_the_page_cache_alone_copy(world, options):
    ns = filled(world, range(4), **options)
    world.fs.add(FailOp("preadv_cached"))
    assert world.get(ns, range(4), deadline_s=5)[:2] == (set(range(4)), set(range(4)))


def test_encoded_and_small_pages_are_copied(world):
    ns = world.open().namespace({"m": 2}, SIZE, codec="shuffle_zstd")
    flat = np.zeros((2, SIZE), np.uint8)
    ns.put_many(world.keys(range(2)), flat)
    out, copied = np.ones((2, SIZE), np.uint8), set()
    assert ns.get_into(world.keys(range(2)), out, 5, copied=copied) == [True] * 2
    assert (copied, out.any()) == ({0, 1}, False)
    small = world.store.namespace({"m": 3}, cached.LEAST_BYTES - 1)
    small.put_many(world.keys([0]), [bytes(cached.LEAST_BYTES - 1)])
    out, copied = np.ones((1, cached.LEAST_BYTES - 1), np.uint8), set()
    assert small.get_into(world.keys([0]), out, 5, copied=copied) == [True]
    assert (copied, out.any()) == ({0}, False)


@given(st.lists(st.integers(0, 11), unique=True, max_size=12), st.sets(st.integers(0, 60)), st.integers(1, 4))
def test_whatever_the_page_cache_holds_the_same_pages_come(ids, gone, parts):
    """Blocks of the page cache go between fetching and taking."""
    world = CachingWorld()
    ns = filled(world, range(8))
    inner = world.fs.inner

    def forget(op, path):
        if op == "preadv_cached":
            inner._tree.file(path).cached.difference_update(gone)

    inner.on_op = forget
    hurried_parts, hurried.PART_BYTES = hurried.PART_BYTES, parts * SIZE
    try:
        got, _, _ = world.get(ns, ids, deadline_s=5)
    finally:
        hurried.PART_BYTES = hurried_parts
        inner.on_op = None
        world.store.close()
    assert got == {i for i in ids if i < 8}
