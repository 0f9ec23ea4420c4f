"""What goes wrong with the storage back ends of serving engines in the field, each as a test of this store."""

from __future__ import annotations

from lsmkv_tensor.vlog.layout import BLOCK

SIZE = 700
PER_SEGMENT = 13
FIRST = "/store/vlog/000001.seg"


def two_segments(world):
    """A closed store of two full segments: pages 0 to 12 in the first one."""
    ns = world.open().namespace({"m": 1}, SIZE)
    for start in (0, PER_SEGMENT):
        assert all(world.put(ns, range(start, start + PER_SEGMENT)))
    world.store.close()


def reopened(world):
    return world.open().namespace({"m": 1}, SIZE)


def exact(world, ns, ids):
    """What is delivered is what is counted: pages, bytes, and a recount of nothing else."""
    live = world.check(ns, ids)
    stats = world.store.stats()
    assert stats.pages == len(live) == len(list(ns.keys()))
    assert stats.live_bytes == len(live) * BLOCK
    return live


def test_a_restart_does_not_begin_with_an_empty_index(world):
    two_segments(world)
    ns = reopened(world)
    assert ns.contains_prefix(world.keys(range(30))) == 26
    assert exact(world, ns, range(30)) == set(range(26))


def test_a_truncated_record_is_a_miss_and_can_be_stored_again(world):
    two_segments(world)
    world.fs.open(FIRST, "rw").truncate(2 * BLOCK + SIZE // 2)  # inside the first page
    ns = reopened(world)
    assert world.check(ns, range(26)) == set(range(PER_SEGMENT, 26))
    assert all(world.put(ns, range(26)))
    assert exact(world, ns, range(26)) == set(range(26))


def test_a_flipped_bit_costs_one_page_and_is_never_delivered(world):
    two_segments(world)
    file = world.fs.open(FIRST, "rw")
    at = 5 * BLOCK + 123
    file.pwritev([bytes([file.pread(1, at)[0] ^ 4])], at)
    ns = reopened(world)
    assert exact(world, ns, range(26)) == set(range(26)) - {3}
    assert world.store.stats().corrupt_pages == 1


def test_a_missing_segment_costs_its_pages_and_no_others(world):
    two_segments(world)
    world.fs.unlink(FIRST)
    ns = reopened(world)
    assert exact(world, ns, range(26)) == set(range(PER_SEGMENT, 26))
    assert world.store.stats().lost_pages == PER_SEGMENT


def test_a_capacity_exceeded_by_what_is_offered_is_not_exceeded_on_disk(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    for start in range(0, 400, 20):
        world.put(ns, range(start, start + 20))
        on_disk = sum(world.fs.size(f"/store/{folder}/{name}") for folder in ("vlog", "index") for name in listed(world, folder))
        assert on_disk <= store.stats().capacity_bytes
    assert store.stats().evicted_pages > 0
    exact(world, ns, range(400))


def listed(world, folder):
    return world.fs.listdir(f"/store/{folder}")


def test_evicting_something_that_is_already_gone_harms_nothing(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    told = []
    ns.on_evict(lambda keys, sizes: told.extend(keys))
    for start in range(0, 400, 10):
        world.put(ns, range(start, start + 10))
        ns.delete_many(world.keys(range(start, start + 5)))  # deleted by their owner before their turn comes
    deleted = {world.key(i) for start in range(0, 400, 10) for i in range(start, start + 5)}
    assert told
    assert not set(told) & deleted, "nobody hears that a page was evicted which was gone"
    assert len(told) == len(set(told))
    assert exact(world, ns, range(400))


def test_deleting_gives_back_what_storing_took(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    for _ in range(40):  # five times what the store holds: a leak would fill it
        assert all(world.put(ns, range(10)))
        assert ns.delete_many(world.keys(range(10))) == 10
        assert ns.delete_many(world.keys(range(10))) == 0
    stats = store.stats()
    assert (stats.pages, stats.live_bytes, stats.evicted_pages, stats.declined_pages) == (0, 0, 0, 0)
    ns = world.reopen().namespace({"m": 1}, SIZE)
    assert exact(world, ns, range(10)) == set()
