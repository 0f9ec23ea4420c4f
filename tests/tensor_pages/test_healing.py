"""A store whose index and segments disagree goes on working: counts are taken anew, pages out of reach are forgotten."""

from __future__ import annotations

import pytest

from lsmkv import WriteBatch
from lsmkv_tensor.vlog.liveness import Change
from lsmkv_tensor.vlog.segment import FREE

SIZE = 4000
PER_SEGMENT = 13


def fill(world, ns, start: int, segments: int) -> None:
    for s in range(segments):
        ids = range(start + s * PER_SEGMENT, start + (s + 1) * PER_SEGMENT)
        assert all(world.put(ns, ids))


@pytest.mark.parametrize("pages", [0, 5, 40])
def test_wrong_live_counts_do_not_stop_the_store(world, pages):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    fill(world, ns, 0, 3)
    store._space.segments[1].pages = pages
    store._space.segments[1].live_bytes = pages * 100
    ns.delete_many(world.keys(range(6)))
    fill(world, ns, 100, 10)
    store.gc(max_live=0.9)
    fill(world, ns, 300, 5)
    assert world.check(ns, range(352, 365)) == set(range(352, 365))
    ns = world.reopen().namespace({"m": 1}, SIZE)
    fill(world, ns, 500, 10)


@pytest.mark.parametrize("reopened", [False, True])
def test_pages_named_in_a_free_segment_are_forgotten_and_can_be_stored_again(world, reopened):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    fill(world, ns, 0, 3)
    segment = store._space.segments[1]
    store._space._set_state(segment, FREE)
    batch = WriteBatch()
    batch.put(b"\0\0\0\0x", b"")
    store._log._liveness.commit(batch, Change())
    if reopened:
        ns = world.reopen().namespace({"m": 1}, SIZE)
    assert world.check(ns, range(39)) == set(range(13, 39))
    assert not ns.contains(world.keys(range(13))).any()
    assert world.put(ns, range(13)) == [True] * 13
    assert world.check(ns, range(39)) == set(range(39))
    fill(world, ns, 100, 12)
    assert world.store.stats().pages == len(list(ns.keys()))
