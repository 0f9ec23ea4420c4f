"""The L2 adapter on a disk in memory, driven as LMCache's controllers drive it; `make test-lmcache` has the real ones."""

from __future__ import annotations

import errno
import subprocess
import sys
from functools import partial
from importlib.util import find_spec

import pytest

from lsmkv.testing import FailOp, Hang
from lsmkv_tensor.adapters.lmcache_l2 import LsmkvL2Adapter
from lsmkv_tensor.errors import InvalidArgumentError
from tests.adapters.lmcache.conftest import INDEX, SEGMENT, SHAPE, content, listed, make_key, write_queued
from tests.adapters.lmcache.fakes import BF16, FP16, UINT8, Listener, MemoryLayoutDesc, MemoryObj

DESCS = {0: MemoryLayoutDesc([SHAPE], [BF16])}


def keys_of(*numbers, **what):
    return [make_key(i, **what) for i in numbers]


def test_objects_are_stored_found_and_loaded(machine):
    adapter, keys = machine.start(), keys_of(*range(8))
    assert machine.store(adapter, keys) == (True, 8 * 5120)
    asked = keys + keys_of(100, 101)
    assert machine.lookup(adapter, asked) == [True] * 8 + [False] * 2
    assert machine.load(adapter, asked) == [True] * 8 + [False] * 2
    machine.unlock(adapter, keys)
    assert adapter.listener.accessed == keys
    assert (adapter.counts["stored_pages"], adapter.counts["loaded_pages"], adapter.counts["missing_pages"]) == (8, 8, 2)


def test_each_kind_of_task_has_an_event_of_its_own(machine):
    adapter, keys = machine.start(), keys_of(1)
    fds = {adapter.get_store_event_fd(), adapter.get_lookup_and_lock_event_fd(), adapter.get_load_event_fd()}
    assert len(fds) == 3
    for act, lane in ((machine.store, adapter._stores), (machine.lookup, adapter._lookups), (machine.load, adapter._loads)):
        act(adapter, keys)
        assert lane._bell.rung == 1
    assert adapter.pop_completed_store_tasks() == {}


def test_what_is_there_is_not_written_again_and_not_told_again(machine):
    adapter, keys = machine.start(), keys_of(1, 2, 3)
    machine.store(adapter, keys)
    assert machine.store(adapter, [*keys, make_key(4), make_key(4)]) == (True, 5120)
    assert adapter.get_usage().total_bytes_used == 4 * 5120
    assert adapter.counts["present_pages"] == 3


def test_another_process_finds_them_and_tells_lmcache_once(machine):
    adapter = machine.start()
    machine.store(adapter, keys_of(1, 2, 3) + keys_of(4, salt="user"))
    adapter.close()
    again = machine.start()
    late = Listener()
    again.register_listener(late)
    assert again.get_usage().bytes_by_cache_salt == {"": 3 * 5120, "user": 5120}
    assert set(again.listener.keys) == set(late.keys) == set(keys_of(1, 2, 3) + keys_of(4, salt="user"))
    assert machine.load(again, keys_of(1, 2, 3)) == [True] * 3
    assert set(listed(again)) == set(late.keys)


def test_models_ranks_groups_and_salts_are_kept_apart(machine):
    adapter = machine.start()
    keys = [make_key(1), make_key(1, model="n"), make_key(1, rank=2), make_key(1, group=1), make_key(1, salt="a")]
    machine.store(adapter, keys[:1])
    assert machine.lookup(adapter, keys) == [True, False, False, False, False]
    machine.store(adapter, keys)
    assert machine.load(adapter, keys) == [True] * 5
    assert set(listed(adapter, model_name="m")) == {key for key in keys if key.model_name == "m"}


def test_another_dtype_of_the_same_size_is_another_cache(machine):
    adapter, keys = machine.start(), keys_of(1, 2)
    machine.store(adapter, keys)
    assert machine.lookup(adapter, keys, dtype=FP16) == [False, False]
    assert machine.load(adapter, keys, dtype=FP16) == [False, False]


