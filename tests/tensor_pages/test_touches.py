"""What is used is noted, and told to the policy later: once for each page of a request, and never in a reader's own time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsmkv_tensor import PageFormat, TensorStore
from lsmkv_tensor.retention import touches
from lsmkv_tensor.retention.touches import ASK, READ, STORE, Touches

SIZE = 4000
PER_SEGMENT = 13


class Spy:
    """A policy that evicts whatever is there and notes what it is told."""

    told: list[tuple[str, int]] = []

    def __init__(self, capacity_bytes):
        self.sizes = {}
        Spy.told = []

    def on_insert(self, pages, sizes, prints):
        self.sizes.update(zip(pages.tolist(), sizes.tolist(), strict=True))
        Spy.told += [("insert", page) for page in pages.tolist()]

    def on_hit(self, pages):
        assert all(page in self.sizes for page in pages.tolist())
        Spy.told += [("hit", page) for page in pages.tolist()]

    def on_remove(self, pages, evicted):
        for page in pages.tolist():
            del self.sizes[page]

    def victims(self, nbytes):
        return np.array(list(self.sizes), np.int64)


@pytest.fixture
def spying(world, monkeypatch):
    """A store of a spying policy, filled with what it holds (nothing), and its namespace."""
    monkeypatch.syspath_prepend(__file__.rsplit("/", 1)[0])
    store = world.open(eviction="test_touches:Spy")
    while store.step():
        pass
    return store, store.namespace({"m": 1}, SIZE)


def put(world, ns, ids, above=None):
    """Store a chain of pages that goes on after page ``above``."""
    ids = list(ids)
    parents = [None if p is None else world.key(p) for p in [above, *ids[:-1]]]
    return ns.put_many(world.keys(ids), world.pages(ids, SIZE), parents)


def hits():
    """Touches told since the last time, beside inserts."""
    import test_touches  # noqa: PLC0415 - the module that the store imported, which is not this one

    found = [page for what, page in test_touches.Spy.told if what == "hit"]
    test_touches.Spy.told.clear()
    return found


def settle(store):
    """Have the background tell the policy everything."""
    while store.step():
        pass


def test_a_put_of_several_frames_touches_what_is_above_it_once(world, spying):
    store, ns = spying
    put(world, ns, range(5))
    settle(store)
    hits()
    assert ns.contains_prefix(world.keys([0])) == 1
    assert all(put(world, ns, range(5, 5 + 2 * PER_SEGMENT), above=4))
    settle(store)
    assert len(hits()) == 5


def test_a_probe_a_read_and_a_put_in_pieces_touch_each_page_once(world, spying):
    store, ns = spying
    put(world, ns, range(8))
    settle(store)
    hits()
    assert ns.contains_prefix(world.keys(range(12))) == 8
    world.check(ns, range(8))
    put(world, ns, range(8, 10), above=7)
    put(world, ns, range(10, 12), above=9)
    settle(store)
    assert len(hits()) == 8
    assert ns.contains_prefix(world.keys(range(12))) == 12
    settle(store)
    assert len(hits()) == 12


def test_a_probe_with_a_deadline_and_its_read_touch_each_page_once(world, monkeypatch):
    """The probe was taken for that of another caller: the thread that may be left."""
    monkeypatch.syspath_prepend(__file__.rsplit("/", 1)[0])
    store = world.open(eviction="test_touches:Spy", io_timeout_s=60.0)
    settle(store)
    ns = store.namespace({"m": 1}, SIZE)
    put(world, ns, range(8))
    settle(store)
    hits()
    assert ns.contains_prefix(world.keys(range(12))) == 8
    world.check(ns, range(8))
    put(world, ns, range(8, 10), above=7)
    settle(store)
    assert len(hits()) == 8


@pytest.mark.parametrize("queue", [0, 1 << 20])
def test_a_put_batch_of_pages_that_are_there_refreshes_them(world, monkeypatch, queue):
    """As put_many does: it looked which are there and told nobody."""
    monkeypatch.syspath_prepend(__file__.rsplit("/", 1)[0])
    fmt = PageFormat(page_tokens=2, shape=(SIZE,), dtype=torch.int8)
    options = world.options(eviction="test_touches:Spy", put_queue_bytes=queue)
    with TensorStore.open("/t", fmt, namespace="m", options=options) as store:
        settle(store)
        tokens, pages = list(range(16)), torch.zeros((8, SIZE), dtype=torch.int8)
        assert store.put_batch(tokens, pages[:6]) == 6
        settle(store)
        hits()
        assert store.put_batch(tokens, pages[:4]) == 0
        settle(store)
        assert len(hits()) == 4
        assert store.probe(tokens) == 12
        assert store.put_batch(tokens, pages) == 2
        settle(store)
        assert len(hits()) == 6


def test_another_prompt_stored_by_the_same_thread_is_another_request(world, spying):
    store, ns = spying
    put(world, ns, range(4))
    put(world, ns, [20], above=3)
    settle(store)
    hits()
    put(world, ns, [10])
    put(world, ns, [21], above=3)
    settle(store)
    assert len(hits()) == 4


def test_callers_only_take_notes_and_the_background_tells_the_policy(world, spying):
    store, ns = spying
    put(world, ns, range(PER_SEGMENT))
    settle(store)
    hits()
    for _ in range(400):
        ns.contains_prefix(world.keys(range(PER_SEGMENT)))
        ns.contains_prefix(world.keys([PER_SEGMENT - 1]))
    assert hits() == []
    assert store._keeper.touches.notes == 400 * 2
    assert store._keeper.touches.waiting == 400 * (PER_SEGMENT + 1)
    settle(store)
    assert store._keeper.touches.waiting == 0
    assert len(hits()) == 400 * 2 * PER_SEGMENT


def test_notes_that_find_no_room_are_counted(monkeypatch):
    monkeypatch.setattr(touches, "MAX_WAITING", 10)
    notes = Touches()
    for _ in range(5):
        notes.note(READ, [b"k" * 28] * 4, b"0001")
    assert (notes.waiting, notes.lost) == (12, 8)
    assert [len(note.keys) for note in notes.take(5)] == [4]
    assert [len(note.keys) for note in notes.take(8)] == [4, 4]
    assert notes.take(8) == []
    notes.note(STORE, [b"k" * 28] * 20, b"0001")
    assert [len(note.keys) for note in notes.take(8)] == [20], "one note of more is taken whole"
    assert notes.waiting == 0


def test_choosing_what_goes_ends_though_readers_go_on_noting_what_they_use(world, spying, monkeypatch):
    """Everything noted was told first, and what was noted meanwhile: beside a busy reader no segment was ever reclaimed."""
    import test_touches  # noqa: PLC0415 - as above

    store, ns = spying
    put(world, ns, range(5))
    settle(store)
    told = 0

    def hit_and_read(self, pages):
        nonlocal told
        told += 1
        assert told < 1_000, "it waits for the reader to stop"
        ns.get_into(world.keys([told % 5]), np.zeros((1, SIZE), np.uint8))

    monkeypatch.setattr(test_touches.Spy, "on_hit", hit_and_read)
    assert world.read(ns, [0])
    for start in range(5, 5 + 8 * PER_SEGMENT, PER_SEGMENT):
        assert all(put(world, ns, range(start, start + PER_SEGMENT)))
    assert store.stats().evicted_pages
    assert told


def test_pages_asked_for_alone_are_a_note_each():
    found = Touches()
    found.note_asks(1, [b"%028d" % i for i in range(5)], b"0001")
    found.note(READ, [b"%028d" % i for i in range(3)], b"0001", 2)
    assert found.waiting == 8
    assert found.take(5) == [(1, ASK, b"0001", (b"%028d" % i,), None) for i in range(5)]
    assert found.waiting == 3
    assert found.take(5)[0].size == 3
    assert found.waiting == 0
