"""The power fails at every step in turn. What was synced is there; what is delivered is right; the store goes on."""

from __future__ import annotations

import contextlib

import pytest

from lsmkv.env.rng import seeded
from lsmkv_tensor.errors import LsmError
from lsmkv_tensor.pages import PageStore
from tests.power import PowerOff

SIZE = 4000
CHANGING = {"open", "rename", "unlink", "pwritev", "sync", "sync_dir", "allocate", "truncate", "mkdir"}


class Story:
    """Puts, deletes, syncs, collections and evictions; knows what must and what may be there at any moment."""

    def __init__(self, world):
        self.world = world
        self.synced: set[int] = set()
        self.ns = None

    def tell(self):
        world = self.world
        store = world.open()
        self.ns = store.namespace({"m": 1}, SIZE)
        self.put(range(10))
        self.sync(store)
        self.put(range(10, 30))
        self.delete([1, 2, 3, 11, 12])
        self.sync(store)
        store.gc(max_live=0.9)
        self.put(range(30, 50))
        self.sync(store)
        self.put(range(50, 80))
        self.delete(range(40, 46))
        self.put([1, 2])
        store.gc(max_live=0.9)
        store.close()

    def put(self, ids):
        before, self.synced = self.synced, set()  # while this goes on eviction may take anything
        if not all(self.world.put(self.ns, ids)):
            raise OSError
        self.synced = before & self.ns_pages()

    def ns_pages(self):
        known = {self.world.key(i): i for i in range(100)}
        return set(map(known.__getitem__, self.ns.keys()))

    def delete(self, ids):
        self.synced -= set(ids)
        self.ns.delete_many(self.world.keys(ids))

    def sync(self, store: PageStore):
        there = self.ns_pages()
        store.sync()
        self.synced = there


def steps(make_world) -> int:
    world = make_world()
    cut = PowerOff(world.fs, 0, CHANGING.__contains__)
    Story(world).tell()
    return cut.count


@pytest.mark.parametrize("third", range(3))
def test_power_cut_at_every_step(make_world, third):
    """Every third step each: once with everything unsynced lost, twice with a part of it left by chance.

    How many writes a frame takes depends on how the memory it comes from is aligned, so the last steps may not be reached.
    """
    total = steps(make_world)
    assert total > 60
    for at in range(1 + third, total + 1, 3):
        world = make_world()
        cut = PowerOff(world.fs, at, CHANGING.__contains__)
        story = Story(world)
        with contextlib.suppress(LsmError, OSError):
            story.tell()
        assert cut.count >= min(at, total * 9 // 10)
        world.fs.on_op = None
        store = world.crash(seeded(at) if third else None)
        ns = store.namespace({"m": 1}, SIZE)
        there = world.check(ns, range(80))
        assert story.synced <= there, f"step {at}: synced pages {story.synced - there} are gone"
        assert len(list(ns.keys())) == store.stats().pages == len(there)
        assert world.fs.total_bytes("/store") <= store.stats().capacity_bytes
        assert all(world.put(ns, range(80, 100)))
        store.gc(max_live=0.9)
        assert world.check(ns, range(80, 100)) == set(range(80, 100))
        world.check(ns, range(80))
        store.close()


@pytest.mark.parametrize("seed", range(6))
def test_process_death_loses_nothing_that_was_put(make_world, seed):
    """Not a power cut: what reached the kernel survives, so every put that returned is there."""
    world = make_world()
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    rng = seeded(seed)
    alive = set()
    for i in range(int(rng.random() * 30)):
        world.put(ns, [i])
        alive.add(i)
    gone = {i for i in alive if rng.random() < 0.3}
    ns.delete_many(world.keys(gone))
    disk = world.fs
    everything = {name: disk.open(f"/store/vlog/{name}").pread(1 << 20, 0) for name in disk.listdir("/store/vlog")}
    index = {name: disk.open(f"/store/index/{name}").pread(1 << 20, 0) for name in disk.listdir("/store/index")}
    stamp = disk.open("/store/STORE").pread(1 << 20, 0)
    after = make_world()
    for directory, files in (("vlog", everything), ("index", index), ("", {"STORE": stamp})):
        after.fs.mkdir(f"/store/{directory}")
        for name, data in files.items():
            if name != "LOCK":
                after.fs.open(f"/store/{directory}/{name}".replace("//", "/"), "create").pwritev([data], 0)
    ns = after.open().namespace({"m": 1}, SIZE)
    assert after.check(ns, range(30)) == alive - gone
    assert after.put(ns, [99]) == [True]
    assert after.check(ns, [99]) == {99}
    after.store.close()
    store.close()


def test_a_crash_while_the_store_is_made_leaves_one_that_can_be_made(make_world):
    for at in range(1, 40):
        world = make_world()
        PowerOff(world.fs, at, CHANGING.__contains__)
        try:
            world.open().close()
        except (LsmError, OSError):
            pass
        else:
            break
        world.fs.on_op = None
        broken = world.fs
        for seed in (None, at, 1000 + at):
            world.fs = broken.crash(None if seed is None else seeded(seed))
            store = world.open()
            ns = store.namespace({"m": 1}, SIZE)
            assert world.put(ns, [1]) == [True]
            assert world.check(ns, [1]) == {1}
    else:
        pytest.fail("the store was never made")


def test_what_a_power_cut_tore_is_not_said_to_be_there(make_world):
    """put_many said True for pages that the index named and whose unsynced bytes were torn; after a sync they were gone."""
    torn = 0
    for seed in range(40):
        world = make_world()
        ns = world.open().namespace({"m": 1}, SIZE)
        world.put(ns, [99])
        world.store.sync()
        world.put(ns, range(8))
        world.crash(seeded(seed))
        ns = world.store.namespace({"m": 1}, SIZE)
        named = int(ns.contains(world.keys(range(8))).sum())
        assert world.put(ns, range(8)) == [True] * 8
        torn += world.store.stats().corrupt_pages
        hits = world.store.stats().hits
        world.store.sync()
        assert world.read(ns, range(8)) == dict(zip(range(8), world.pages(range(8), SIZE), strict=True))
        assert world.store.stats().hits == hits + 8
        reads = world.store.stats().read_bytes
        assert world.put(ns, range(8)) == [True] * 8, "what was found whole is not read again"
        assert world.store.stats().read_bytes == reads
        assert named <= 8
    assert torn > 0, "no seed tore a page: the test shows nothing"
