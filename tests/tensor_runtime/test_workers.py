"""Background workers have names and budgets, run when there is work, and end with their store."""

from __future__ import annotations

import os
import threading

import pytest

from lsmkv.testing import FailOp
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.runtime.workers import Workers
from lsmkv_tensor.upkeep import LATER_S
from lsmkv_tensor.vlog.space import AHEAD_FROM
from tests.tensor_pages.conftest import World
from tests.tensor_runtime.conftest import SIZE, Call

PER_SEGMENT = 13


def names():
    return sorted(t.name for t in threading.enumerate() if t.name.startswith("lsmkv"))


def test_a_step_collects_what_is_nearly_dead(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(3 * PER_SEGMENT))
    faulty.store.step()
    assert faulty.store.stats().gc_segments == 0
    ns.delete_many(faulty.keys(i for i in range(2 * PER_SEGMENT) if i % PER_SEGMENT))
    for _ in range(4):
        faulty.store.step()
    assert faulty.store.stats().gc_segments == 2
    assert faulty.check(ns, range(3 * PER_SEGMENT)) == {0, PER_SEGMENT, *range(2 * PER_SEGMENT, 3 * PER_SEGMENT)}


def test_a_segment_is_kept_free_ahead_of_need_and_owners_are_told(faulty):
    faulty.segments = AHEAD_FROM + 2
    ns = faulty.open().namespace({"m": 1}, SIZE)
    gone = []
    ns.on_evict(lambda keys, sizes: gone.extend(keys))
    for start in range(0, (AHEAD_FROM + 1) * PER_SEGMENT, PER_SEGMENT):
        faulty.put(ns, range(start, start + PER_SEGMENT))
    assert not gone
    assert faulty.store.stats().free_segments == 0
    faulty.store.step()
    assert faulty.store.stats().free_segments == 1
    assert gone
    assert not ns.contains(gone).any()


class Noted:
    """A manual scheduler that notes which workers were woken, and how much later they were to begin."""

    manual = True

    def __init__(self):
        self.wakes = []

    def start(self, name, step):
        return NotedWorker(name, self.wakes)


class NotedWorker:
    def __init__(self, name, wakes):
        self.name, self.wakes = name, wakes

    def wake(self, after_s=0.0):
        self.wakes.append((self.name, after_s))

    def stop(self):
        pass


def test_a_filled_segment_asks_for_a_step_later_unless_the_next_one_has_to_be_reclaimed(faulty):
    """Beside a burst of puts it would take the lock from them."""
    faulty.segments, noted = AHEAD_FROM + 2, Noted()
    ns = faulty.open(scheduler=noted).namespace({"m": 1}, SIZE)
    noted.wakes.clear()
    asked = []
    for start in range(0, (AHEAD_FROM + 1) * PER_SEGMENT, PER_SEGMENT):
        faulty.put(ns, range(start, start + PER_SEGMENT))
        asked.append({after for name, after in noted.wakes if name == "lsmkv-reclaim"})
        noted.wakes.clear()
    assert all(one <= {LATER_S} for one in asked[:-2])
    assert any(asked[:-2])
    assert 0.0 in asked[-1]


def test_a_collection_that_fails_is_told_to_the_breaker_and_raises_nothing(faulty):
    ns = faulty.open(breaker_failures=1).namespace({"m": 1}, SIZE)
    faulty.put(ns, range(3 * PER_SEGMENT))
    ns.delete_many(faulty.keys(i for i in range(2 * PER_SEGMENT) if i % PER_SEGMENT))
    faulty.fs.add(FailOp("pwritev"))
    faulty.store.step()
    assert faulty.store.health().state == "failing"
    faulty.fs.clear()
    faulty.clock.advance(60)
    faulty.store.step()
    faulty.store.step()
    assert faulty.store.health().state == "ok"
    assert faulty.store.stats().gc_segments > 0


def busy(tmp_path):
    """A store whose every worker has something to do."""
    options = StoreOptions(
        capacity_bytes=8 << 20, segment_bytes=256 << 10, put_queue_bytes=1 << 20, gc_bytes_per_s=1 << 30, io_timeout_s=60
    )
    store = PageStore.open(tmp_path / "s", options=options)
    ns = store.namespace({"m": 1}, SIZE)
    assert not ns.contains(World.keys([1 << 40])).any()  # the index is asked by a thread that may be left
    progress = threading.Semaphore(0)

    def work(n):
        for i in range(n, 1 << 30, 4):
            World.put(ns, [i])
            World.check(ns, [i])
            if i % 3:
                ns.delete_many(World.keys([i - 1]))
            progress.release()

    calls = [Call(lambda n=n: work(n)) for n in range(4)]
    for _ in range(3000):
        assert progress.acquire(timeout=60)
    return store, calls


def test_workers_have_names_and_none_runs_after_close(tmp_path):
    store, calls = busy(tmp_path)
    assert {"lsmkv-put", "lsmkv-reclaim", "lsmkv-read"} <= set(names())
    store.close()
    for call in calls:
        with pytest.raises(Exception, match="closed"):
            call.result()
    assert names() == []


def test_a_child_of_a_busy_store_has_no_workers(tmp_path):
    store, calls = busy(tmp_path)
    child = os.fork()
    if not child:
        store.close()
        os._exit(0 if store.health().state == "closed" and store._services.workers.names == () else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.close()
    for call in calls:
        with pytest.raises(Exception, match="closed"):
            call.result()


def test_no_worker_starts_once_they_were_stopped():
    workers = Workers(None)
    workers.stop()
    workers.ensure("lsmkv-late", lambda: False).wake()
    assert "lsmkv-late" not in names()
