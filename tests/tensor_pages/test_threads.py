"""Callers from several threads, with eviction and collection among them: no wrong byte, exact counts, no deadlock."""

from __future__ import annotations

import os
import threading
import time

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ThreadedScheduler
from lsmkv_tensor.errors import ClosedError

SIZE = 4000
ROUNDS = 60
CALLERS = 4
SECONDS = float(os.environ.get("LSMKV_THREADS_S", "0"))
"""Go on for so long: LSMKV_THREADS_S=20 for a soak."""


def test_four_callers_and_a_collector(world):
    world.segments = 8
    store = world.open(scheduler=ThreadedScheduler())
    ns = store.namespace({"m": 1}, SIZE)
    failures = []
    delivered = [0] * CALLERS
    until = time.monotonic() + SECONDS

    def guarded(work, n):
        def run():
            try:
                work(n)
            except BaseException as error:
                failures.append(error)

        return threading.Thread(target=run)

    def caller(n):
        rng = seeded(n)
        rounds = 0
        while rounds < ROUNDS or time.monotonic() < until:
            rounds += 1
            ids = [int(rng.random() * 150) for _ in range(8)]
            world.put(ns, ids)
            delivered[n] += len(world.check(ns, ids))
            if rng.random() < 0.3:
                ns.delete_many(world.keys(ids[:4]))

    def collector(_):
        rounds = 0
        while rounds < ROUNDS // 3 or time.monotonic() < until:
            rounds += 1
            store.gc(max_live=0.9)
            store.sync()

    threads = [guarded(caller, n) for n in range(CALLERS)] + [guarded(collector, CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert min(delivered) > ROUNDS
    live = world.check(ns, range(150))
    stats = store.stats()
    assert stats.pages == len(live) == len(list(ns.keys()))
    assert stats.live_bytes == len(live) * 4096
    ns = world.reopen().namespace({"m": 1}, SIZE)
    assert world.check(ns, range(150)) == live


def test_close_waits_for_calls_inside(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(5))
    inside, go_on, results = threading.Event(), threading.Event(), []

    def hold(op, path):
        if op == "preadv" and not inside.is_set():
            inside.set()
            go_on.wait(10)

    world.fs.on_op = hold
    reader = threading.Thread(target=lambda: results.append(world.check(ns, range(5))))
    reader.start()
    assert inside.wait(10)
    closer = threading.Thread(target=store.close)
    closer.start()
    while True:
        try:
            ns.contains(world.keys([1]))
        except ClosedError:
            break
    assert closer.is_alive()
    go_on.set()
    reader.join(10)
    closer.join(10)
    assert results == [set(range(5))]
    assert not closer.is_alive()


def test_a_segment_is_not_written_again_while_a_reader_holds_it(world):
    """The reader is stopped inside its read of the oldest segment; a put that needs that segment waits for it."""
    world.segments = 3
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(13))
    inside, go_on, results = threading.Event(), threading.Event(), []

    def hold(op, path):
        if op == "preadv" and path.endswith("000001.seg") and not inside.is_set():
            inside.set()
            go_on.wait(10)

    world.fs.on_op = hold
    reader = threading.Thread(target=lambda: results.append(world.check(ns, range(13))))
    reader.start()
    assert inside.wait(10)
    writer = threading.Thread(target=lambda: [world.put(ns, range(s, s + 13)) for s in range(100, 152, 13)])
    writer.start()
    held = store._space.segments[1]
    while held.pages:  # the writer evicts the index entries first
        assert writer.is_alive()
    assert (held.generation, held.readers) == (1, 1)
    go_on.set()
    reader.join(10)
    writer.join(10)
    assert results == [set(range(13))]
    assert held.generation > 1
    assert store.stats().corrupt_pages == 0
    assert world.check(ns, range(139, 152)) == set(range(139, 152))
