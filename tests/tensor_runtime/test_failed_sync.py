"""After a failed sync the kernel calls clean what it never wrote: a later sync acknowledges it only if it was written again."""

from __future__ import annotations

import pytest

from lsmkv.testing import FailOp, FaultFileSystem
from lsmkv_tensor.errors import PoisonedError
from tests.power import cut_before
from tests.tensor_runtime.conftest import SIZE, FaultyWorld


def opened(world, **options):
    return world.open(**{"breaker_failures": 3, **options}).namespace({"m": 1}, SIZE)


def failed(world, rule=None, **options):
    """A store of which pages 0 to 5 are synced, and the sync of pages 6 to 8 failed."""
    ns = opened(world, **options)
    world.put(ns, range(6))
    world.store.sync()
    world.put(ns, range(6, 9))
    world.fs.add(rule or FailOp("sync", path="*.seg", times=1))
    with pytest.raises(PoisonedError):
        world.store.sync()
    return ns


def all_after_a_power_cut(world, ns, which):
    """What a sync acknowledges now is there after the power was cut."""
    world.store.sync()
    there = {i for i, flag in zip(which, ns.contains(world.keys(which)).tolist(), strict=True) if flag}
    world.crash()
    ns = world.store.namespace({"m": 1}, SIZE)
    assert world.check(ns, which) == there
    return there


def test_reopened_in_place(faulty):
    ns = failed(faulty)
    faulty.store.step()
    assert faulty.store.health().state == "ok"
    assert all_after_a_power_cut(faulty, ns, range(9)) == set(range(9))


def test_closed_and_opened_by_somebody_who_knows_nothing_of_it(faulty):
    failed(faulty, breaker_failures=0)
    faulty.store.close()
    faulty.fs = FaultFileSystem(faulty.fs.inner)
    assert all_after_a_power_cut(faulty, opened(faulty), range(9)) == set(range(9))
    assert faulty.store.stats().corrupt_pages == 0


def test_the_same_index_is_opened_twice_and_nothing_is_written_again(faulty):
    failed(faulty, breaker_failures=0)
    faulty.store.close()
    ns = opened(faulty)
    assert faulty.store.stats().written_bytes
    assert faulty.check(ns, range(9)) == set(range(9))
    faulty.store.close()
    opened(faulty)
    assert faulty.store.stats().written_bytes <= 4096  # the header of the segment that is filled on


def test_the_name_of_a_new_segment_is_lost_with_its_directory(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    faulty.fs.add(FailOp("sync_dir", path="*vlog", times=1))
    with pytest.raises(PoisonedError):
        faulty.store.sync()
    faulty.store.step()
    assert all_after_a_power_cut(faulty, ns, range(3)) == set(range(3))


def test_a_process_that_ends_before_it_synced_the_name_of_a_segment(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    disk = faulty.fs.inner
    faulty.fs.add(FailOp("sync_dir"))  # the old process does no more
    faulty.fs = FaultFileSystem(disk)
    disk._locks.clear()
    assert all_after_a_power_cut(faulty, opened(faulty), range(3)) == set(range(3))


def test_a_segment_that_is_sealed_by_a_put(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(6))
    faulty.store.sync()
    faulty.fs.add(FailOp("sync", path="*.seg", times=1))
    for i in range(6, 60):
        faulty.put(ns, [i])
        if faulty.store.health().state != "ok":
            break
    else:
        pytest.fail("no segment was sealed")
    faulty.store.step()
    assert faulty.store.health().state == "ok"
    assert set(range(6)) <= all_after_a_power_cut(faulty, ns, range(i + 1))


def test_where_there_is_no_room_to_write_it_again_it_is_given_up_and_told(faulty):
    ns = failed(faulty)
    told = []
    ns.on_evict(lambda keys, _: told.extend(keys))
    faulty.fs.add(FailOp("allocate", path="*.seg", errno=28))
    faulty.store.step()
    assert faulty.store.health().state == "ok"
    assert all_after_a_power_cut(faulty, ns, range(9)) == set()
    assert set(told) == set(faulty.keys(range(9)))


def test_pins_outlive_it(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(6))
    ns.pin(faulty.keys([0, 1, 1]))
    ns.pin(faulty.keys([1, 2, 3]))
    for _ in range(2):
        faulty.fs.add(FailOp("sync", path="*.seg", times=1))
        faulty.put(ns, [50])
        with pytest.raises(PoisonedError):
            faulty.store.sync()
        ns.unpin(faulty.keys([3]))
        while faulty.store.step():
            pass
        assert faulty.store.health().state == "ok"
        faulty.clock.advance(60)
    assert faulty.store.stats().pinned_bytes == 3 * 4096
    ns.unpin(faulty.keys([1, 2]))
    for i in range(100, 300):
        faulty.put(ns, [i])
    assert faulty.check(ns, range(6)) == {0, 1}
    ns.unpin(faulty.keys([0, 1]))
    assert faulty.store.stats().pinned_bytes == 0


def test_pins_of_an_index_that_is_not_read_yet(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(6))
    ns.pin(faulty.keys([0, 1, 2]))
    faulty.fs.add(FailOp("sync", path="*.wal", times=1))
    with pytest.raises(PoisonedError):
        faulty.store.sync()
    faulty.store._services.workers.step = lambda: False
    assert faulty.store._services.breaker.attempt(faulty.store._recover)  # and nothing else runs
    assert ns.delete_many(faulty.keys([2])) == 1
    faulty.put(ns, [2])
    ns.unpin(faulty.keys([0]))
    assert faulty.store.stats().pinned_bytes == 4096
    for i in range(100, 300):
        faulty.put(ns, [i])
    assert faulty.check(ns, range(6)) == {1}


def test_a_pinned_page_that_there_is_no_room_for_is_given_up_all_the_same(faulty):
    ns = failed(faulty)
    ns.pin(faulty.keys([0, 7]))
    faulty.fs.add(FailOp("allocate", path="*.seg", errno=28))
    faulty.store.step()
    assert all_after_a_power_cut(faulty, ns, range(9)) == set()


def test_a_disk_that_fails_again_while_it_is_written_again(faulty):
    ns = failed(faulty)
    rule = faulty.fs.add(FailOp("sync", path="*.seg", times=1))
    faulty.store.step()
    assert faulty.fs.hits(rule)
    assert faulty.store.health().state == "degraded"
    faulty.clock.advance(60)
    faulty.store.step()
    assert faulty.store.health().state == "ok"
    assert all_after_a_power_cut(faulty, ns, range(9)) == set(range(9))


@pytest.mark.parametrize("seed", [None, 3])
def test_power_cut_at_every_step_of_writing_it_again(seed):
    step = 0
    while True:
        step += 1
        world = FaultyWorld()
        failed(world)
        world.fs.clear()
        with cut_before(world.fs.inner, step) as cut:
            world.store.step()
            world.store.sync()
        world.crash()
        ns = world.store.namespace({"m": 1}, SIZE)
        whole = cut.calls < step
        there = world.check(ns, range(9))
        world.store.close()
        assert set(range(6)) <= there
        if whole:
            assert there == set(range(9))
            assert step > 10
            return