def test_serialised_objects_are_found_under_the_layout_they_had_before(machine):
    adapter, keys = machine.start(), keys_of(1, 2)
    machine.store(adapter, keys, shape=(3000,), dtype=UINT8)
    assert machine.lookup(adapter, keys) == [True, True]
    assert machine.load(adapter, keys, shape=(3000,), dtype=UINT8) == [True, True]
    machine.unlock(adapter, keys)
    assert adapter.report_status()["locked_pages"] == 0


def test_a_lookup_without_layouts_finds_what_is_known(machine):
    adapter, keys = machine.start(), keys_of(1)
    assert machine.lookup(adapter, keys, descs={}) == [False]
    machine.store(adapter, keys)
    assert machine.lookup(adapter, keys, descs={}) == [True]


def test_what_is_evicted_is_told(machine):
    adapter = machine.start()
    for i in range(0, 240, 8):
        assert machine.store(adapter, keys_of(*range(i, i + 8)))[0]
    assert 0 < adapter.report_status()["evicted_pages"] == 240 - len(adapter.listener.keys)
    assert set(adapter.listener.keys) == set(listed(adapter))
    assert adapter.get_usage().total_bytes_used == 5120 * len(adapter.listener.keys)


def test_a_locked_object_is_not_evicted_nor_deleted(machine):
    adapter, keys = machine.start(), keys_of(*range(4))
    machine.store(adapter, keys)
    assert machine.lookup(adapter, keys) == [True] * 4
    assert machine.lookup(adapter, keys[:2]) == [True] * 2
    machine.unlock(adapter, keys)  # the second lock of the first two stays
    adapter.delete(keys[:2])
    for i in range(100, 340, 8):
        machine.store(adapter, keys_of(*range(i, i + 8)))
    assert machine.load(adapter, keys) == [True, True, False, False]
    machine.unlock(adapter, keys[:2])
    machine.unlock(adapter, keys[:2])  # once too often does no harm
    adapter.delete(keys[:2])
    assert machine.load(adapter, keys) == [False] * 4
    assert adapter.report_status()["pinned_bytes"] == 0


def test_what_is_asked_for_stays_longer(machine):
    adapter, keys = machine.start(eviction="lru"), keys_of(*range(4))
    machine.store(adapter, keys)
    for i in range(100, 340, 8):
        machine.store(adapter, keys_of(*range(i, i + 8)))
        assert machine.lookup(adapter, keys) == [True] * 4
        machine.unlock(adapter, keys)


def test_deleted_objects_are_gone_and_told_once(machine):
    adapter, keys = machine.start(), keys_of(1, 2, 3)
    machine.store(adapter, keys)
    adapter.delete([*keys[:2], make_key(9)])
    adapter.delete(keys[:2])
    assert machine.lookup(adapter, keys) == [False, False, True]
    assert set(adapter.listener.keys) == {keys[2]} == set(listed(adapter))
    assert adapter.get_usage().total_bytes_used == 5120


def test_a_damaged_object_costs_itself_alone(machine):
    adapter, keys = machine.start(), keys_of(*range(8))
    machine.store(adapter, keys)
    adapter.close()
    assert machine.flip(content(keys[5], 5120)) == 1
    again = machine.start()
    assert machine.lookup(again, keys) == [True] * 8
    assert machine.load(again, keys) == [i != 5 for i in range(8)]
    assert again.report_status()["corrupt_pages"] == 1
    machine.unlock(again, keys)
    assert set(again.listener.keys) == set(keys) - {keys[5]}
    assert again.get_usage().total_bytes_used == 7 * 5120
    assert machine.lookup(again, keys)[5] is False


