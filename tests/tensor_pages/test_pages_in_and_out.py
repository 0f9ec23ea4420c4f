"""What was put comes back byte for byte, into every kind of memory; what was not put is a miss."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from lsmkv_tensor.errors import ClosedError, InvalidArgumentError
from lsmkv_tensor.spans import PageSpans

SIZES = [1, 100, 4095, 4096, 4097, 12288]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("direct", ["auto", "off"])
def test_pages_come_back(world, size, direct):
    ns = world.open(direct_io=direct).namespace({"m": 1}, size)
    assert world.put(ns, range(5)) == [True] * 5
    assert world.check(ns, range(7)) == {0, 1, 2, 3, 4}
    assert world.check(ns, [6, 3, 0, 3]) == {0, 3}
    ns = world.reopen().namespace({"m": 1}, size)
    assert world.check(ns, range(7)) == {0, 1, 2, 3, 4}
    assert list(ns.keys()) == sorted(world.keys(range(5)))


def test_contains_and_prefix(world):
    world.segments = 30
    ns = world.open().namespace({"m": 1}, 64)
    world.put(ns, [0, 1, 2, 4])
    assert ns.contains(world.keys(range(6))).tolist() == [True, True, True, False, True, False]
    assert ns.contains_prefix(world.keys(range(6))) == 3
    assert ns.contains_prefix(world.keys([3, 0])) == 0
    assert ns.contains_prefix([]) == 0
    world.put(ns, range(300))
    assert ns.contains_prefix(world.keys(range(500))) == 300
    assert ns.contains_prefix(world.keys(range(300))) == 300


def test_a_page_already_there_is_not_written_again(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 5000)
    world.put(ns, range(3))
    written = store.stats().written_bytes
    assert world.put(ns, range(3), salt=9) == [True] * 3
    stats = store.stats()
    assert (stats.written_bytes, stats.put_pages, stats.present_pages) == (written, 3, 3)
    assert world.check(ns, range(3)) == {0, 1, 2}


def test_a_key_twice_in_one_call_is_stored_once(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 100)
    keys = world.keys([1, 2, 1])
    assert ns.put_many(keys, [world.page(1, 100), world.page(2, 100), world.page(1, 100)]) == [True] * 3
    assert store.stats().pages == 2
    assert world.check(ns, [1, 2]) == {1, 2}


def test_deleted_pages_are_gone_and_can_be_put_again(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 100)
    world.put(ns, range(4))
    assert ns.delete_many(world.keys([1, 3, 9, 1])) == 2
    assert world.check(ns, range(4)) == {0, 2}
    world.put(ns, [1], salt=5)
    assert world.check(ns, [1], salt=5) == {1}
    stats = store.stats()
    assert (stats.pages, stats.live_bytes, stats.deleted_pages) == (3, 3 * 4096, 2)


def test_namespaces_do_not_see_each_other(world):
    store = world.open()
    a, b = store.namespace({"m": 1}, 100), store.namespace({"m": 2}, 100)
    world.put(a, [1])
    world.put(b, [2])
    assert world.check(a, [1, 2]) == {1}
    assert world.check(b, [1, 2]) == {2}
    assert list(b.keys()) == world.keys([2])


def test_spans_scattered_through_memory(world):
    """K and V apart, as host pools keep them; 160 spans a page go beyond one system call for 7 pages."""
    ns = world.open().namespace({"m": 1}, 160 * 24)
    n, spans = 7, 160
    pool = np.frombuffer(b"".join(world.pages(range(n), ns.page_bytes)), np.uint8).reshape(n, spans, 24)
    pool = np.ascontiguousarray(pool.transpose(1, 0, 2))
    base, row = pool.ctypes.data, n * 24

    def where(at):
        return np.array([[at + s * row + p * 24 for s in range(spans)] for p in range(n)], np.uint64)

    sizes = np.full(spans, 24, np.int64)
    assert all(ns.put_many(world.keys(range(n)), PageSpans(where(base), sizes, pool)))
    assert world.check(ns, range(n)) == set(range(n))
    back = np.zeros_like(pool)
    assert all(ns.get_into(world.keys(range(n)), PageSpans(where(back.ctypes.data), sizes, back)))
    assert (back == pool).all()


def test_several_buffers_a_page(world):
    ns = world.open().namespace({"m": 1}, 300)
    page = world.page(1, 300)
    assert ns.put_many(world.keys([1]), [[page[:100], page[100:101], page[101:]]]) == [True]
    parts = [bytearray(7), bytearray(293)]
    assert ns.get_into(world.keys([1]), [parts]) == [True]
    assert b"".join(parts) == page


def test_aligned_memory_is_written_from_where_it_is(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 8192)
    memory = memoryview(mmap.mmap(-1, 3 * 8192))
    for i in range(3):
        memory[i * 8192 : (i + 1) * 8192] = world.page(i, 8192)
    before = store.stats().bounced_bytes
    assert all(ns.put_many(world.keys(range(3)), [memory[i * 8192 : (i + 1) * 8192] for i in range(3)]))
    assert store.stats().bounced_bytes - before <= 4096  # the segment header, if this put started one
    assert world.check(ns, range(3)) == {0, 1, 2}


def test_the_callers_memory_is_its_own_again_after_a_call(world):
    ns = world.open().namespace({"m": 1}, 4096)
    buffer = bytearray(world.page(1, 4096))
    ns.put_many(world.keys([1]), [buffer])
    buffer[:] = bytes(4096)
    assert world.check(ns, [1]) == {1}


def test_wrong_arguments_store_nothing(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 100)
    for keys, buffers, parents in [
        (world.keys([1, 2]), [bytes(100)], None),
        (world.keys([1]), [bytes(99)], None),
        (world.keys([1]), [bytes(100)], []),
        ([1], [bytes(100)], None),
        (world.keys([1]), bytes(100), None),
    ]:
        with pytest.raises(InvalidArgumentError):
            ns.put_many(keys, buffers, parents)
    with pytest.raises(InvalidArgumentError, match="read-only"):
        ns.get_into(world.keys([1]), [bytes(100)])
    assert store.stats().pages == 0
    assert ns.put_many([], []) == []
    assert ns.get_into([], []) == []
    assert ns.delete_many([]) == 0


def test_keys_may_be_hex_digests_or_anything_short(world):
    ns = world.open().namespace({"m": 1}, 10)
    hexed = "ab" * 32
    assert ns.put_many([hexed, b"short", "name"], world.pages(range(3), 10)) == [True] * 3
    assert ns.contains([bytes.fromhex(hexed), b"short", "name", "AB" * 32, b"other"]).tolist() == [True, True, True, True, False]


def test_parents_are_remembered(world):
    ns = world.open().namespace({"m": 1}, 10)
    keys = world.keys(range(3))
    ns.put_many(keys, world.pages(range(3), 10), [None, *keys[:2]])
    assert ns.parents([*keys, world.key(9)]) == [None, *keys[:2], None]


def test_small_records_travel_with_pages(world):
    store = world.open()
    ns, other = store.namespace({"m": 1}, 10), store.namespace({"m": 2}, 10)
    ns.put_many(world.keys([1]), world.pages([1], 10), records={b"a1": b"x", b"b": b"y"})
    ns.put_many(world.keys([1]), world.pages([1], 10), records={b"a2": b""})
    assert dict(ns.records()) == {b"a1": b"x", b"a2": b"", b"b": b"y"}
    assert dict(ns.records(b"a")) == {b"a1": b"x", b"a2": b""}
    assert dict(other.records()) == {}
    ns.write_records({b"b": None, b"c": b"z"})
    ns.delete_many(world.keys([1]), records=[b"a1"])
    assert dict(ns.records()) == {b"a2": b"", b"c": b"z"}
    assert store.stats().pages == 0


def test_a_closed_store_says_so(world):
    store = world.open()
    ns = store.namespace({"m": 1}, 10)
    store.close()
    store.close()
    for call in (
        lambda: world.put(ns, [1]),
        lambda: world.read(ns, [1]),
        lambda: ns.contains([b"x"]),
        ns.keys,
        lambda: ns.delete_many([b"x"]),
        store.sync,
        store.gc,
        store.stats,
        lambda: store.namespace({"m": 1}, 10),
    ):
        with pytest.raises(ClosedError):
            call()
