"""Memory that a caller hands in twice, or writes to meanwhile, never costs a stored page."""

from __future__ import annotations

import numpy as np
import pytest

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.spans import PageSpans

SIZE = 4000


@pytest.fixture
def ns(world):
    ns = world.open().namespace({"m": 1}, SIZE)
    assert all(world.put(ns, range(6)))
    return ns


@pytest.mark.parametrize("shift", [0, 1, SIZE - 1])
def test_overlapping_buffers_are_refused_and_nothing_is_lost(world, ns, shift):
    memory = bytearray(2 * SIZE)
    view = memoryview(memory)
    buffers = [view[shift : shift + SIZE], view[:SIZE]]
    with pytest.raises(InvalidArgumentError, match="overlap"):
        ns.get_into(world.keys([0, 1]), buffers)
    address = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    spans = PageSpans(np.array([[address], [address + shift]], np.uint64), np.array([SIZE]), memory)
    with pytest.raises(InvalidArgumentError, match="overlap"):
        ns.get_into(world.keys([0, 1]), spans)
    assert world.check(ns, range(6)) == set(range(6))


def test_one_page_in_several_buffers(world, ns):
    """A page that is alone in its call is looked at in fewer steps, and for the same faults."""
    memory = bytearray(2 * SIZE)
    view = memoryview(memory)
    whole = world.pages([0], SIZE)[0]
    for parts in (
        [view[:1000], view[1000:SIZE]],
        [view[SIZE : SIZE + 1000], view[: SIZE - 1000]],
        [view[:0], view[:SIZE]],
        (view[:1000], view[1000:SIZE]),
        [view[:1000], np.frombuffer(view, np.uint8)[1000:SIZE]],
        [view[:1000].cast("I"), view[1000:SIZE].cast("c")],
    ):
        assert ns.get_into(world.keys([0]), [parts]) == [True]
        assert b"".join(bytes(part) for part in parts) == whole
    for parts, why in (
        ([view[:1000], view[999 : SIZE - 1]], "overlap"),
        ([view[500:1500], view[: SIZE - 1000]], "overlap"),
        ([view[:1000], view[1000 : SIZE - 1]], "3999 bytes"),
        ([view[:1000].toreadonly(), view[1000:SIZE]], "read-only"),
        ([view[: 2 * SIZE : 2]], "contiguous"),
    ):
        with pytest.raises(InvalidArgumentError, match=why):
            ns.get_into(world.keys([0]), [parts])
    assert ns.put_many(world.keys([9]), [[view[:1000], view[: SIZE - 1000]]]) == [True], "memory may be stored twice"


def test_neighbouring_buffers_in_any_order_are_fine(world, ns):
    memory = bytearray(3 * SIZE)
    view = memoryview(memory)
    assert ns.get_into(world.keys([2, 0, 1]), [view[i * SIZE : (i + 1) * SIZE] for i in (2, 0, 1)]) == [True] * 3
    assert bytes(memory) == b"".join(world.pages(range(3), SIZE))


def test_the_same_memory_may_be_stored_twice(world, ns):
    page = world.page(9, SIZE)
    assert ns.put_many(world.keys([10, 11]), [page, page]) == [True, True]


def test_a_page_whose_buffer_is_written_to_while_it_is_read_is_kept_and_delivered(world, ns):
    out = np.zeros((6, SIZE), np.uint8)

    reader = world.store._reader
    read, calls = reader._read, []

    def spoilt(wants):
        calls.append(len(wants))
        troubles = read(wants)
        return [(want, "bad") for want in wants] if len(calls) == 1 else troubles

    reader._read = spoilt
    assert ns.get_into(world.keys(range(6)), out) == [True] * 6
    assert calls == [6, 1, 1, 1, 1, 1, 1]
    assert [row.tobytes() for row in out] == world.pages(range(6), SIZE)
    assert world.store.stats().corrupt_pages == 0


def test_a_page_whose_second_read_fails_is_a_miss_and_kept(world, ns):
    reader = world.store._reader
    read, calls = reader._read, []

    def failing(wants):
        calls.append(1)
        return [(want, "bad" if len(calls) == 1 else "error") for want in wants]

    reader._read = failing
    assert world.check(ns, [0]) == set()
    reader._read = read
    assert world.check(ns, range(6)) == set(range(6))
