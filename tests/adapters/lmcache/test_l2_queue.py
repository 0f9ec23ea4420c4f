"""Objects of the L2 adapter that wait to be written: found, loaded and locked like others, and told once they are there."""

from __future__ import annotations

from threading import Thread

import pytest

from lsmkv.testing import FailOp, Hang
from tests.adapters.lmcache.conftest import SHAPE, Machine, listed, make_key, write_queued
from tests.adapters.lmcache.fakes import FP16, MemoryObj

KEYS = [make_key(i) for i in range(4)]


@pytest.fixture
def queued():
    found = Machine(1 << 20)
    yield found
    found.close()


def submit(machine, adapter, keys):
    """A store task whose objects wait in the queue."""
    task = adapter.submit_store_task(keys, machine.items(keys))
    adapter.wait_idle()
    assert adapter.pop_completed_store_tasks().keys() == {task}
    assert adapter.holding.store.stats().queued_pages


def test_a_task_ends_when_its_objects_are_copied(queued):
    adapter = queued.start()
    submit(queued, adapter, KEYS)
    assert queued.lookup(adapter, KEYS) == [True] * 4
    assert queued.load(adapter, KEYS) == [True] * 4
    assert (adapter.counts["stored_pages"], set(adapter.listener.keys), listed(adapter)) == (0, set(), [])
    write_queued(adapter)
    assert (adapter.counts["stored_pages"], set(adapter.listener.keys)) == (4, set(KEYS))
    assert set(listed(adapter)) == set(KEYS)
    assert adapter.get_usage().total_bytes_used == 4 * 5120


def test_what_waits_is_not_taken_twice(queued):
    adapter = queued.start()
    submit(queued, adapter, KEYS[:2])
    task = adapter.submit_store_task(KEYS, queued.items(KEYS))
    adapter.wait_idle()
    assert adapter.pop_completed_store_tasks() == {task: (True, 2 * 5120)}
    write_queued(adapter)
    assert (adapter.counts["stored_pages"], adapter.counts["present_pages"]) == (4, 2)
    assert adapter.published.count(("stored", 2)) == 2


def test_what_is_locked_while_it_waits_is_pinned_when_it_is_written(queued):
    adapter = queued.start()
    submit(queued, adapter, KEYS)
    assert queued.lookup(adapter, KEYS) == [True] * 4
    queued.unlock(adapter, KEYS[2:])
    write_queued(adapter)
    for i in range(100, 340, 8):
        queued.store(adapter, [make_key(i + n) for n in range(8)])
    assert queued.load(adapter, KEYS) == [True, True, False, False]
    queued.unlock(adapter, KEYS[:2])
    assert adapter.report_status()["pinned_bytes"] == 0


def test_what_cannot_be_written_is_counted_and_never_told(queued):
    adapter = queued.start()
    submit(queued, adapter, KEYS)
    queued.fs.add(FailOp("pwritev", path="*.seg"))
    write_queued(adapter)
    queued.fs.clear()
    assert (adapter.counts["failed_pages"], dict(adapter.listener.keys), listed(adapter)) == (4, {}, [])
    assert queued.lookup(adapter, KEYS) == [False] * 4
    assert queued.store(adapter, KEYS) == (True, 4 * 5120)
    assert set(listed(adapter)) == set(KEYS)


def test_what_waits_is_not_deleted_before_it_is_told(queued):
    adapter = queued.start()
    submit(queued, adapter, KEYS)
    adapter.delete(KEYS[:1])
    write_queued(adapter)
    assert set(adapter.listener.keys) == set(KEYS)
    adapter.delete(KEYS[:1])
    assert set(adapter.listener.keys) == set(KEYS[1:])


def test_closing_writes_what_waits_and_leaves_a_disk_that_hangs(queued):
    adapter = queued.start()
    submit(queued, adapter, KEYS)
    adapter.close()
    again = queued.start(scheduler=None, shutdown_s=0)
    assert set(again.listener.keys) == set(KEYS)
    rule = queued.fs.add(Hang("pwritev", path="*.seg"))
    task = again.submit_store_task([make_key(9)], [MemoryObj(SHAPE, FP16)])
    assert rule.reached.wait(60)
    assert again.pop_completed_store_tasks() == {task: (True, 5120)}
    again.close()
    assert again.holding.state == "own"
    rule.event.set()
    queued.fs.clear()
    again.holding.close()


def test_closing_does_not_ask_a_disk_that_hangs_about_what_it_drops(queued):
    adapter = queued.start(scheduler=None, shutdown_s=0)
    rule = queued.fs.add(Hang("pwritev", path="*.seg"))
    adapter.submit_store_task(KEYS[:1], queued.items(KEYS[:1]))
    assert rule.reached.wait(60)
    adapter.submit_store_task(KEYS[1:], queued.items(KEYS[1:]))
    adapter.wait_idle()
    closing = Thread(target=adapter.close)
    closing.start()
    closing.join(60)
    hangs = closing.is_alive()
    rule.event.set()
    closing.join()
    queued.fs.clear()
    adapter.holding.close()
    assert not hangs
