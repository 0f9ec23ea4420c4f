"""Who is told of evictions and when, and what they mean for the verdicts of the call that caused them."""

from __future__ import annotations

import threading

import pytest

from lsmkv_tensor.errors import ClosedError, NoSpaceError
from tests.tensor_pages.conftest import INDEX, SEGMENT

SIZE = 4000
PER_SEGMENT = 13


def fill(world, ns, segments: int, start: int = 0) -> None:
    for s in range(segments):
        world.put(ns, range(start + s * PER_SEGMENT, start + (s + 1) * PER_SEGMENT))


def test_a_callback_may_close_the_store(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    closed = []

    def close(keys, sizes):
        store.close()
        closed.append(len(keys))

    ns.on_evict(close)

    def write():
        with pytest.raises(ClosedError):
            fill(world, ns, 20)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(closed) == 1
    assert closed[0] >= PER_SEGMENT


def test_a_callback_may_put_and_read(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    seen = []
    ns.on_evict(lambda keys, sizes: seen.append((ns.contains(keys).any(), world.check(ns, [0]), store.stats().pages > 0)))
    fill(world, ns, 8)
    assert seen[0] == (False, set(), True)
    assert store.stats().callback_errors == 0


def test_pages_evicted_at_opening_say_nothing_about_the_first_put(world):
    world.segments = 10
    store = world.open()
    fill(world, store.namespace({"m": 1}, SIZE), 8)
    ns = world.reopen(capacity_bytes=INDEX + 8192 + 4 * SEGMENT).namespace({"m": 1}, SIZE)
    assert not ns.contains(world.keys([0])).any()
    told = []
    ns.on_evict(lambda keys, sizes: told.extend(keys))
    assert world.put(ns, [0, 999]) == [True, True]
    assert world.check(ns, [0, 999]) == {0, 999}
    assert set(world.keys([1])) <= set(told)
    assert not set(world.keys([999])) & set(told)


def test_records_that_evict_tell_the_owner(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 64)
    world.put(ns, range(10))
    told = []
    ns.on_evict(lambda keys, sizes: told.extend(keys))
    with pytest.raises(NoSpaceError):
        for i in range(40):
            ns.write_records({b"%d" % i: world.page(i, 20_000)})
    assert store.stats().evicted_pages == len(told) == 10
