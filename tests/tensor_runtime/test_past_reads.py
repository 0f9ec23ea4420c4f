"""Pages that no cache holds are read past the page cache, in a queue that the caller may leave; every byte of them is checked."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.testing import FailOp, FaultFileSystem, FlipByte, Hang, MemoryFileSystem
from lsmkv.testing.memfile import MemoryFile
from lsmkv_tensor.vlog import past, queues, single
from lsmkv_tensor.vlog.bringing import TRUST, Bringing
from lsmkv_tensor.vlog.staging import StagingPool
from tests.tensor_pages.conftest import INDEX
from tests.tensor_runtime.conftest import Call, FaultyWorld, lent

SIZE = 70_000
SEGMENT = 2 << 20
CANARY = 0xA5


class QueueingWorld(FaultyWorld):
    """A world whose disk has a page cache that can be asked, and queues of reads."""

    def __init__(self):
        super().__init__()
        self.fs = FaultFileSystem(MemoryFileSystem(page_cache=True, queues=True))

    def options(self, **changes):
        sizes = {"segment_bytes": SEGMENT, "capacity_bytes": INDEX + 8192 + 6 * SEGMENT}
        return super().options(**(sizes | changes))

    def filled(self, ids, size=SIZE, **options):
        ns = self.open(**options).namespace({"m": 1}, size)
        self.put(ns, ids)
        return ns

    def get(self, ns, ids, size=SIZE, **when):
        """What came, which pages came through memory of the store, and the caller's memory; every byte is compared."""
        ids, copied = list(ids), set()
        out = np.full((len(ids), size), CANARY, np.uint8)
        flags = ns.get_into(self.keys(ids), out, copied=copied, **when)
        for at, flag in enumerate(flags):
            if flag:
                assert out[at].tobytes() == self.page(ids[at], size)
        return {i for i, flag in zip(ids, flags, strict=True) if flag}, {ids[at] for at in copied}, out

    def let_go(self):
        """Empty the page cache."""
        for data in self.fs.inner._tree.files("/"):
            data.cached.clear()

    def begun(self, call):
        """How many reads a call begins in queues."""
        rule = self.fs.add(FlipByte(1 << 60, path="*.seg"))
        queued = self.fs.add(Hang("queued", path="*.seg"))
        queued.event.set()
        call()
        self.fs.remove(rule)
        hits = self.fs.hits(queued)
        self.fs.remove(queued)
        return hits


@pytest.fixture
def world():
    yield from lent(QueueingWorld())


def test_pages_that_no_cache_holds_are_read_past_it_and_leave_nothing_there(world):
    ns = world.filled(range(9))
    assert world.begun(lambda: world.get(ns, [*range(9), 20], deadline_s=5)) == 2
    assert not any(data.cached for data in world.fs.inner._tree.files("/vlog"))
    stats = world.store.stats()
    assert (stats.hits, stats.misses, stats.late_pages, stats.read_bytes, stats.hanging_reads) == (9, 1, 0, 9 * SIZE, 0)
    memory = world.store._services.queues.staging
    assert memory.lent_bytes == 0


def test_no_thread_is_called(world):
    ns = world.filled(range(9))
    world.get(ns, range(9), deadline_s=5)
    assert world.store._services.attempts._threads <= 1  # it opened the segment
    world.store._services.attempts.stop(60)
    assert world.get(ns, range(3), deadline_s=5)[0] == set()  # read lately: a thread would be called
    assert world.get(ns, range(5, 9), deadline_s=5)[0] == set()
    world.let_go()
    assert world.get(ns, range(3), deadline_s=5)[0] == {0, 1, 2}  # as if for the first time


def test_the_second_read_of_a_place_leaves_it_in_the_page_cache_and_the_third_is_from_there(world):
    ns = world.filled(range(8))
    calls = [world.begun(lambda: world.get(ns, range(8), deadline_s=5)) for _ in range(4)]
    assert calls == [2, 0, 0, 0]
    assert world.get(ns, range(8), deadline_s=5)[1] == set()
    world.let_go()
    assert [world.begun(lambda: world.get(ns, range(8), deadline_s=5)) for _ in range(3)] == [2, 0, 0]


class _Silent(MemoryFile):
    """A file of which the system cannot tell what its page cache holds."""

    __slots__ = ()

    def holds(self, offset, size):
        del offset, size


class _SilentSystem(MemoryFileSystem):
    """Kernels before 6.5."""

    def open(self, path, mode="r", *, direct=False):
        file = super().open(path, mode, direct=direct)
        file.__class__ = _Silent
        return file