def test_a_server_that_waits_for_another_is_healthy_and_one_that_can_never_store_is_not(machine):
    """A server whose path could not be made said that it was healthy."""
    first, second = machine.start(), machine.start()
    told = [one.report_status() for one in (first, second)]
    assert [(one["state"], one["is_healthy"]) for one in told] == [("own", True), ("following", True)]
    machine.fs.add(FailOp("mkdir", path="/other*"))
    third = machine.start(path="/other").report_status()
    assert (third["state"], third["is_healthy"]) == ("following", False)
    assert "lsmkv doctor /other/server" in third["reason"]


def test_a_full_disk_fails_the_task_and_not_the_server(machine):
    adapter = machine.start()
    machine.fs.add(FailOp("allocate", path="*.seg", errno=errno.ENOSPC))
    assert machine.store(adapter, keys_of(1, 2)) == ((True, 2 * 5120) if machine.queue_bytes else (False, 0))
    machine.fs.clear()
    assert adapter.get_usage().total_bytes_used == 0
    (shelf,) = adapter._shelves.all()
    assert list(shelf.writer.records()) == listed(adapter) == []
    assert machine.store(adapter, keys_of(1, 2)) == (True, 2 * 5120)
    assert adapter.counts["failed_pages"] == 2


def test_what_admission_does_not_want_is_declined_and_leaves_nothing(machine):
    adapter, keys = machine.start(admission="second"), keys_of(1, 2)
    assert machine.store(adapter, keys) == (True, 2 * 5120 if machine.queue_bytes else 0)
    (shelf,) = adapter._shelves.all()
    assert list(shelf.writer.records()) == []
    assert (adapter.counts["declined_pages"], adapter.get_usage().total_bytes_used) == (2, 0)
    assert machine.store(adapter, keys) == (True, 2 * 5120)
    assert set(listed(adapter)) == set(keys)


def test_a_directory_that_cannot_be_had_is_read_and_taken_later(machine):
    first, keys = machine.start(), keys_of(1, 2)
    machine.store(first, keys)
    second = machine.start(on_conflict="follow")
    assert second.report_status()["state"] == "following"
    assert machine.lookup(second, keys) == [True, True]
    assert machine.load(second, keys) == [True, True]
    machine.unlock(second, keys)
    assert machine.store(second, keys_of(3)) == (False, 0)
    assert (second.counts["declined_pages"], second.get_usage().total_bytes_used) == (1, 0)
    second.delete(keys)
    assert listed(second) == []
    first.close()
    machine.clock.advance(2.0)
    assert machine.store(second, keys_of(3)) == (True, 5120)
    assert set(second.listener.keys) == set(keys_of(1, 2, 3))
    assert second.get_usage().total_bytes_used == 3 * 5120


def test_an_object_that_no_segment_holds_is_refused_alone(machine):
    adapter = machine.start()
    assert machine.store(adapter, keys_of(1), shape=(SEGMENT,)) == (False, 0)
    assert machine.store(adapter, keys_of(1)) == (True, 5120)
    assert adapter.counts["errors"] == 1


def test_what_comes_after_the_end_is_answered(machine):
    adapter, keys = machine.start(), keys_of(1)
    adapter.close()
    adapter.close()
    assert adapter.query_load_result(adapter.submit_load_task(keys, [MemoryObj(SHAPE, FP16)])) is None
    assert adapter.submit_unlock(keys) is None
    adapter.delete(keys)


def test_nothing_waits_for_the_disk(unqueued):
    adapter, keys = unqueued.start(), keys_of(1, 2)
    rule = unqueued.fs.add(Hang("pwritev", path="*.seg"))
    task = adapter.submit_store_task(keys, [MemoryObj(SHAPE, FP16) for _ in keys])
    assert rule.reached.wait(60)
    assert adapter.pop_completed_store_tasks() == {}
    rule.event.set()
    adapter.wait_idle()
    assert adapter.pop_completed_store_tasks() == {task: (True, 2 * 5120)}


def store_two(adapter, i):
    """Submit the storing of two objects."""
    return adapter.submit_store_task(keys_of(i, i + 1), [MemoryObj(SHAPE, FP16) for _ in range(2)])


