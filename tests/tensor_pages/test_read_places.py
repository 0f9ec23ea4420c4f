"""Where pages are that were read lately is remembered: no look-up, and never a page that is gone, or the bytes of another."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv_tensor.retention import keeper
from lsmkv_tensor.retention.known import KnownPages, ReadPlaces
from tests.tensor_runtime.conftest import lent
from tests.tensor_runtime.test_past_reads import QueueingWorld

SIZE = 8192
PAGES = 24
KEY = b"\0\0\0\1" + bytes(28)


def remembered(world, ns, ids):
    """Which of these pages need no look-up."""
    read = world.store._log.keeper.known.read
    return {i for i in ids if read.of(ns.index_keys(world.keys([i]))) is not None}


@pytest.fixture
def world():
    yield from lent(QueueingWorld())


def filled(world, pages=PAGES, **options):
    return world.filled(range(pages), SIZE, **options)


@pytest.mark.parametrize("when", [{}, {"deadline_s": 5}])
def test_pages_that_were_read_are_not_looked_up_again(world, when):
    ns = filled(world)
    for _ in range(3):
        world.get(ns, range(0, PAGES, 2), SIZE, **when)
    assert remembered(world, ns, range(PAGES)) == set(range(0, PAGES, 2))


def reopened(world, **options):
    filled(world)
    world.store.close()
    ns = world.open(**options).namespace({"m": 1}, SIZE)
    world.store._log.keeper.fill()
    return ns


@pytest.mark.parametrize(("options", "found"), [({}, PAGES), ({"known_pages": 10}, 0), ({"known_pages": 0}, 0)])
def test_a_small_store_remembers_all_its_places_when_it_is_opened(world, options, found):
    ns = reopened(world, **options)
    assert len(remembered(world, ns, range(PAGES))) == found
    assert world.get(ns, range(PAGES), SIZE)[0] == set(range(PAGES))
    ns.delete_many(world.keys(range(4)))
    assert remembered(world, ns, range(4)) == set()
    assert world.get(ns, range(PAGES), SIZE)[0] == set(range(4, PAGES))


def test_a_large_store_does_not(world, monkeypatch):
    monkeypatch.setattr(keeper, "MOST_READ", PAGES - 1)
    ns = reopened(world)
    assert remembered(world, ns, range(PAGES)) == set()


def test_what_is_remembered_is_not_asked():
    known = KnownPages(10)
    answers = [[b"here", None], [b"there", None]]
    for found in ([b"here", None], [b"there", None]):  # of one of them nothing is known
        assert known.values([KEY, KEY[::-1]], answers.pop(0).copy) == found
    assert known.values([KEY], list) == [b"there"]
    assert KnownPages(0).values([KEY], lambda: [b"here"]) == [b"here"]


def test_with_no_known_pages_every_page_is_looked_up(world):
    ns = filled(world, known_pages=0)
    for _ in range(3):
        world.get(ns, range(PAGES), SIZE)
    assert remembered(world, ns, range(PAGES)) == set()


@pytest.mark.parametrize("when", [{}, {"deadline_s": 5}])
def test_a_deleted_page_is_a_miss_however_often_it_was_read(world, when):
    ns = filled(world)
    for _ in range(3):
        world.get(ns, range(PAGES), SIZE, **when)
    ns.delete_many(world.keys([3, 5]))
    assert world.get(ns, range(PAGES), SIZE, **when)[0] == set(range(PAGES)) - {3, 5}
    assert world.get(ns, [3], SIZE, **when)[0] == set()
    world.store.drop_namespace(ns.number)
    assert world.get(ns, range(PAGES), SIZE, **when)[0] == set()


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["get", "get by", "delete", "put", "gc", "let go"]), st.sets(st.integers(0, 7), min_size=1)),
        max_size=16,
    )
)
def test_reads_find_what_is_stored_whatever_moved_or_went_meanwhile(steps):
    world = QueueingWorld()
    ns = world.open(segment_bytes=1 << 20).namespace({"m": 1}, SIZE)
    stored = set()
    with contextlib.closing(world.store):
        for what, ids in [
            ("put", set(range(8))),
            ("get", set(range(8))),
            *steps,
            ("get", set(range(8))),
            ("get by", set(range(8))),
        ]:
            chosen = sorted(ids)
            if what == "put":
                world.put(ns, chosen)
                stored |= ids
            elif what == "delete":
                ns.delete_many(world.keys(chosen))
                stored -= ids
            elif what == "gc":
                world.store.gc(max_live=0.99)
            elif what == "let go":
                world.let_go()
            else:
                assert world.get(ns, chosen, SIZE, **({"deadline_s": 5} if what == "get by" else {}))[0] == ids & stored
        assert world.store.stats().corrupt_pages == 0


def test_a_page_that_moved_is_looked_up_again(world):
    ns = filled(world)
    for _ in range(3):
        world.get(ns, range(PAGES), SIZE)
    ns.delete_many(world.keys(range(0, PAGES, 2)))
    moved = world.store.gc(max_live=0.99)
    assert moved.pages_moved
    assert remembered(world, ns, range(PAGES)) == set()
    assert world.get(ns, range(1, PAGES, 2), SIZE)[0] == set(range(1, PAGES, 2))
    assert remembered(world, ns, range(PAGES)) == set(range(1, PAGES, 2))


def test_one_page_whose_remembered_place_is_wrong_is_looked_up_again(world):
    """It was remembered from before it moved, by a call that had asked the index then."""
    ns = filled(world)
    world.get(ns, [1], SIZE, deadline_s=5)
    world.let_go()
    log, key = world.store._log, ns.index_keys(world.keys([0]))
    wrong = log.db.get_many(ns.index_keys(world.keys([2])))
    log.keeper.known.read.note(key, wrong)
    assert world.get(ns, [0], SIZE, deadline_s=5)[0] == {0}
    assert log.keeper.known.read.of(key) != wrong


def test_what_is_lost_while_the_index_is_asked_is_not_remembered():
    known = KnownPages(10)

    def asked():
        known.lose([KEY])
        return [b"where it was"]

    assert known.values([KEY], asked) == [b"where it was"]
    assert known.read.of([KEY]) is None
    assert known.values([KEY], lambda: [b"where it is"]) == [b"where it is"]
    assert known.values([KEY], list) == [b"where it is"]


def test_misses_beside_a_read_do_not_keep_its_places_from_being_remembered(world):
    ns = filled(world)
    known = world.store._log.keeper.known
    before = known.losses

    def asked():
        assert world.get(ns, [PAGES + 1], SIZE)[0] == set()
        return [b"where it is"]

    assert known.values([KEY], asked) == known.read.of([KEY]) == [b"where it is"]
    known.doubt([KEY])
    assert known.read.of([KEY]) is None
    assert known.losses == before


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True)), max_size=60))
def test_it_is_bounded_and_knows_only_what_it_was_told(steps):
    places, told = ReadPlaces(8), {}
    for round_, (note, numbers) in enumerate(steps):
        keys = [bytes([n]) for n in numbers]
        if note:
            values = [None if n % 5 == 0 else bytes([n, round_]) for n in numbers]
            places.note(keys, values)
            told.update(zip(keys, values, strict=True))
        else:
            places.forget(keys)
            for key in keys:
                told[key] = None
        assert len(places) <= 8
        for key in map(bytes, zip(range(31))):
            found = places.of([key])
            assert found is None or found == [told[key]]
