"""The power fails while callers and a collector are at work: a collector lets go of the lock while the log is synced."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter

import pytest

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ThreadedScheduler
from lsmkv_tensor.errors import LsmError
from lsmkv_tensor.vlog.layout import INDEX_KEY_BYTES, Place
from lsmkv_tensor.vlog.reserved import RESERVED
from lsmkv_tensor.vlog.segment import FREE, SEALED
from tests.power import PowerOff
from tests.tensor_pages.conftest import World

SIZE = 4000
KEPT = range(0, 60, 2)
CALLERS = 3


def counted(store):
    """Every segment counts what the index names in it, and nothing is named elsewhere."""
    found = Counter()
    for key, value in store._log.db.scan(start=RESERVED + b"\xff"):
        place = Place.unpack(value) if len(key) == INDEX_KEY_BYTES else None
        if place is not None:
            found[place.segment, place.generation] += 1
    segments = store._space.segments.values()
    assert {(s.number, s.generation): s.pages for s in segments if s.pages} == found
    assert all(s.live_bytes == 4096 * s.pages and not s.copies for s in segments)
    assert not any(s.pages for s in segments if s.state == FREE)


def work(world, ns, n, rounds):
    """Put pages and delete them again, but for the last; what is kept lies among them."""
    rng, mine = seeded(n), 1000 * (n + 1)
    for at in range(rounds):
        ids = range(mine + 20 * at, mine + 20 * at + 4 + int(rng.random() * 9))
        world.put(ns, ids)
        ns.delete_many(world.keys(ids))


@pytest.mark.parametrize("seed", range(10))
def test_power_cut_among_callers_and_a_collector(seed):
    world = World(segments=12)
    store = world.open(scheduler=ThreadedScheduler())
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(60))
    ns.delete_many(world.keys(range(1, 60, 2)))
    store.sync()
    rng = seeded(seed)
    PowerOff(world.fs, 20 + int(rng.random() * 300), {"pwritev", "sync", "unlink", "sync_dir"}.__contains__)

    def guarded(call):
        with contextlib.suppress(LsmError, OSError):
            call()

    def collect():
        for _ in range(12):
            store.gc(max_live=0.95)

    calls = [collect, *(lambda n=n: work(world, ns, n, 14) for n in range(CALLERS))]
    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store._space.evicted_pages == 0
    world.fs.on_op = None
    world.fs.power_off()
    guarded(store.close)  # its threads end
    store = world.crash(rng if seed % 2 else None)
    ns = store.namespace({"m": 1}, SIZE)
    counted(store)
    everything = [*range(60), *(i for n in range(CALLERS) for i in range(1000 * (n + 1), 1000 * (n + 1) + 300))]
    assert world.check(ns, everything) >= set(KEPT)
    counted(store)
    store.gc(max_live=0.95)
    counted(store)
    assert world.check(ns, everything) >= set(KEPT)
    assert not [s for s in store._space.segments.values() if s.state == SEALED and not s.pages]
    store.close()
