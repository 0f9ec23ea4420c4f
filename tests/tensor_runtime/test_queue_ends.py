"""How the queue of puts begins and ends its work: nobody waits longer than need be, and nobody is told what is not so."""

from __future__ import annotations

import pytest

from lsmkv.testing import Hang
from lsmkv_tensor.errors import ClosedError
from lsmkv_tensor.runtime.putmemory import ALIGNMENT
from lsmkv_tensor.runtime.putqueue import PIECE_BYTES, PutQueue
from tests.tensor_runtime.conftest import SIZE, Call


def offered(queue, ids, size=ALIGNMENT, written=None):
    def sink(pieces):
        if written is not None:
            written.append(sum(piece.nbytes for piece in pieces))
        return [True] * sum(len(piece.keys) for piece in pieces)

    return queue.offer([b"%d" % i for i in ids], size, lambda start, stop, into: None, sink)


def woken(limit_bytes, limit_pages=1000, *, manual=True):
    queue, wakes = PutQueue(limit_bytes, limit_pages, manual=manual), []
    queue.wake = wakes.append
    return queue, wakes


@pytest.mark.parametrize("manual", [False, True])
def test_a_small_queue_does_not_wait_for_more_than_it_holds(manual):
    """Full and waiting for more to go with it: 20 ms for every megabyte."""
    by_bytes, wakes = woken(16 * ALIGNMENT, manual=manual)
    assert offered(by_bytes, range(3)) == 3
    assert wakes.pop() > 0.0
    assert offered(by_bytes, [3]) == 1
    assert wakes == [0.0]
    by_pages, wakes = woken(1 << 30, 16, manual=manual)
    assert offered(by_pages, range(3)) == 3
    assert wakes.pop() > 0.0
    assert offered(by_pages, [3]) == 1
    assert wakes == [0.0]
    by_bytes.close()
    by_pages.close()


def test_who_waits_for_room_has_what_waits_for_more_written():
    queue, wakes = woken(16 * ALIGNMENT, manual=False)
    assert offered(queue, range(3)) == 3
    assert wakes.pop() > 0.0
    assert queue.await_room(ALIGNMENT, 1, 0.0)
    assert wakes == []
    assert not queue.await_room(14 * ALIGNMENT, 14, 0.0)
    assert wakes == [0.0]
    queue.close()


def test_an_interrupted_caller_does_not_keep_the_next_one_from_waking_the_worker():
    def interrupted(after_s):
        raise KeyboardInterrupt

    queue, wakes = woken(1 << 20)
    queue.wake = interrupted
    with pytest.raises(KeyboardInterrupt):
        offered(queue, [0])
    queue.wake = wakes.append
    assert offered(queue, [1]) == 1
    assert len(wakes) == 1


def test_after_the_end_has_come_little_is_written_at_a_time():
    """Whoever hurries waits for one write: it is to be short."""
    queue, _ = woken(12 * PIECE_BYTES)
    written = []
    assert offered(queue, range(20), PIECE_BYTES // 2, written) == 20
    assert queue.step()
    assert written.pop() > PIECE_BYTES
    queue.shut()
    while queue.step():
        pass
    assert sum(written) > PIECE_BYTES
    assert max(written) <= PIECE_BYTES


@pytest.mark.parametrize("callers", [1, 3])
def test_who_waits_for_pages_that_are_dropped_is_told(callers):
    """It had waited for ever, or been told that they are written."""
    queue, wakes = woken(1 << 20, manual=False)
    assert offered(queue, range(4)) == 4
    calls = [Call(queue.drain) for _ in range(callers)]
    while len(wakes) < 1 + callers:  # each of them waits, or is about to
        pass
    with queue._changed:
        pass
    assert queue.finish(0.0) == (4, True)
    for call in calls:
        with pytest.raises(ClosedError, match="dropped"):
            call.result()
    assert queue.drain()
    assert (queue.bytes, queue.pages, queue.memory.lent_bytes) == (0, 0, 0)
    queue.close()


def test_a_sync_after_the_end_waits_for_the_write_that_is_under_way(faulty):
    """What was dropped came after it, and must not pass for it."""
    ns = faulty.open(put_queue_bytes=10 * SIZE, scheduler=None).namespace({"m": 1}, SIZE)
    rule = faulty.fs.add(Hang("pwritev", path="*.seg", times=1))
    faulty.put(ns, [0])
    assert rule.reached.wait(60)
    faulty.put(ns, [1])
    assert faulty.store.finish_puts(0.0) == (1, False)
    assert not faulty.store._services.puts.drain(lambda: True)
    rule.event.set()
    store = faulty.store
    store.sync()
    ns = faulty.crash().namespace({"m": 1}, SIZE)
    store.close()  # its threads, too
    assert faulty.check(ns, range(2)) == {0}