def test_too_many_waiting_objects_are_refused(unqueued):
    adapter = unqueued.start(threads=1, max_store_pages=2)
    rule = unqueued.fs.add(Hang("pwritev", path="*.seg"))
    store = partial(store_two, adapter)
    tasks = [store(0)]
    assert rule.reached.wait(60)
    tasks += [store(2), store(4)]
    assert adapter.pop_completed_store_tasks() == {tasks[2]: (False, 0)}
    rule.event.set()
    adapter.wait_idle()
    assert adapter.pop_completed_store_tasks() == dict.fromkeys(tasks[:2], (True, 2 * 5120))
    assert adapter.counts["failed_pages"] == 2


def test_the_order_of_a_prompt_is_what_was_asked(machine):
    adapter, keys = machine.start(), keys_of(*range(5))
    machine.lookup(adapter, keys)
    machine.store(adapter, keys[::-1])
    (shelf,) = adapter._shelves.all()
    names = [key.chunk_hash[:28] for key in keys]
    assert shelf.writer.parents(names) == [None, *names[:-1]]


def test_records_without_a_page_are_mended(machine):
    """A process that ends between an eviction and its bookkeeping leaves a record."""
    adapter, keys = machine.start(), keys_of(1, 2)
    machine.store(adapter, keys)
    (shelf,) = adapter._shelves.all()
    shelf.writer.delete_many([keys[0].chunk_hash[:28]])
    adapter.close()
    again = machine.start()
    assert set(again.listener.keys) == {keys[1]}
    (shelf,) = again._shelves.all()
    assert [key for key, _ in shelf.writer.records()] == [keys[1].chunk_hash[:28]]


def test_closing_does_not_wait_for_a_disk_that_hangs(unqueued):
    adapter, keys = unqueued.start(threads=1, shutdown_s=0), keys_of(1, 2)
    rule = unqueued.fs.add(Hang("pwritev", path="*.seg"))
    tasks = [adapter.submit_store_task([key], unqueued.items([key])) for key in keys]
    assert rule.reached.wait(60)
    adapter.close()
    assert adapter.pop_completed_store_tasks() == {tasks[1]: (False, 0)}
    rule.event.set()
    adapter.wait_idle()


def test_its_capacity_is_what_lmcache_takes_for_full(machine):
    adapter = machine.start()
    assert adapter.supports_global_eviction
    assert adapter.get_usage().total_capacity_bytes <= 6 * SEGMENT


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"capasity_bytes": 1}, "capasity_bytes"),
        ({"on_conflict": "perhaps"}, "on_conflict"),
        ({"threads": 0}, "threads"),
        ({"codec": "int8"}, "codec"),
        ({"path": ""}, "path"),
        ({"conflict_wait_s": -1}, "conflict_wait_s"),
        ({"revision": 3}, "revision"),
        ({"capacity_bytes": "1 TB"}, "capacity_bytes"),
    ],
)
def test_wrong_settings_are_named(machine, change, word):
    with pytest.raises(InvalidArgumentError, match=word):
        machine.start(**change)


def test_a_size_may_be_written_with_an_exponent(machine):
    """JSON makes a float of 1e12."""
    capacity = machine.params()["capacity_bytes"]
    assert machine.start(capacity_bytes=float(capacity)).report_status()["capacity_bytes"] == capacity


def test_missing_settings_are_named(machine):
    with pytest.raises(InvalidArgumentError, match="capacity_bytes"):
        type(machine.start())({"path": "/kv"})
    with pytest.raises(InvalidArgumentError, match="adapter_params"):
        type(machine.start(member="b"))(None)


