"""One page by the short way: into memory that is asked for while the disk reads, and accounted for as by the long one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.testing import FlipByte, Hang
from lsmkv_tensor import PageStore
from lsmkv_tensor.errors import ClosedError
from lsmkv_tensor.vlog.bounce import HUGE
from lsmkv_tensor.vlog.disks import DISK_SHIFT
from lsmkv_tensor.vlog.staging import StagingPool
from tests.tensor_runtime.conftest import lent
from tests.tensor_runtime.test_past_reads import CANARY, SIZE, QueueingWorld


@pytest.fixture
def world():
    yield from lent(QueueingWorld())


def remembered(world, ids=range(4), **options):
    """A namespace of pages whose places are remembered and that no cache holds, in a store opened again."""
    world.filled(ids, **options)
    world.store.close()
    store = world.open(**options)
    while store.step():
        pass
    ns = store.namespace({"m": 1}, SIZE)
    world.let_go()
    return ns


class Asked:
    """Memory that counts how often it was asked for, and does something then."""

    def __init__(self, then=lambda: None, *, room=True):
        self.times, self.page, self._then, self._room = 0, bytearray([CANARY]) * SIZE, then, room

    def __call__(self):
        self.times += 1
        self._then()
        return [memoryview(self.page)] if self._room else None


def short(world, ns, i, memory, until=None):
    """Read a page the short way; whether it came."""
    came = ns.read_at_once(world.key(i), memory, until)
    if came is not None:
        assert bytes(memory.page) == world.page(i, SIZE)
        assert came.nbytes == SIZE
    return came is not None


def test_memory_is_asked_for_once_while_the_disk_reads(world):
    ns = remembered(world)
    rule = world.fs.add(Hang("queued", path="*.seg"))

    def then():
        assert world.fs.hits(rule) == 1
        assert world.store._services.queues.staging.lent_bytes
        rule.event.set()

    memory = Asked(then)
    assert short(world, ns, 0, memory)
    assert memory.times == 1
    assert world.store._services.queues.staging.lent_bytes == 0


def test_without_memory_nothing_is_said_and_nothing_accounted_for_and_the_page_can_be_read(world):
    ns = remembered(world)
    before = world.store.stats()
    memory = Asked(room=False)
    assert not short(world, ns, 0, memory)
    assert memory.times == 1
    now = world.store.stats()
    assert (now.hits, now.misses, now.read_bytes) == (before.hits, before.misses, before.read_bytes)
    assert now.hanging_reads == 0
    assert world.get(ns, [0], deadline_s=5)[0] == {0}
    assert world.store._services.queues.staging.lent_bytes == 0


def test_an_error_of_who_is_asked_for_memory_is_his_and_the_store_goes_on_and_closes(world):
    ns = remembered(world)

    def then():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        short(world, ns, 0, Asked(then))
    assert world.store.stats().hanging_reads == 0
    assert world.store._services.queues.staging.lent_bytes == 0
    assert world.get(ns, range(4), deadline_s=5)[0] == set(range(4))
    world.store.close()


def test_what_the_page_cache_holds_comes_from_there(world):
    ns = remembered(world)
    for _ in range(2):
        world.get(ns, [0], deadline_s=5)
    memory = Asked()
    assert world.begun(lambda: short(world, ns, 0, memory)) == 0
    assert ns.read_at_once(world.key(0), memory, None) == (SIZE, False)


@pytest.mark.parametrize("way", ["get", "short"])
@pytest.mark.parametrize("what", ["is wrong", "goes"])
def test_a_page_that_the_page_cache_has_wrong_or_lets_go_of_does_not_come_from_there(world, what, way):
    ns = remembered(world)
    for _ in range(2):
        world.get(ns, [2], deadline_s=5)
    place = world.store._log.current_places(ns.index_keys(world.keys([2])))[0]
    if what == "is wrong":
        world.fs.add(FlipByte(place.offset + SIZE - 1, path="*.seg", times=1))
    else:
        world.fs.inner.on_op = lambda op, _: world.let_go() if op == "preadv_cached" else None
    if way == "short":
        assert not short(world, ns, 2, Asked())
    assert world.get(ns, [2], deadline_s=5)[0] == {2}
    world.fs.inner.on_op = None
    assert world.store.stats().corrupt_pages == 0


@pytest.mark.parametrize("why", ["absent", "deleted", "waits", "over", "left to others", "encoded"])
def test_of_all_else_nothing_is_said_and_no_memory_asked_for(world, why):
    codec = "shuffle_zstd" if why == "encoded" else "raw"
    store = world.open(put_queue_bytes=8 << 20)
    pages = [bytes(SIZE)] * 4 if why == "encoded" else world.pages(range(4), SIZE)
    assert all(store.namespace({"m": 1, "dtype": "bfloat16"}, SIZE, codec=codec).put_many(world.keys(range(4)), pages, wait=True))
    world.let_go()
    ns = store.namespace({"m": 1, "dtype": "bfloat16"}, SIZE, codec=codec)
    for _ in range(3):  # its place is remembered
        assert ns.get_into([world.key(1)], [bytearray(SIZE)]) == [True]
    i, until = 1, None
    if why == "absent":
        i = 20
    elif why == "deleted":
        ns.delete_many([world.key(1)])
    elif why == "waits":
        ns.delete_many([world.key(1)])
        ns.put_many([world.key(1)], world.pages([1], SIZE), wait=False)
    elif why == "over":
        until = world.clock.monotonic()
    elif why == "left to others":
        i = 0
        world.get(ns, [0], deadline_s=5)
    memory = Asked()
    assert not short(world, ns, i, memory, until)
    assert memory.times == 0
    assert not any(byte != CANARY for byte in memory.page)


def test_a_page_that_is_wrong_does_not_come_and_is_counted_by_the_long_way_only(world):
    ns = remembered(world)
    place = world.store._log.current_places(ns.index_keys(world.keys([2])))[0]
    world.fs.add(FlipByte(place.offset + 100, path="*.seg"))
    memory = Asked()
    assert not short(world, ns, 2, memory)
    assert not any(byte != CANARY for byte in memory.page)
    assert world.store.stats().corrupt_pages == 0
    assert world.get(ns, [2], deadline_s=5)[0] == set()
    stats = world.store.stats()
    assert (stats.corrupt_pages, stats.misses, stats.hits) == (1, 1, 0)


def test_a_late_page_does_not_touch_the_memory_afterwards(world):
    ns = remembered(world)
    rule = world.fs.add(Hang("queued", path="*.seg"))
    memory = Asked(lambda: world.clock.advance(10))
    assert not short(world, ns, 0, memory, world.clock.monotonic() + 9)
    assert world.store.stats().hanging_reads == 1
    rule.event.set()
    assert world.store.stats().hanging_reads == 0
    assert not any(byte != CANARY for byte in memory.page)


def test_a_closed_store_says_so(world):
    ns = remembered(world)
    world.store.close()
    assert ns.read_at_once(world.key(0), Asked(), None) is None
    with pytest.raises(ClosedError):
        ns.get_into([world.key(0)], [bytearray(SIZE)])


def test_while_the_disk_is_left_alone_nothing_is_read(world):
    ns = remembered(world, breaker_failures=1)
    world.store._services.breaker.failed("read", OSError())
    assert world.begun(lambda: short(world, ns, 0, Asked())) == 0


def test_of_several_disks_one_that_is_left_alone_is_not_read(world):
    world.store = PageStore.open(["/store", "/disk-b"], options=world.options(breaker_failures=1))
    ns = world.store.namespace({"m": 1}, SIZE)
    for i in range(0, 80, 8):
        world.put(ns, range(i, i + 8))
    for _ in range(3):  # their segments are open, their places remembered, and the page cache holds them
        world.get(ns, range(80), deadline_s=5)
    there = {i: world.store._log.current_places(ns.index_keys(world.keys([i])))[0].segment >> DISK_SHIFT for i in range(80)}
    assert set(there.values()) == {0, 1}
    world.store._services.disk_breakers.note([1], {1: OSError()})
    for i, disk in there.items():
        memory = Asked()
        assert short(world, ns, i, memory) == (disk == 0)
        assert memory.times == (disk == 0)


ACCOUNT = ("hits", "misses", "read_bytes", "corrupt_pages", "late_pages", "asked_tokens", "hit_tokens")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from([None, 0, 5])), min_size=1, max_size=8),
    st.sampled_from(["get", "ask"]),
)
def test_the_account_is_that_of_the_long_way(calls, kind):
    """One store remembers places, the other does not: the same pages come, and the same is told of them."""
    told = []
    for known in (32_768, 0):
        world = QueueingWorld()
        ns = remembered(world, known_pages=known)
        came = []
        for i, gone, deadline in calls:
            if gone:
                world.let_go()
            if kind == "ask":
                ns.contains_prefix([world.key(i)])
            got, copied, _ = world.get(ns, [i], deadline_s=deadline)
            came.append((got, deadline and copied))
        services = world.store._services
        stats = world.store.stats()
        account = {name: getattr(stats, name) for name in ACCOUNT if hasattr(stats, name)}
        calls_noted = {what: times.calls for what, times in services.times.told().items()}
        touched = [(note.kind, [note.prefix + key for key in note.keys]) for note in world.store._log.keeper.touches.take(1000)]
        told.append((came, account, services.waterfall.told(), calls_noted["read"], services.loads.batches, touched))
        world.store.close()
    assert told[0] == told[1]


def test_small_buffers_of_huge_pages_share_one_and_lie_apart():
    pool = StagingPool(8 * HUGE, huge=True)
    lent_out = [pool.take(size) for size in (1, 65_536, 65_537, 200_000, HUGE - 1, HUGE, HUGE + 1)]
    for at, buffer in enumerate(lent_out):
        buffer.array[:] = at
        assert len(buffer.view) == len(buffer.array) == buffer.size
        assert not buffer.array.__array_interface__["data"][0] % min(buffer.size, 4096)
    assert all((buffer.array == at).all() for at, buffer in enumerate(lent_out))
    of_one = [buffer.array.__array_interface__["data"][0] // HUGE for buffer in lent_out[:2]]
    assert of_one[0] == of_one[1]
    kept = pool.kept_bytes
    for buffer in lent_out:
        pool.give(buffer)
    assert pool.lent_bytes == 0
    assert kept <= pool.kept_bytes
    again = [pool.take(65_536) for _ in range(HUGE // 65_536)]
    starts = sorted(buffer.array.__array_interface__["data"][0] for buffer in again)
    assert (np.diff(starts) >= 65_536).all()
    assert starts[-1] - starts[0] < HUGE
