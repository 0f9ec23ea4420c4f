"""A failing disk costs pages, not the store: what is told True is there, what failed is a miss, nothing is ever wrong."""

from __future__ import annotations

import errno

import pytest

from lsmkv.testing.faults import FailOp, FaultFileSystem, FlipByte, ShortWrite
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.errors import LsmError, PoisonedError

SIZE = 4000


@pytest.fixture
def faulty(world):
    world.fs = FaultFileSystem(MemoryFileSystem())
    return world


@pytest.mark.parametrize("op", ["pwritev", "allocate", "open"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_put_that_cannot_be_written_stores_nothing_and_the_next_one_may(faulty, op, code):
    store = faulty.open()
    ns = store.namespace({"m": 1}, SIZE)
    assert all(faulty.put(ns, range(10)))
    store._files.close_writer()  # so that opening is tried again
    rule = faulty.fs.add(FailOp(op, path="*.seg", errno=code))
    flags = faulty.put(ns, range(10, 40))
    assert not all(flags)
    assert faulty.fs.hits(rule)
    stored = {i for i, flag in zip(range(10, 40), flags, strict=True) if flag}
    faulty.fs.remove(rule)
    assert faulty.check(ns, range(40)) == set(range(10)) | stored
    assert store.stats().declined_pages == 30 - len(stored)
    assert all(faulty.put(ns, range(10, 40)))
    assert faulty.check(ns, range(40)) == set(range(40))
    ns = faulty.reopen().namespace({"m": 1}, SIZE)
    assert faulty.check(ns, range(40)) == set(range(40))


def test_a_full_disk_costs_old_pages_and_no_wrong_ones(world):
    world.fs = MemoryFileSystem(capacity_bytes=500 << 10)
    world.segments = 12
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    stored, told = set(), []
    ns.on_evict(lambda keys, sizes: told.extend(keys))
    for i in range(200):
        if world.put(ns, [i])[0]:
            stored.add(i)
        assert world.check(ns, [i]) == {i} & stored
    assert len(stored) > 50
    assert store.stats().declined_pages == 200 - len(stored)
    gone = {i for i in stored if world.key(i) in set(told)}
    assert 0 < len(gone) == store.stats().evicted_pages
    assert world.check(ns, range(200)) == stored - gone


def test_short_writes_are_continued(faulty):
    store = faulty.open(direct_io="off")
    ns = store.namespace({"m": 1}, SIZE)
    faulty.fs.add(ShortWrite(size=1000, path="*.seg", probability=0.5))
    assert all(faulty.put(ns, range(10)))
    assert faulty.check(ns, range(10)) == set(range(10))


def test_an_index_that_cannot_be_written_stores_nothing(faulty):
    store = faulty.open()
    ns = store.namespace({"m": 1}, SIZE)
    assert all(faulty.put(ns, range(3)))
    written = store.stats().written_bytes
    rule = faulty.fs.add(FailOp("pwritev", path="*.wal", errno=errno.ENOSPC))
    for _ in range(20):
        assert faulty.put(ns, range(10, 13)) == [False] * 3
    with pytest.raises(LsmError):
        ns.delete_many(faulty.keys([0]))
    faulty.fs.remove(rule)
    assert store.stats().written_bytes > written
    assert store.stats().segments == 1  # refused pages take no space
    assert faulty.check(ns, range(20)) == {0, 1, 2}
    assert all(faulty.put(ns, range(10, 13)))
    assert faulty.check(ns, range(20)) == {0, 1, 2, 10, 11, 12}


def test_a_read_error_costs_its_page_only(faulty):
    store = faulty.open()
    ns = store.namespace({"m": 1}, SIZE)
    faulty.put(ns, range(6))
    rule = faulty.fs.add(FailOp("preadv", path="*.seg", nth=1, times=3))  # the read of all, then of pages 0 and 1
    assert faulty.check(ns, range(6)) == {2, 3, 4, 5}
    assert faulty.fs.hits(rule) == 3
    stats = store.stats()
    assert (stats.read_errors, stats.corrupt_pages, stats.pages) == (2, 0, 6)
    assert faulty.check(ns, range(6)) == set(range(6))


def test_a_segment_that_cannot_be_opened_is_a_miss_for_now(faulty):
    store = faulty.open()
    ns = store.namespace({"m": 1}, SIZE)
    faulty.put(ns, range(6))
    store._files.forget(1)
    rule = faulty.fs.add(FailOp("open", path="*.seg", errno=errno.EMFILE))
    assert faulty.check(ns, range(6)) == set()
    faulty.fs.remove(rule)
    assert faulty.check(ns, range(6)) == set(range(6))


def test_a_byte_that_flips_on_its_way_once_is_read_again(faulty):
    store = faulty.open()
    ns = store.namespace({"m": 1}, SIZE)
    faulty.put(ns, range(6))
    faulty.fs.add(FlipByte(path="*.seg", times=1, offset=3 * 4096 + 100))
    assert faulty.check(ns, range(6)) == set(range(6))
    assert store.stats().corrupt_pages == 0


def test_a_failed_sync_poisons_writes_and_reads_go_on(faulty):
    store = faulty.open()
    ns = store.namespace({"m": 1}, SIZE)
    faulty.put(ns, range(6))
    faulty.fs.add(FailOp("sync", path="*.seg", times=1))
    for call in (store.sync, store.sync, lambda: faulty.put(ns, [9]), lambda: ns.delete_many(faulty.keys([0])), store.gc):
        with pytest.raises(PoisonedError, match="syncing a segment"):
            call()
    assert faulty.check(ns, range(6)) == set(range(6))
    store.close()
    ns = faulty.open().namespace({"m": 1}, SIZE)
    assert faulty.check(ns, range(6)) == set(range(6))
    assert faulty.put(ns, [9]) == [True]


def test_a_file_system_without_direct_io_is_written_through_the_cache(world):
    world.fs = MemoryFileSystem(direct=False)
    store = world.open()
    assert not store.stats().direct_io
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(40))
    assert world.check(ns, range(40)) == set(range(40))
    assert store.stats().bounced_bytes == 0


def test_a_page_that_is_replaced_while_its_bytes_are_found_wrong_is_read_where_it_is_now(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, [1, 2])
    place = faulty.store._log.current_places(ns.index_keys(faulty.keys([2])))[0]
    faulty.fs.add(FlipByte(place.offset + 10, path="*.seg"))
    reads = []

    def replaced(op, _):
        reads.append(op)
        if reads.count("preadv") == 2:  # the second look
            faulty.fs.inner.on_op = None
            ns.delete_many(faulty.keys([2]))
            faulty.put(ns, [2])

    faulty.fs.inner.on_op = replaced
    assert faulty.check(ns, [1, 2]) == {1, 2}
    assert faulty.fs.inner.on_op is None
    assert faulty.store.stats().corrupt_pages == 0
