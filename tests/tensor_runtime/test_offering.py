"""What the queue of puts does for those who keep accounts, wait for room, or end in a hurry."""

from __future__ import annotations

import pytest

from lsmkv.testing import FailOp, Hang
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.runtime.putqueue import PIECE_BYTES
from tests.tensor_runtime.conftest import SIZE, Call

QUEUE = 10 * SIZE


def opened(world, **options):
    return world.open(**{"put_queue_bytes": QUEUE, **options}).namespace({"m": 1}, SIZE)


def offer(world, ns, ids, **more):
    return ns.offer(world.keys(ids), world.pages(ids, SIZE), **more)


def test_what_became_of_pages_is_told_when_they_are_written(faulty):
    ns, told = opened(faulty, admission="second"), {}
    note = lambda keys, verdicts: told.update(zip(keys, verdicts, strict=True))  # noqa: E731  # one line says it
    assert offer(faulty, ns, range(3), told=note) == ([True] * 3, {0, 1, 2})
    assert told == {}
    faulty.store.step()
    assert set(told.values()) == {None}
    assert offer(faulty, ns, [0, 0, 1], told=note) == ([True] * 3, {0, 2})
    faulty.store.step()
    assert [told[key] for key in faulty.keys(range(3))] == [True, True, None]
    assert offer(faulty, ns, range(2), told=note).new == set()
    rule = faulty.fs.add(FailOp("pwritev", path="*.seg"))
    offer(faulty, ns, [2], told=note)
    faulty.store.step()
    faulty.fs.remove(rule)
    assert told[faulty.keys([2])[0]] is False


def test_an_error_of_who_is_told_is_counted_and_loses_no_page(faulty):
    ns = opened(faulty)
    offer(faulty, ns, [0], told=lambda *_: 1 / 0)
    offer(faulty, ns, [1])
    faulty.store.sync()
    assert faulty.store.stats().queue_failed_calls == 1
    assert faulty.check(ns, range(2)) == {0, 1}


def test_notes_become_records_with_their_pages(faulty):
    ns, key = opened(faulty), faulty.keys([1])[0]
    offer(faulty, ns, range(3), notes=[None, b"note", None])
    assert (ns.waiting_note(key), dict(ns.records())) == (b"note", {})
    faulty.store.step()
    assert (ns.waiting_note(key), dict(ns.records())) == (None, {key: b"note"})
    with pytest.raises(InvalidArgumentError, match="2 notes for 1 keys"):
        offer(faulty, ns, [5], notes=[None, b"n"])
    with pytest.raises(InvalidArgumentError, match="put_queue_bytes"):
        offer(faulty, faulty.reopen().namespace({"m": 1}, SIZE), [5])


def test_single_pages_go_to_the_disk_together(faulty):
    ns = opened(faulty)
    for i in range(6):
        offer(faulty, ns, [i])
    assert ns.waiting(faulty.keys([0, 5, 6])) == [True, True, False]
    assert not faulty.store.step()
    assert faulty.store.stats().put_pages == 6
    before = faulty.store.stats().written_bytes
    offer(faulty, ns, [6])
    offer(faulty, ns, [7], ttl_s=600)  # another end: a write of its own
    assert faulty.store.step()
    assert not faulty.store.step()
    assert faulty.store.stats().written_bytes > before
    assert faulty.check(ns, range(9)) == set(range(8))


def test_a_call_may_wait_for_room_and_is_taken_piece_by_piece(faulty):
    ns = opened(faulty, scheduler=None)
    assert offer(faulty, ns, range(30), wait_s=60.0) == ([True] * 30, set(range(30)))
    faulty.store.sync()
    assert faulty.check(ns, range(31)) == set(range(30))


def test_a_call_that_waits_for_room_is_let_go_at_the_end(faulty):
    ns = opened(faulty, scheduler=None)
    rule = faulty.fs.add(Hang("pwritev", path="*.seg", times=1))
    told = []
    offer(faulty, ns, [0])
    assert rule.reached.wait(60)
    offer(faulty, ns, range(1, 8), told=lambda keys, verdicts: told.extend(verdicts))
    call = Call(lambda: offer(faulty, ns, range(8, 30), wait_s=60.0))
    try:
        dropped, ended = faulty.store.finish_puts(0.0)
        flags, new = call.result()
    finally:
        rule.event.set()
    assert flags == [True] * len(new) + [False] * (22 - len(new))
    assert (dropped, ended, told) == (7 + len(new), False, [])  # who is told might ask the disk
    assert faulty.put(ns, [40]) == [False]
    faulty.store.sync()
    assert faulty.check(ns, range(41)) == {0}


def test_an_end_in_time_drops_nothing(faulty):
    ns = opened(faulty, scheduler=None)
    offer(faulty, ns, range(10))
    assert faulty.store.finish_puts(60.0) == (0, True)
    assert faulty.check(ns, range(10)) == set(range(10))


def test_a_large_call_waits_in_several_pieces(faulty):
    size = PIECE_BYTES // 2
    ns = faulty.open(put_queue_bytes=8 * size, capacity_bytes=64 << 20, segment_bytes=16 << 20).namespace({"big": 1}, size)
    page = bytes(size)
    assert ns.offer(faulty.keys(range(5)), [page] * 5).new == set(range(5))
    steps = 1
    while faulty.store.step():
        steps += 1
    assert steps == 3
    assert ns.contains_own(faulty.keys(range(5))).all()