def test_where_the_page_cache_cannot_be_asked_a_place_that_was_read_is_looked_for_there_first(world):
    world.fs = FaultFileSystem(_SilentSystem(page_cache=True, queues=True))
    ns = world.filled(range(8))
    assert [world.begun(lambda: world.get(ns, range(8), deadline_s=5)) for _ in range(4)] == [2, 0, 0, 0]
    world.let_go()
    assert [world.begun(lambda: world.get(ns, range(8), deadline_s=5)) for _ in range(4)] == [0, 0, 0, 0]
    assert world.get(ns, range(8))[:2] == (set(range(8)), set())


def test_single_pages_speak_for_bringing_when_they_are_found_again(world):
    ns = world.filled(range(2))
    world.get(ns, [1], deadline_s=9)  # the segment is open from here on
    bringing = world.store._reader._at_once._bringing
    for owed, trust in ((0, TRUST), (1, TRUST), (0, TRUST + 1), (0, TRUST + 1)):
        assert world.get(ns, [0], deadline_s=9)[0] == {0}
        assert (bringing._lent, bringing._trust) == (owed, trust)


def test_without_a_deadline_too(world):
    ns = world.filled(range(9))
    assert world.begun(lambda: world.get(ns, range(9))) == 2
    assert world.begun(lambda: world.get(ns, range(9))) == 0


@pytest.mark.parametrize("deadline", [None, 5])
@pytest.mark.parametrize("size", [5000, SIZE])
def test_encoded_pages_among_others_are_not_taken_for_the_pages(world, size, deadline):
    """What lies on the disk is another number of bytes, and is as sound as they are."""
    store = world.open()
    ways = [store.namespace({"m": 1, "dtype": "bfloat16"}, size, codec=codec) for codec in ("raw", "shuffle_zstd")]
    even = [bytes([i]) * size for i in range(9)]
    for i, page in enumerate(even):
        assert ways[i % 2].put_many([world.key(i)], [page]) == [True]
    assert store.stats().put_stored_bytes < 9 * size
    for ids in (range(9), range(1, 9, 2), [3]):
        world.let_go()
        out = np.full((len(ids), size), CANARY, np.uint8)
        assert all(ways[0].get_into(world.keys(ids), out, deadline_s=deadline))
        assert [out[at].tobytes() for at in range(len(ids))] == [even[i] for i in ids]


