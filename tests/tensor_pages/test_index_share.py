"""The index stays inside its share, whatever grows it, and takes no more pages with it than it must."""

from __future__ import annotations

import pytest

from lsmkv_tensor.errors import InvalidArgumentError, NoSpaceError
from lsmkv_tensor.retention.quota import divide
from tests.tensor_pages.conftest import INDEX

SMALL = 64


def watch_index(world) -> list[int]:
    """The largest index and the largest store seen after any operation."""
    worst = [0, 0]

    def measure(op, path):
        worst[0] = max(worst[0], world.fs.total_bytes("/store/index"))
        worst[1] = max(worst[1], world.fs.total_bytes("/store"))

    world.fs.on_op = measure
    return worst


def test_one_large_call_is_stored_and_evicts_no_more_than_it_needs(world):
    world.segments = 200
    ns = world.open().namespace({"m": 1}, SMALL)
    ids = range(1500)
    assert all(world.put(ns, ids[:700]))
    worst = watch_index(world)
    assert all(world.put(ns, ids[700:]))
    stats = world.store.stats()
    assert stats.evicted_pages == 0
    assert stats.pages == 1500
    assert worst[0] <= INDEX


def test_a_call_whose_entries_do_not_fit_at_once_is_stored_in_parts(world):
    world.segments = 40
    ns = world.open(index_bytes=64 << 10).namespace({"m": 1}, SMALL)
    worst = watch_index(world)
    flags = world.put(ns, range(600))
    assert flags == [True] * sum(flags) + [False] * (600 - sum(flags))
    assert sum(flags) == world.store.stats().pages > 100
    assert worst[0] <= 64 << 10


def test_the_active_segment_goes_when_nothing_else_can(world):
    """Pages so small that the index is full before the first segment is."""
    segment = 8 << 20
    ns = world.open(index_bytes=64 << 10, segment_bytes=segment, capacity_bytes=(64 << 10) + 8192 + 4 * segment).namespace(
        {"m": 1}, SMALL
    )
    worst = watch_index(world)
    for start in range(0, 1600, 32):
        assert any(world.put(ns, range(start, start + 32)))
    assert all(world.put(ns, range(1600, 1610)))
    assert world.check(ns, range(1600, 1610)) == set(range(1600, 1610))
    assert world.store.stats().evicted_pages > 0
    assert worst[0] <= 64 << 10


def test_a_share_too_small_for_the_segments_is_refused_naming_the_minimum():
    with pytest.raises(InvalidArgumentError, match=r"index_bytes = 65536: must be at least \d+ for"):
        divide(1 << 30, 64 << 10, 64 << 10)


def test_namespaces_evict_and_are_refused_when_the_index_is_full(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SMALL)
    assert all(world.put(ns, range(10)))
    worst = watch_index(world)
    with pytest.raises(NoSpaceError, match="index_bytes"):
        for i in range(40):
            store.namespace({"i": i, "x": world.page(i, 15_000).hex()}, SMALL)
    assert worst[0] <= INDEX
    assert worst[1] <= store.stats().capacity_bytes
    count = store.stats().namespaces
    assert count > 2
    assert world.reopen().stats().namespaces == count


def test_records_are_refused_when_the_index_is_full_and_can_be_deleted_then(world):
    ns = world.open().namespace({"m": 1}, SMALL)
    worst = watch_index(world)
    written = []
    with pytest.raises(NoSpaceError, match="index_bytes"):
        for i in range(100):
            ns.write_records({b"%d" % i: world.page(i, 20_000)})
            written.append(i)
    assert worst[0] <= INDEX
    assert {key for key, _ in ns.records()} == {b"%d" % i for i in written}
    with pytest.raises(NoSpaceError):
        ns.put_many([], [], records={b"x": bytes(20_000)})
    assert world.put(ns, [1]) in ([True], [False])
    ns.write_records({b"%d" % i: None for i in written})
    assert all(world.put(ns, range(50)))


def test_fields_names_and_records_have_a_limit(world):
    store = world.open()
    with pytest.raises(InvalidArgumentError, match="65536"):
        store.namespace({"x": "y" * 65536}, SMALL)
    with pytest.raises(InvalidArgumentError, match="1024"):
        store.namespace({"x": 1}, SMALL, name="y" * 1025)
    ns = store.namespace({"x": 1}, SMALL)
    with pytest.raises(InvalidArgumentError, match="65536"):
        ns.write_records({b"x": bytes(65536)})
    with pytest.raises(InvalidArgumentError, match="65536"):
        ns.put_many(world.keys([1]), world.pages([1], SMALL), records={b"x": bytes(65536)})
    assert not ns.contains(world.keys([1])).any()
