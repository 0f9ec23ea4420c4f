"""Dropping a namespace takes all of it and nothing else, whenever the power fails, and its number is never another's."""

from __future__ import annotations

import contextlib
import errno

import pytest

from lsmkv.env.rng import seeded
from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.errors import BusyError, ClosedError, InvalidArgumentError, LsmError
from tests.power import PowerOff

SIZE = 3000


def sound(store) -> None:
    """Counts are exact: what the segments say is what the index says."""
    listed = store.namespaces(sizes=True)
    stats = store.stats()
    assert stats.pages == sum(info.size.pages for info in listed)
    assert stats.live_bytes == sum(info.size.disk_bytes for info in listed)


def filled(world, pages=40):
    world.segments = max(world.segments, 20)
    store = world.open()
    a = store.namespace({"m": "a"}, SIZE, name="a")
    b = store.namespace({"m": "b"}, SIZE, name="b")
    for start in range(0, pages, 10):
        assert all(world.put(a, range(start, start + 10)))
        assert all(world.put(b, range(start, start + 10), salt=1))
    for ns in (a, b):
        ns.write_records({b"r%d" % i: b"v" * 20 for i in range(5)})
    store.sync()
    return store, a, b


@pytest.mark.parametrize("which", ["name", "alias", "number", "digest", "number as text"])
def test_it_takes_all_of_it_and_nothing_else(world, which):
    store, a, b = filled(world)
    store.namespace({"m": "a"}, SIZE, name="also a")
    told = []
    name = {"name": "a", "alias": "also a", "number": a.number, "digest": a.digest.hex(), "number as text": str(a.number)}[which]
    assert store.drop_namespace(name, progress=told.append) == 40 == sum(told)
    assert [info.names for info in store.namespaces()] == [("b",)]
    assert world.check(a, range(40)) == set()
    assert list(a.records()) == list(a.keys()) == []
    assert world.check(b, range(40), salt=1) == set(range(40))
    assert len(list(b.records())) == 5
    sound(store)
    assert store.stats().deleted_pages == 40
    sound(world.reopen())


@pytest.mark.parametrize("pages", [400, 200])
def test_many_pages_go_in_few_ranges(make_world, pages):
    world = make_world(segments=80)
    store, a, b = filled(world, pages)
    told = []
    assert store._registry.drop("a", told.append, at_once=300) == pages
    assert told == ([300, 100] if pages == 400 else [200])
    assert world.check(b, range(pages), salt=1) == set(range(pages))
    assert world.check(a, range(pages)) == set()
    sound(store)
    held = store._db.stats().range_deletes
    assert held == (1 if pages == 400 else 0)
    sound(world.reopen())
    store.close()


def test_it_is_durable_when_it_returns(make_world):
    for seed in (None, *range(5)):
        world = make_world(segments=20)
        store, _, _ = filled(world)
        store.drop_namespace("a")
        store = world.crash(None if seed is None else seeded(seed))
        assert [info.names for info in store.namespaces()] == [("b",)]
        assert world.check(store.namespace({"m": "b"}, SIZE), range(40), salt=1) == set(range(40))
        sound(store)


@pytest.mark.parametrize("many", [False, True])
def test_the_power_may_fail_at_any_call(make_world, many):
    pages = 300 if many else 40
    at = finished = 0
    while not finished:
        at += 1
        for seed in (None, at):
            world = make_world(segments=60 if many else 20)
            store, _, _ = filled(world, pages)
            cut = PowerOff(world.fs, at)
            with contextlib.suppress(LsmError, OSError):
                store._registry.drop("a", lambda _: None, at_once=270 if many else 15)
            finished = cut.count < at
            world.fs.on_op = None
            store = world.crash(None if seed is None else seeded(seed))
            sound(store)
            names = [info.names for info in store.namespaces()]
            assert names in ([("a",), ("b",)], [("b",)])
            a = store.namespace({"m": "a"}, SIZE, name="a")
            if names == [("b",)]:
                assert not list(a.keys())
                assert a.number == 3
            world.check(a, range(pages))
            assert world.check(store.namespace({"m": "b"}, SIZE), range(pages), salt=1) == set(range(pages))
            store.drop_namespace("a")
            assert [info.names for info in store.namespaces()] == [("b",)]
            sound(store)
            store.close()
    assert at > 3


