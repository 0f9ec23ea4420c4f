"""The table of resident pages against a dict: whatever is stored, removed and stored again, it finds what is there."""

from __future__ import annotations

import hashlib

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from lsmkv.env.rng import seeded
from lsmkv_tensor.retention.residents import NONE, Residents, key_rows, parent_rows, prints_of

NOBODY = bytes(28)


def key(i: int, space: int = 1) -> bytes:
    return space.to_bytes(4, "big") + hashlib.sha256(b"%d" % i).digest()[:28]


def store(table, ids, parents=None, segment=1, space=1):
    rows = key_rows([key(i, space) for i in ids])
    above = [NOBODY if p is None else key(p)[4:] for p in (parents if parents is not None else [None] * len(ids))]
    return table.insert(rows, np.full(len(ids), 4000, np.uint32), segment, parent_rows(rows, above))


def find(table, ids, space=1):
    return table.find(key_rows([key(i, space) for i in ids])).tolist()


steps = st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 300), min_size=1, max_size=60)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_it_holds_what_a_dict_would(steps):
    table, model = Residents(1), {}
    for storing, ids in steps:
        if storing:
            new = sorted(i for i in ids if i not in model)
            model.update(zip(new, store(table, new).tolist(), strict=True))
        else:
            gone = sorted(i for i in ids if i in model)
            table.remove(np.array([model.pop(i) for i in gone], np.int64))
        assert find(table, range(301)) == [model.get(i, NONE) for i in range(301)]
        assert sorted(table.slots().tolist()) == sorted(model.values())
        assert len(table) == len(model)


def test_it_grows_and_reuses_slots():
    table = Residents()
    rng = seeded(1)
    there = {}
    for _ in range(30):
        new = [i for i in range(20000) if i not in there and rng.random() < 0.2]
        there.update(zip(new, store(table, new).tolist(), strict=True))
        gone = [i for i in there if rng.random() < 0.3]
        table.remove(np.array([there.pop(i) for i in gone], np.int64))
    assert find(table, range(20000)) == [there.get(i, NONE) for i in range(20000)]
    assert len(table.lengths) < 40000


def test_equal_page_keys_of_two_namespaces_are_two_pages():
    table = Residents()
    one, two = store(table, [5], space=1), store(table, [5], space=2)
    assert find(table, [5], space=1) == one.tolist() != two.tolist()
    assert find(table, [5], space=3) == [NONE]
    prints = prints_of(key_rows([key(5, 1), key(5, 2)]))
    assert prints[0] != prints[1]


def test_a_touch_reaches_the_resident_ancestors_leaf_to_root():
    table = Residents()
    slots = store(table, range(10), [None, *range(9)])
    assert table.with_ancestors(slots[7:10]).tolist() == slots[::-1].tolist()
    assert table.with_ancestors(slots[3:4]).tolist() == slots[3::-1].tolist()
    other = store(table, [20, 21], [4, 20])
    assert table.with_ancestors(other[1:]).tolist() == [other[1], other[0], *slots[4::-1].tolist()]


def test_a_parent_that_went_and_came_back_is_found_again_and_a_stranger_in_its_slot_is_not_believed():
    table = Residents()
    slots = store(table, range(4), [None, 0, 1, 2])
    table.remove(slots[1:2])
    stranger = store(table, [99])
    assert stranger.tolist() == slots[1:2].tolist()
    assert table.with_ancestors(slots[3:]).tolist() == [slots[3], slots[2]]
    back = store(table, [1], [0])
    assert table.with_ancestors(slots[3:]).tolist() == [slots[3], slots[2], back[0], slots[0]]


def test_a_circle_of_parents_ends():
    table = Residents()
    slots = store(table, range(3), [2, 0, 1])
    assert sorted(table.with_ancestors(slots[1:2]).tolist()) == sorted(slots.tolist())


def test_a_page_takes_at_most_80_bytes():
    table = Residents()
    keys = np.random.default_rng(1).integers(0, 2**63, (200_000, 4), np.int64).astype(np.uint64)
    for start in range(0, len(keys), 5000):
        part = keys[start : start + 5000]
        table.insert(part, np.full(5000, 65536, np.uint32), 1, np.zeros_like(part))
    assert table.nbytes <= 80 * len(keys)


def test_reserved_room_is_not_outgrown_and_keeps_what_is_there():
    """A store that opens knows how many pages it will find: growing step by step copied them, and left a quarter of slack."""
    table = Residents()
    early = store(table, range(100))
    table.reserve(50_000)
    room = table.nbytes
    assert find(table, range(100)) == early.tolist()
    for start in range(100, 50_000, 5_000):
        store(table, range(start, min(start + 5_000, 50_000)))
    assert len(table) == 50_000
    assert table.nbytes == room
    assert len(set(find(table, range(50_000)))) == 50_000


def test_a_slot_that_is_used_again_has_neither_the_pins_nor_the_end_of_its_last_page():
    table = Residents()
    rows = key_rows([key(1), key(2)])
    slots = table.insert(rows, np.full(2, 4000, np.uint32), 1, parent_rows(rows, [NOBODY] * 2), np.array([7, 0], np.uint32))
    assert table.expiries[slots].tolist() == [7, 0]
    table.pins[slots] = 3
    table.remove(slots)
    again = store(table, [3, 4])
    assert sorted(again.tolist()) == sorted(slots.tolist())
    assert not table.expiries[again].any()
    assert not table.pins[again].any()
