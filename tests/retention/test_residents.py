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