def test_a_view_of_it_reads_nothing_of_anybody_elses_and_writes_nothing(world):
    store, a, _ = filled(world)
    store.drop_namespace("b")
    store.drop_namespace("a")
    c = store.namespace({"m": "c"}, SIZE)
    assert c.number == 3
    world.put(c, range(10), salt=7)
    assert world.check(a, range(40)) == set()
    assert not a.contains(world.keys(range(40))).any()
    for call in (
        lambda: world.put(a, [1]),
        lambda: a.write_records({b"r": b"v"}),
        lambda: a.put_many([], [], records={b"r": b"v"}),
    ):
        with pytest.raises(ClosedError, match="dropped"):
            call()
    a.delete_many(world.keys(range(10)))
    assert world.check(c, range(10), salt=7) == set(range(10))
    again = store.namespace({"m": "a"}, SIZE, name="a")
    assert again.number == 4
    assert world.put(again, [1]) == [True]
    sound(store)
    store = world.reopen()
    assert store.namespace({"m": "d"}, SIZE).number == 5


def test_the_highest_number_is_kept_though_it_was_dropped(world):
    store, _, _ = filled(world)
    store.drop_namespace("b")
    store = world.reopen()
    assert store.namespace({"m": "c"}, SIZE).number == 3


def test_one_that_is_not_there_is_refused_and_the_others_named(world):
    store, _, _ = filled(world)
    for which in ("c", 3, "3", "ab" * 32, "", True):
        with pytest.raises(InvalidArgumentError, match="there are: a, b"):
            store.drop_namespace(which)
    assert len(store.namespaces()) == 2


def test_while_it_goes_on_nobody_opens_writes_or_drops_it(world):
    store, a, b = filled(world)
    seen = []

    def during(_):
        for call, error in (
            (lambda: store.namespace({"m": "a"}, SIZE), BusyError),
            (lambda: store.drop_namespace("a"), BusyError),
            (lambda: world.put(a, [90]), ClosedError),
        ):
            with pytest.raises(error):
                call()
        assert world.put(b, [90 + len(seen)]) == [True]
        seen.append(1)

    assert store._registry.drop("a", during, at_once=15) == 40
    assert len(seen) == 3
    assert list(a.keys()) == []


def test_what_cannot_be_written_leaves_the_rest_and_it_can_be_repeated(world):
    world.fs = FaultFileSystem(MemoryFileSystem())
    store, a, _ = filled(world)
    rule = world.fs.add(FailOp("pwritev", path="*.wal", errno=errno.ENOSPC, nth=2))
    with pytest.raises(LsmError):
        store._registry.drop("a", lambda _: None, at_once=15)
    world.fs.remove(rule)
    left = set(world.check(a, range(40)))
    assert len(left) == 25
    sound(store)
    assert all(world.put(a, range(40)))
    assert world.check(a, range(40)) == set(range(40))
    assert store.drop_namespace("a") == 40
    sound(store)


def test_collection_beside_it_brings_nothing_back(world):
    store, _, b = filled(world)
    store._registry.drop("a", lambda _: store.gc(max_live=0.9), at_once=15)
    store.gc(max_live=0.9)
    assert world.check(b, range(40), salt=1) == set(range(40))
    sound(store)
    assert store.stats().pages == 40


def test_sizes_are_told(world):
    store = world.open()
    raw = store.namespace({"m": "a"}, SIZE, name="a")
    packed = store.namespace({"m": "b"}, 20_000, codec="shuffle_zstd")
    world.put(raw, range(7))
    packed.put_many(world.keys(range(3)), [bytes(20_000)] * 3, records={b"r": b"v"})
    a, b = (info.size for info in store.namespaces(sizes=True))
    assert (a.pages, a.stored_bytes, a.disk_bytes, a.codecs, a.records) == (7, 7 * SIZE, 7 * 4096, {0: 7}, 0)
    assert (b.pages, b.disk_bytes, b.codecs, b.records) == (3, 3 * 4096, {1: 3}, 1)
    assert b.stored_bytes == store.stats().put_stored_bytes - 7 * SIZE
    assert store.namespaces()[0].size is None
