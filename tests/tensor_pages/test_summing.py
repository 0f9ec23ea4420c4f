"""Pages are checksummed while they are written, where the store has threads: what is on disk is the same."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from lsmkv.testing.faults import FailOp, FaultFileSystem, ShortWrite
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.spans import PageSpans

ROOM = {"capacity_bytes": 80 << 20, "segment_bytes": 8 << 20}
SIZE = 100_000  # no whole number of blocks
PAGES = range(50)
SEGMENT = "/store/vlog/000001.seg"


def bytes_of(fs) -> bytes:
    file = fs.open(SEGMENT)
    return file.pread(file.size(), 0)


@pytest.mark.parametrize("size", [SIZE, 2 << 16])
def test_the_bytes_on_disk_do_not_depend_on_who_sums(make_world, size):
    written = []
    for threads in (1, 2):
        world = make_world()
        with world.open(read_threads=threads, **ROOM) as store:
            ns = store.namespace({"m": 1}, size)
            assert all(world.put(ns, PAGES))
            assert all(world.put(ns, range(100, 103)))
            assert world.check(ns, [*PAGES, 100, 101, 102]) == {*PAGES, 100, 101, 102}
            written.append(bytes_of(world.fs))
    assert written[0] == written[1]


def test_they_are_two_writes_of_which_the_header_is_in_the_second(world):
    writes = []
    world.fs.on_op = lambda op, path: writes.append(path) if op == "pwritev" and path.endswith(".seg") else None
    ns = world.open(read_threads=2, **ROOM).namespace({"m": 1}, SIZE)
    world.put(ns, [99])
    del writes[:]
    assert all(world.put(ns, PAGES))
    assert len(writes) == 2
    assert all(world.put(ns, range(50, 53)))
    assert len(writes) == 3, "a few bytes are not worth another thread"


@pytest.mark.parametrize("nth", [1, 2])
def test_if_either_write_fails_nothing_of_the_call_is_kept_and_the_next_one_is_right(world, nth):
    world.fs = FaultFileSystem(MemoryFileSystem())
    store = world.open(read_threads=2, **ROOM)
    ns = store.namespace({"m": 1}, SIZE)
    assert all(world.put(ns, range(50, 55)))
    rule = world.fs.add(FailOp("pwritev", path="*.seg", errno=errno.EIO, nth=nth, times=1))
    assert world.put(ns, PAGES) == [False] * len(PAGES)
    assert world.fs.hits(rule)
    assert world.check(ns, [*PAGES, *range(50, 55)]) == set(range(50, 55))
    assert all(world.put(ns, PAGES))
    ns = world.reopen(read_threads=2, **ROOM).namespace({"m": 1}, SIZE)
    assert world.check(ns, [*PAGES, *range(50, 55)]) == {*PAGES, *range(50, 55)}


def test_short_writes_of_both_are_continued(world):
    world.fs = FaultFileSystem(MemoryFileSystem())
    store = world.open(read_threads=2, direct_io="off", **ROOM)
    ns = store.namespace({"m": 1}, SIZE)
    world.fs.add(ShortWrite(size=70_000, path="*.seg", probability=0.5))
    assert all(world.put(ns, PAGES))
    assert world.check(ns, PAGES) == set(PAGES)


def test_pages_of_many_spans_are_summed_in_their_order(world):
    ns = world.open(read_threads=2, **ROOM).namespace({"m": 1}, SIZE)
    memory = np.frombuffer(b"".join(world.pages(PAGES, SIZE)), np.uint8).copy()
    sizes = np.array([1, 999, SIZE - 1000])
    starts = memory.ctypes.data + np.arange(len(PAGES))[:, None] * SIZE + np.array([0, 1, 1000])
    assert all(ns.put_many(world.keys(PAGES), PageSpans(starts, sizes, memory)))
    assert world.check(ns, PAGES) == set(PAGES)
