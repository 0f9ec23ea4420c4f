"""The memory of the queue of puts: pages never share a byte, what comes back is used again, and copies are what was copied."""

from __future__ import annotations

import gc
import mmap
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv_tensor.runtime.gathering import SHORT_BYTES, gather
from lsmkv_tensor.runtime.putmemory import ALIGNMENT, PutMemory
from lsmkv_tensor.runtime.putqueue import BEGIN_BYTES, TOGETHER_BYTES, PutQueue


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.tuples(st.integers(1, 9), st.integers(1, 9000)), st.integers(0, 5)), max_size=30))
def test_no_two_pages_share_a_byte_and_all_of_it_comes_back(steps):
    memory = PutMemory(64 << 10, ready=False)
    loans = []
    for step in steps:
        if isinstance(step, tuple):
            loan = memory.take(*step)
            assert [len(page) for page in loan.pages] == [step[1]] * step[0]
            stamp = len(loans) % 251 + 1
            for page in loan.pages:
                page[:] = bytes([stamp]) * len(page)
            loans.append((stamp, loan))
        elif loans:
            stamp, loan = loans.pop(step % len(loans))
            assert all(set(page) == {stamp} for page in loan.pages)
            memory.give(loan)
    for stamp, loan in loans:
        assert all(set(page) == {stamp} for page in loan.pages)
        assert all(array.__array_interface__["data"][0] % ALIGNMENT == 0 for array, _ in loan.runs)
        memory.give(loan)
    assert memory.lent_bytes == 0
    assert len(memory.take(16, ALIGNMENT).runs) == 1  # the whole of it is one stretch again


def test_pages_for_which_the_system_has_no_memory_are_declined_and_lose_none():
    memory = PutMemory(64 << 10, ready=False)
    assert memory.take(2, 1 << 60) is None
    assert memory.take(1, 40 << 10) is not None
    assert memory.take(1 << 48, 40 << 10) is None
    assert memory.lent_bytes == 40 << 10
    queue = PutQueue(1 << 61, 10, manual=True)
    assert queue.offer([b"k"], 1 << 60, None, None) == 0
    assert (queue.bytes, queue.pages, queue.declined_pages) == (0, 0, 1)


def test_a_caller_who_is_interrupted_leaves_the_account_of_room_right():
    def interrupted(after_s):
        raise KeyboardInterrupt

    queue = PutQueue(1 << 20, 10, manual=True)
    queue.wake = interrupted
    with pytest.raises(KeyboardInterrupt):
        queue.offer([b"k"], ALIGNMENT, lambda start, stop, into: None, lambda pieces: [True])
    assert (queue.bytes, queue.pages) == (ALIGNMENT, 1)
    assert not queue.step()
    assert (queue.bytes, queue.pages, queue.memory.lent_bytes) == (0, 0, 0)


def test_an_idle_worker_begins_with_a_little_and_a_late_one_writes_much_at_a_time():
    size, wakes, written = BEGIN_BYTES // 2, [], []
    queue = PutQueue(2 * TOGETHER_BYTES, 1000, manual=True)
    queue.wake = wakes.append

    def sink(pieces):
        written.append([len(piece.keys) for piece in pieces])
        return [True] * sum(written[-1])

    def offer(n):
        return queue.offer([bytes([len(wakes), i]) for i in range(n)], size, lambda start, stop, into: None, sink)

    assert offer(1) == 1
    assert wakes.pop() > 0.0  # one page waits for others
    assert offer(2) == 2
    assert wakes.pop() == 0.0
    assert queue.step() is False
    assert written.pop() == [1, 2]
    assert offer(60) == 60  # 2, then 8 at a time
    while queue.step():
        pass
    assert sum(map(sum, written)) == 60
    assert written[0][0] == 2
    assert [sum(pieces) * size <= TOGETHER_BYTES // 2 for pieces in written] == [True] * len(written)  # a quarter of the queue
    assert len(written) == 5
    assert queue.bytes == 0


def test_the_same_memory_is_used_again():
    memory = PutMemory(1 << 20, ready=False)
    first = memory.take(3, ALIGNMENT)
    memory.take(2, ALIGNMENT)
    memory.give(first)
    assert memory.take(4, ALIGNMENT).extents == [(0, 3 * ALIGNMENT), (5 * ALIGNMENT, 6 * ALIGNMENT)]


def test_memory_is_made_ready_without_changing_what_is_in_it():
    memory = PutMemory(8 << 20)
    loan = memory.take(2, 1 << 20)
    for page in loan.pages:
        page[:] = b"\x07" * len(page)
    memory.close()
    assert all(bytes(page) == b"\x07" * len(page) for page in loan.pages)


def test_more_than_the_machine_has_comes_as_it_is_needed():
    memory = PutMemory(1 << 60, ready=False)
    loan = memory.take(2, 5000)
    loan.pages[1][:] = b"\x01" * 5000
    assert loan.extents == []
    memory.give(loan)
    assert memory.lent_bytes == 0


@pytest.mark.parametrize("n", [10, SHORT_BYTES, SHORT_BYTES + 1, 3 * SHORT_BYTES])
def test_spans_are_copied_end_to_end(n):
    """Neighbours, neighbours out of order, with a gap, memory that is read-only, short ones between long ones."""
    source = np.random.default_rng(n).integers(0, 256, 8 * n, np.uint8)
    view, frozen = memoryview(source), memoryview(source.tobytes())
    pieces = [(view, 0), (view, 1), (view, 3), (view, 2), (frozen, 4), (frozen, 5), (view, 6), (view, 7), (view, 7)]
    spans = [of[at * n : (at + 1) * n] for of, at in pieces]
    spans.insert(7, view[:5])
    spans.insert(2, view[:0])
    into = np.zeros(sum(map(len, spans)) + 3, np.uint8)
    gather(spans, into)
    assert into.tobytes() == b"".join(map(bytes, spans)) + bytes(3)


def test_a_forked_child_that_drops_it_loses_no_memory_of_its_own():
    memory = PutMemory(64 << 20, ready=False)
    loan = memory.take(4, ALIGNMENT)
    loan.pages[0][:5] = b"bytes"
    child = os.fork()
    if not child:
        memory.forked()
        own = [mmap.mmap(-1, 16 << 20) for _ in range(16)]  # where it is, if it is not there
        for one in own:
            one[:5] = b"child"
        del loan, memory
        gc.collect()
        os._exit(0 if all(one[:5] == b"child" for one in own) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert loan.pages[0][:5] == b"bytes"
