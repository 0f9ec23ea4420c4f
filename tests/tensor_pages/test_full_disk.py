"""A disk that others have filled to the last byte: a store opens all the same, at the price of as few pages as possible."""

from __future__ import annotations

import contextlib

import pytest

from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.errors import LockedError, NoSpaceError
from tests.tensor_pages.conftest import PATH, World

SIZE = 4000
PER_SEGMENT = 13


@pytest.fixture
def small():
    world = World(MemoryFileSystem(capacity_bytes=2 << 20))
    yield world
    if world.store is not None:
        world.store.close()


def fill_disk(fs):
    """Somebody else takes all that is left."""
    file = fs.open("/others" if not fs.exists("/others") else "/more", "create")
    with contextlib.suppress(OSError):
        at = 0
        while True:
            at += file.pwritev([bytes(4096)], at)
    file.sync()
    fs.sync_dir("/")
    assert fs.free_bytes("/") < 4096


def filled(world, pages):
    """A store with these pages, all synced, on a disk that then is full; nobody has it open."""
    world.open()
    ns = world.store.namespace({"m": 1}, SIZE)
    for start in range(0, pages, PER_SEGMENT):
        world.put(ns, range(start, min(start + PER_SEGMENT, pages)))
    world.store.sync()
    fill_disk(world.fs)
    world.fs = world.fs.crash()
    return {i for i in range(pages) if i in world.check(ns_of(copy_of(world)), range(pages))}


def copy_of(world):
    """The same store on a disk with room, to know what is there."""
    other = World(world.fs.crash())
    other.fs._disk.capacity = None
    other.open()
    return other


def ns_of(world):
    return world.store.namespace({"m": 1}, SIZE)


def test_the_segment_with_the_fewest_live_pages_makes_room(small):
    before = filled(small, 4 * PER_SEGMENT)
    assert len(before) == 4 * PER_SEGMENT
    small.fs = small.fs.crash()
    small.open()
    ns = ns_of(small)
    there = small.check(ns, range(60))
    assert len(there) >= 3 * PER_SEGMENT
    assert small.store.stats().lost_pages == len(before) - len(there)
    assert small.store.health().state == "ok"
    flags = small.put(ns, range(100, 160))  # nothing, or something: no exception
    assert {100 + i for i, flag in enumerate(flags) if flag} == small.check(ns, range(100, 160))
    small.store.sync()


def test_a_segment_that_holds_nothing_goes_first(small):
    small.open()
    ns = ns_of(small)
    for start in range(0, 4 * PER_SEGMENT, PER_SEGMENT):
        small.put(ns, range(start, start + PER_SEGMENT))
    ns.delete_many(small.keys(range(PER_SEGMENT)))
    small.store.gc()
    assert small.store.stats().free_segments
    small.store.sync()
    fill_disk(small.fs)
    small.fs = small.fs.crash()
    small.open()
    assert small.check(ns_of(small), range(60)) == set(range(PER_SEGMENT, 4 * PER_SEGMENT))
    assert small.store.stats().lost_pages == 0


def test_where_there_is_no_segment_there_is_nothing_to_give(small):
    filled(small, 4 * PER_SEGMENT)
    small.fs = small.fs.crash()
    for name in small.fs.listdir(f"{PATH}/vlog"):
        small.fs.unlink(f"{PATH}/vlog/{name}")
    small.fs.sync_dir(f"{PATH}/vlog")
    fill_disk(small.fs)
    small.fs = small.fs.crash()
    with pytest.raises(NoSpaceError):
        small.open()
    small.store = None


def test_it_closes_and_opens_again(small):
    small.open()
    ns = ns_of(small)
    small.put(ns, range(2 * PER_SEGMENT))
    small.store.sync()
    fill_disk(small.fs)
    for i in range(100, 400):
        small.put(ns, [i])
    there = small.check(ns, range(400))
    with contextlib.suppress(NoSpaceError):
        small.store.close()
    small.open()
    assert len(there - small.check(ns_of(small), range(400))) <= PER_SEGMENT


def test_a_new_store_on_a_full_disk_is_refused(small):
    fill_disk(small.fs)
    with pytest.raises(NoSpaceError):
        small.open()


def test_nothing_is_taken_from_a_store_that_somebody_has_open(small):
    filled(small, 4 * PER_SEGMENT)
    small.fs = small.fs.crash()
    before = set(small.fs.listdir(f"{PATH}/vlog"))
    lock = small.fs.lock(f"{PATH}/index/LOCK")
    with pytest.raises(LockedError):
        small.open()
    lock.release()
    assert set(small.fs.listdir(f"{PATH}/vlog")) == before
    small.open()