@pytest.mark.parametrize("deadline", [None, 5])
@pytest.mark.parametrize("size", [5000, SIZE])
def test_small_pages_are_in_the_page_cache_after_two_reads_too(world, size, deadline):
    """The thread that read them the second time took that for a first read."""
    ns = world.filled([1], size)
    assert [world.begun(lambda: world.get(ns, [1], size, deadline_s=deadline)) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("size", [3 * past.SLOT_BYTES + 777, past.SLOT_BYTES, 5000, 1])
def test_pages_of_any_size_and_spans_of_any_size(world, size):
    ns = world.filled(range(2), size, segment_bytes=8 << 20, capacity_bytes=INDEX + 8192 + (24 << 20))
    assert world.begun(lambda: world.get(ns, range(2), size, deadline_s=5)) >= 1
    world.store.close()
    ns = world.open(segment_bytes=8 << 20, capacity_bytes=INDEX + 8192 + (24 << 20)).namespace({"m": 1}, size)
    parts = [[bytearray(size // 3), bytearray(0), bytearray(size - size // 3)] for _ in range(2)]
    assert ns.get_into(world.keys(range(2)), parts, 5) == [True] * 2
    assert [b"".join(page) for page in parts] == world.pages(range(2), size)


def test_a_read_that_hangs_is_late_and_its_memory_is_nobodys_until_it_ends(world):
    ns = world.filled(range(20))
    rule = world.fs.add(Hang("queued", path="*.seg", nth=2, times=1))
    call = Call(lambda: world.get(ns, range(20), deadline_s=9))
    assert rule.reached.wait(60)
    world.clock.advance(10)
    got, copied, out = call.result()
    assert got == copied == set(range(7))  # the first read brought so many
    assert (out[7:] == CANARY).all()
    stats, memory = world.store.stats(), world.store._services.queues.staging
    assert (stats.hits, stats.late_pages, stats.hanging_reads) == (7, 13, 1)
    held = memory.lent_bytes
    assert held
    assert world.store.health().reasons == ("1 reads hang",)
    world.let_go()
    assert world.get(ns, range(20), deadline_s=900)[0] == set(range(20))
    assert memory.lent_bytes == held
    rule.event.set()
    assert world.store.stats().hanging_reads == 0
    assert memory.lent_bytes == 0
    assert (out[7:] == CANARY).all()


def test_one_page_that_hangs_is_late_and_its_memory_is_nobodys_until_it_ends(world):
    ns = world.filled(range(2))
    world.get(ns, [1], deadline_s=9)  # the segment is open from here on
    rule = world.fs.add(Hang("queued", path="*.seg"))
    call = Call(lambda: world.get(ns, [0], deadline_s=9))
    assert rule.reached.wait(60)
    world.clock.advance(10)
    got, copied, out = call.result()
    assert (got, copied) == (set(), set())
    assert (out == CANARY).all()
    stats, memory = world.store.stats(), world.store._services.queues.staging
    assert (stats.late_pages, stats.hanging_reads) == (1, 1)
    assert memory.lent_bytes
    rule.event.set()
    assert world.store.stats().hanging_reads == 0
    assert memory.lent_bytes == 0
    assert (out == CANARY).all()


@pytest.mark.parametrize("size", [single.MOST_BYTES + 1, single.MOST_BYTES, SIZE, 777])
@pytest.mark.parametrize("trouble", ["wrong", "fails", "refused", "hopeless"])
def test_one_page_that_does_not_come_past_the_page_cache_is_brought_in_another_way(world, size, trouble):
    room = {"segment_bytes": 4 << 20, "capacity_bytes": INDEX + 8192 + (12 << 20)}
    ns = world.filled(range(2), size, **room)
    world.get(ns, [1], size, deadline_s=9)
    place = world.store._log.current_places(ns.index_keys(world.keys([0])))[0]
    if trouble == "refused":
        world.fs.add(FailOp("queued", errno=errno.EINVAL, path="*.seg"))
    elif trouble == "fails":
        world.fs.add(FailOp("queued", errno=errno.EIO, path="*.seg", times=1))
    else:
        world.fs.add(FlipByte(place.offset + size - 1, path="*.seg", times=1 if trouble == "wrong" else None))
    got, copied, _ = world.get(ns, [0], size, deadline_s=9)
    assert got == (set() if trouble == "hopeless" else {0})
    assert copied <= got
    stats = world.store.stats()
    assert (stats.corrupt_pages, stats.late_pages) == (int(trouble == "hopeless"), 0)
    assert world.store._services.queues.staging.lent_bytes == 0


def test_one_page_comes_past_the_page_cache_and_through_memory_of_the_store(world):
    ns = world.filled(range(3))
    world.get(ns, [1], deadline_s=9)
    calls: list[set[int]] = []
    assert world.begun(lambda: calls.append(world.get(ns, [0], deadline_s=9)[1])) == 1
    assert not any(data.cached for data in world.fs.inner._tree.files("/vlog"))
    world.store._services.attempts.stop(60)
    assert world.begun(lambda: calls.append(world.get(ns, [2], deadline_s=9)[1])) == 1, "no thread is needed"
    assert calls == [{0}, {2}]


@pytest.mark.parametrize("when", [{}, {"deadline_s": 9}])
def test_pages_that_came_through_memory_of_the_store_are_named(world, when):
    ns = world.filled(range(9))
    assert world.get(ns, [0, 1, 20, 2], **when)[:2] == ({0, 1, 2}, {0, 1, 2})
    world.get(ns, range(3), **when)
    assert world.get(ns, [2, 20, 1, 0], **when)[:2] == ({0, 1, 2}, set())


def test_calls_that_were_left_are_bounded(world):
    ns = world.filled(range(2))
    rules = []
    for _ in range(queues.MAX_LEFT):
        world.fs.clear()
        world.let_go()
        world.store._reader._at_once._bringing = Bringing()
        rules.append(world.fs.add(Hang("queued", path="*.seg", times=1)))
        call = Call(lambda: world.get(ns, range(2), deadline_s=9))
        assert rules[-1].reached.wait(60)
        world.clock.advance(10)
        assert call.result()[0] == set()
    world.fs.clear()
    world.store._reader._at_once._bringing = Bringing()
    assert world.begun(lambda: world.get(ns, range(2))) == 0
    for rule in rules:
        rule.event.set()
    assert world.store.stats().hanging_reads == 0


class Poor(StagingPool):
    """There is no memory."""

    def take(self, nbytes):
        raise OSError(errno.ENOMEM, f"cannot allocate {nbytes}")


@pytest.mark.parametrize("ids", [range(2), range(1)])
def test_without_memory_to_read_into_pages_come_in_another_way_and_no_queue_is_lost(world, ids):
    ns = world.filled(range(2))
    assert world.get(ns, [1])[0] == {1}  # the segment is open from here on
    queues = world.store._services.queues
    idle, staging = list(queues._idle), queues.staging
    assert idle
    queues.staging = Poor()
    for _ in range(3):
        world.let_go()
        world.store._reader._at_once._bringing = world.store._reader.single.__self__._bringing = Bringing()
        assert world.get(ns, ids)[:2] == (set(ids), set())
    assert queues._idle == idle
    assert queues.left == 0
    queues.staging = staging


def test_reads_that_fail_are_made_in_another_way(world):
    ns = world.filled(range(9))
    world.fs.add(FailOp("queued", errno=errno.EAGAIN, path="*.seg"))
    assert world.get(ns, range(9), deadline_s=5)[0] == set(range(9))
    assert world.store.stats().read_errors == 0


def test_a_page_that_is_wrong_on_the_disk_is_a_miss(world):
    ns = world.filled(range(9))
    place = world.store._log.current_places(ns.index_keys(world.keys([2])))[0]
    world.fs.add(FlipByte(place.offset + 100, path="*.seg", times=1))
    assert world.get(ns, range(9), deadline_s=5)[0] == set(range(9))
    world.fs.clear()
    world.let_go()
    world.fs.add(FlipByte(place.offset + 100, path="*.seg"))
    assert world.get(ns, range(9), deadline_s=5)[0] == {0, 1, *range(3, 9)}
    assert (world.store.stats().corrupt_pages, world.store.stats().misses) == (1, 1)


def test_a_large_page_of_which_a_part_is_wrong_is_a_miss(world):
    size = 3 * past.SLOT_BYTES
    ns = world.filled([1], size, segment_bytes=8 << 20, capacity_bytes=INDEX + 8192 + (24 << 20))
    place = world.store._log.current_places(ns.index_keys(world.keys([1])))[0]
    world.fs.add(FlipByte(place.offset + past.SLOT_BYTES + 5, path="*.seg"))
    assert world.get(ns, [1], size, deadline_s=5)[0] == set()


@pytest.mark.parametrize(
    ("options", "begun"),
    [({"direct_io": "off"}, [0, 0]), ({"direct_io": "always"}, [2, 2]), ({"keep_cached": False}, [2, 2])],
)
def test_what_the_store_was_told_of_the_page_cache(world, options, begun):
    ns = world.filled(range(9), **options)
    assert [world.begun(lambda: world.get(ns, range(9), deadline_s=5)) for _ in range(2)] == begun


def test_an_index_in_memory_is_asked_by_the_caller_and_one_that_hangs_by_a_thread(world):
    ns = world.filled(range(4))
    world.store.close()
    ns = world.open(block_cache_bytes=0).namespace({"m": 1}, SIZE)
    assert world.get(ns, range(2), deadline_s=9)[0] == {0, 1}
    world.let_go()
    rule = world.fs.add(Hang("pread", path="*.sst"))
    call = Call(lambda: world.get(ns, range(4), deadline_s=9))
    assert rule.reached.wait(60)
    world.clock.advance(10)
    assert call.result()[0] == set()
    rule.event.set()
    assert world.store._services.attempts.stop(60) == 0
    world.fs.remove(rule)
    world.let_go()
    world.fs.add(FailOp("pread", path="*.sst"))
    assert world.get(ns, range(4), deadline_s=9)[0] == set()


@given(
    st.lists(st.lists(st.integers(0, 11), unique=True, min_size=1, max_size=12), min_size=1, max_size=4),
    st.sets(st.integers(0, 200)),
    st.sampled_from([None, 5]),
    st.integers(1, 6),
)
def test_whatever_the_page_cache_holds_the_same_pages_come(calls, gone, deadline, slots):
    """Blocks of the page cache go between calls and within them, and reads are of few pages or many."""
    world = QueueingWorld()
    ns = world.filled(range(8))
    inner = world.fs.inner

    def forget(op, path):
        if op in ("preadv_cached", "preadv") and path.endswith(".seg"):
            inner._tree.file(path).cached.difference_update(gone)

    inner.on_op = forget
    slot_bytes, past.SLOT_BYTES = past.SLOT_BYTES, slots * 20480
    try:
        for ids in calls:
            assert world.get(ns, ids, deadline_s=deadline)[0] == {i for i in ids if i < 8}
    finally:
        past.SLOT_BYTES = slot_bytes
        inner.on_op = None
        world.store.close()