def test_a_wrong_page_of_a_listing_is_refused(machine):
    adapter = machine.start()
    for wrong in ({"page_size": 0}, {"cursor": "x"}, {"cursor": "0:ff"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            adapter.list_l2_keys(**wrong)


@pytest.mark.skipif(find_spec("lmcache") is not None, reason="it is installed")
def test_without_lmcache_it_says_what_to_install():
    with pytest.raises(ImportError, match=r"lmcache>=0\.5\.6,<0\.6"):
        LsmkvL2Adapter({"path": "/kv", "capacity_bytes": INDEX})


def test_it_loads_without_torch_and_lmcache():
    blocked = "import sys; sys.modules.update(torch=None, lmcache=None); import lsmkv_tensor.adapters.lmcache_l2"
    subprocess.run([sys.executable, "-c", blocked], check=True)


def test_objects_that_are_all_here_are_told_and_locked_before_the_call_returns(machine):
    adapter, keys = machine.start(), keys_of(*range(4))
    machine.store(adapter, keys)
    adapter.holding.store._log.keeper.fill()
    began = adapter._jobs._threads
    task = adapter.submit_lookup_and_lock_task(keys, DESCS)
    assert adapter.query_lookup_and_lock_result(task) == [True] * 4
    assert adapter.query_lookup_and_lock_result(task) is None
    assert adapter.report_status()["locked_pages"] == 4
    assert adapter.report_status()["pinned_bytes"] == 4 * 8192
    adapter.submit_unlock(keys)
    assert adapter.report_status()["pinned_bytes"] == adapter.report_status()["locked_pages"] == 0
    assert adapter._jobs._threads == began


def test_a_lookup_waits_for_nobody_who_changes_the_store(machine):
    adapter, keys = machine.start(), keys_of(*range(4))
    machine.store(adapter, keys)
    log = adapter.holding.store._log
    log.keeper.fill()
    with log.lock:
        task = adapter.submit_lookup_and_lock_task(keys, DESCS)
        assert adapter.query_lookup_and_lock_result(task) is None
    adapter.wait_idle()
    assert adapter.query_lookup_and_lock_result(task) == [True] * 4
    with log.lock:
        adapter.submit_unlock(keys)
    adapter.wait_idle()
    assert adapter.report_status()["pinned_bytes"] == 0


def test_a_lookup_of_some_that_are_here_finds_them_and_only_them(machine):
    adapter = machine.start()
    first, second = keys_of(1, 2), [make_key(i, rank=2) for i in (3, 4)]
    machine.store(adapter, [*first, *second])
    adapter.holding.store._log.keeper.fill()
    asked = [*first, *second, make_key(5, rank=2)]
    assert machine.lookup(adapter, asked) == [True] * 4 + [False]
    assert adapter.report_status()["locked_pages"] == 4
    machine.unlock(adapter, asked)
    assert adapter.report_status()["pinned_bytes"] == 0


class Uses:
    """A policy that counts the uses it is told of, beside inserts."""

    told = 0

    def __init__(self, capacity_bytes):
        del capacity_bytes

    def on_insert(self, pages, sizes, prints):
        """Pages came."""

    def on_hit(self, pages):
        Uses.told += len(pages)

    def on_remove(self, pages, evicted):
        """Pages went."""

    def victims(self, nbytes):
        raise NotImplementedError


@pytest.mark.parametrize("filled", [False, True], ids=["asked in the background", "known at once"])
def test_asking_and_loading_are_one_use_and_requests_are_several(machine, filled):
    def uses():
        """Since the last time."""
        write_queued(adapter)
        found, Uses.told = Uses.told, 0
        return found

    adapter, keys = machine.start(eviction=f"{__name__}:Uses"), keys_of(*range(4))
    machine.store(adapter, keys)
    if filled:
        adapter.holding.store._log.keeper.fill()
    uses()
    for requests in (1, 3):
        for _ in range(requests):
            assert machine.lookup(adapter, keys) == machine.load(adapter, keys) == [True] * 4
            machine.unlock(adapter, keys)
        assert uses() == 4 * requests
    assert machine.load(adapter, keys) == [True] * 4  # of no request that asked
    assert uses() == 4
