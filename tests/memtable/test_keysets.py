"""The ordered parts: growing in any order, read in both directions, while somebody adds."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.env.rng import seeded
from lsmkv.memtable import skiplist as skiplist_module
from lsmkv.memtable.skiplist import NODE_KEYS, SkipList
from lsmkv.memtable.sorteddict import SortedKeys

MAKE = {"skiplist": lambda: SkipList(seeded(5)), "sorteddict": SortedKeys}


@pytest.fixture(params=sorted(MAKE))
def make(request):
    return MAKE[request.param]


def read(keys, start=None, stop=None, reverse=False):
    return [key for chunk in keys.chunks(start, stop, reverse=reverse) for key in chunk]


def spread(n, step=1, first=0):
    return [b"%08d" % (first + i * step) for i in range(n)]


@pytest.fixture
def small_nodes(monkeypatch):
    monkeypatch.setattr(skiplist_module, "NODE_KEYS", 4)
    monkeypatch.setattr(skiplist_module, "FILL_KEYS", 3)


@pytest.mark.parametrize("name", sorted(MAKE))
@given(
    batches=st.lists(st.sets(st.binary(max_size=3), max_size=30), max_size=8),
    bounds=st.tuples(st.none() | st.binary(max_size=3), st.none() | st.binary(max_size=3)),
)
def test_holds_what_was_added(name, batches, bounds):
    keys, held = MAKE[name](), set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skiplist_module, "NODE_KEYS", 4)
        patch.setattr(skiplist_module, "FILL_KEYS", 3)
        for batch in batches:
            keys.add(sorted(batch - held))
            held |= batch
            keys.check()
        start, stop = bounds
        inside = sorted(k for k in held if (start is None or k >= start) and (stop is None or k < stop))
        assert read(keys, start, stop) == inside
        assert read(keys, start, stop, reverse=True) == inside[::-1]
        assert len(keys) == len(held)


def test_large_loads_ascending_descending_and_interleaved(make):
    keys = make()
    keys.add(spread(5000, 3, 15000))
    keys.add(spread(5000, 3))
    keys.add(spread(10000, 3, 1))
    for key in spread(500, 60, 2):
        keys.add([key])
    keys.check()
    assert read(keys) == sorted([*spread(10000, 3), *spread(10000, 3, 1), *spread(500, 60, 2)])
    assert read(keys, b"00000500", b"00029000", reverse=True) == read(keys, b"00000500", b"00029000")[::-1]


def test_chunks_begin_small_and_stay_bounded(make):
    keys = make()
    keys.add(spread(5000))
    for reverse in (False, True):
        sizes = [len(chunk) for chunk in keys.chunks(None, None, reverse=reverse)]
        assert sizes[0] <= 64
        assert max(sizes) <= NODE_KEYS
        assert sum(sizes) == 5000


@pytest.mark.parametrize("name", sorted(MAKE))
@pytest.mark.parametrize("reverse", [False, True])
@given(first=st.sets(st.binary(max_size=3), min_size=1), rounds=st.lists(st.sets(st.binary(max_size=3)), min_size=1))
def test_nothing_is_skipped_or_repeated_while_keys_are_added_between_chunks(name, reverse, first, rounds):
    keys, held, seen = MAKE[name](), set(first), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skiplist_module, "NODE_KEYS", 4)
        patch.setattr(skiplist_module, "FILL_KEYS", 3)
        keys.add(sorted(first))
        additions = iter(rounds)
        for chunk in keys.chunks(None, None, reverse=reverse):
            seen += chunk
            batch = next(additions, set()) - held
            keys.add(sorted(batch))
            held |= batch
    assert first <= set(seen) <= held
    assert all((a > b) if reverse else (a < b) for a, b in pairwise(seen))


def test_tower_keeps_every_lane_in_order(small_nodes):
    keys = SkipList(seeded(2))
    keys.add(spread(3000))
    assert keys._top >= 3
    keys.check()


def test_same_seed_builds_the_same_tower(small_nodes):
    def heights(seed):
        keys, found = SkipList(seeded(seed)), []
        keys.add(spread(600))
        node = keys._head.next[0]
        while node is not None:
            found.append(len(node.next))
            node = node.next[0]
        return found

    assert heights(1) == heights(1) != heights(2)


@pytest.mark.parametrize(
    "harm", [lambda k: k._head.keys.reverse(), lambda k: k._head.keys.pop(), lambda k: k._head.keys.append(b"~")]
)
def test_check_notices_harm(harm):
    keys = SkipList(seeded(0))
    keys.add(spread(2000))
    harm(keys)
    with pytest.raises(AssertionError):
        keys.check()
