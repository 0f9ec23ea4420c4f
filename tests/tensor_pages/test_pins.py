"""Pinned pages stay: counted, within a bound, until they are unpinned or the store is closed."""

from __future__ import annotations

SIZE = 4000
PER_SEGMENT = 13


def fill(world, ns, start, stop):
    for s in range(start, stop, PER_SEGMENT):
        world.put(ns, range(s, s + PER_SEGMENT))


def test_pinned_pages_outlive_everything_that_is_put_after_them(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(PER_SEGMENT))
    pinned = {0, 5, 12}
    assert ns.pin(world.keys(sorted(pinned))) == [True] * 3
    assert store.stats().pinned_bytes == 3 * 4096
    fill(world, ns, 100, 1000)
    store.gc(max_live=0.95)
    assert world.check(ns, range(PER_SEGMENT)) == pinned
    ns.unpin(world.keys(pinned))
    assert store.stats().pinned_bytes == 0
    fill(world, ns, 1000, 2000)
    assert world.check(ns, range(PER_SEGMENT)) == set()


def test_pins_are_counted(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(3))
    ns.pin(world.keys([1, 1]))  # a page named twice in one call is pinned once by it
    ns.pin(world.keys([1, 2]))
    ns.unpin(world.keys([1]))
    fill(world, ns, 100, 1000)
    assert world.check(ns, range(3)) == {1, 2}
    ns.unpin(world.keys([1, 2]))
    ns.unpin(world.keys([1, 2, 77]))  # once too often, and a page that never was
    fill(world, ns, 1000, 2000)
    assert world.check(ns, range(3)) == set()


def test_absent_pages_and_more_than_half_of_the_store_cannot_be_pinned(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    assert ns.pin(world.keys([1])) == [False]
    fill(world, ns, 0, 4 * PER_SEGMENT)
    flags = ns.pin(world.keys(range(4 * PER_SEGMENT)))
    most = (store.stats().segments_max - 1) * 65536 // 2 // 4096
    assert sum(flags) == min(most, 4 * PER_SEGMENT)
    assert flags == sorted(flags, reverse=True)
    assert store.stats().pinned_bytes <= most * 4096
    assert ns.pin(world.keys([0])) == [True]  # again costs nothing
    for i in range(200, 300):
        assert world.put(ns, [i]) == [True]  # half of the store is enough to go on


def test_close_releases_every_pin(world):
    ns = world.open().namespace({"m": 1}, SIZE)
    world.put(ns, range(3))
    ns.pin(world.keys(range(3)))
    store = world.reopen()
    ns = store.namespace({"m": 1}, SIZE)
    assert store.stats().pinned_bytes == 0
    fill(world, ns, 100, 1000)
    assert world.check(ns, range(3)) == set()


def test_a_pinned_page_can_be_deleted_and_its_pin_goes_with_it(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(3))
    ns.pin(world.keys(range(3)))
    assert ns.delete_many(world.keys([1])) == 1
    assert store.stats().pinned_bytes == 2 * 4096
    world.put(ns, [1], salt=1)
    fill(world, ns, 100, 1000)
    assert world.check(ns, [1], salt=1) == set()


def test_when_what_is_left_is_pinned_a_put_is_declined_and_nothing_is_lost(world):
    world.segments = 3
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    fill(world, ns, 0, 2 * PER_SEGMENT)
    pinned = [i for i, flag in enumerate(ns.pin(world.keys(range(2 * PER_SEGMENT)))) if flag]
    assert len(pinned) >= PER_SEGMENT
    for i in range(100, 160):
        world.put(ns, [i])
    assert world.check(ns, pinned) == set(pinned)
    assert store.stats().pages == len(list(ns.keys()))


def test_pins_without_waiting_are_all_or_none(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 3000)
    world.put(ns, range(4))
    assert ns.pin_at_once(world.keys(range(4))) is False  # what is stored was not read yet: the table may lack something
    store._log.keeper.fill()
    assert ns.pin_at_once(world.keys(range(5))) is False
    assert store.stats().pinned_bytes == 0
    assert ns.pin_at_once(world.keys([0]))
    assert ns.pin_at_once(world.keys([0, 1]))
    assert store.stats().pinned_bytes == 2 * 4096
    assert ns.unpin_at_once(world.keys([0, 1, 9]))
    assert store.stats().pinned_bytes == 4096
    assert ns.unpin_at_once(world.keys([0]))
    assert ns.unpin_at_once(world.keys([0]))
    assert store.stats().pinned_bytes == 0


def test_pins_without_waiting_respect_what_may_be_pinned(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 4000)
    world.put(ns, range(60))
    store._log.keeper.fill()
    pinned = [i for i in range(60) if ns.pin_at_once(world.keys([i]))]
    assert pinned == [i for i, flag in enumerate(ns.pin(world.keys(range(60)))) if flag]
    assert 0 < len(pinned) < 60


def test_nobody_waits_for_a_pin_while_somebody_changes_the_index(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 3000)
    world.put(ns, range(2))
    store._log.keeper.fill()
    with store._log.lock:
        assert ns.pin_at_once(world.keys([0])) is False
        assert ns.unpin_at_once(world.keys([0])) is False
    assert ns.pin_at_once(world.keys([0]))


def test_pages_that_may_end_are_not_pinned_without_being_asked_for(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 3000, ttl_s=60)
    world.put(ns, range(2))
    store._log.keeper.fill()
    assert ns.pin_at_once(world.keys([0])) is False
