"""The block cache: bounded in bytes, second chance, heat only in free room."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from lsmkv.cache.blockcache import ENTRY_BYTES, BlockCache, Shelf


@dataclass(eq=False)
class Thing:
    """A cacheable of a given weight."""

    charge: int = 10
    heat_charge: int = 30
    hot: dict[bytes, object] | None = None

    def heated(self):
        return {b"key": self}


def test_the_oldest_unmarked_block_goes_first():
    cache = BlockCache(3 * (ENTRY_BYTES + 10))
    shelf = cache.shelf(1, 8)
    things = [Thing() for _ in range(5)]
    for i in range(3):
        shelf.put(i, things[i])
    shelf.marks[0] = 1
    shelf.put(3, things[3])
    assert shelf.blocks[:4] == [things[0], None, things[2], things[3]]
    assert shelf.marks[0] == 0, "its second chance is used up"
    shelf.put(4, things[4])
    assert [i for i, t in enumerate(shelf.blocks) if t is not None] == [0, 3, 4]
    assert cache.evictions == 2


def test_bytes_count_what_is_held_and_never_exceed_the_capacity():
    cache = BlockCache(2000)
    shelf = cache.shelf(1, 10)
    for i in range(10):
        shelf.put(i, Thing(charge=100 * i))
        assert cache.bytes <= 2000
        assert cache.bytes == sum(t.charge + ENTRY_BYTES for t in shelf.blocks if t is not None)
    shelf.put(0, Thing(charge=5000))
    assert shelf.blocks[0] is None, "larger than the whole cache"


def test_a_block_is_held_once():
    cache = BlockCache(10_000)
    shelf = cache.shelf(1, 1)
    first = Thing()
    shelf.put(0, first)
    shelf.put(0, Thing(charge=20))
    assert shelf.blocks[0] is first
    assert len(cache) == 1
    assert cache.bytes == 10 + ENTRY_BYTES


def test_dropping_a_table_forgets_its_blocks_and_refuses_late_ones():
    cache = BlockCache(10_000)
    one, two = cache.shelf(1, 4), cache.shelf(2, 4)
    for i in range(4):
        one.put(i, Thing())
        two.put(i, Thing())
    cache.drop(1)
    one.put(0, Thing())
    assert one.blocks == [None] * 4
    assert len(cache) == 4
    cache.drop(7)
    cache.clear()
    assert (len(cache), cache.bytes, two.blocks) == (0, 0, [None] * 4)


def test_a_shelf_survives_its_reader_being_reopened():
    cache = BlockCache(10_000)
    thing = Thing()
    cache.shelf(1, 4).put(2, thing)
    assert cache.shelf(1, 4).blocks[2] is thing


def test_a_shelf_without_a_cache_holds_nothing():
    shelf = Shelf(1, 3, None)
    shelf.put(1, Thing())
    shelf.heat(1, Thing())
    assert shelf.blocks == [None] * 3


def test_heat_is_given_in_free_room_only_and_taken_before_the_block():
    cache = BlockCache(2 * (ENTRY_BYTES + 10) + 30)
    shelf = cache.shelf(1, 4)
    first, second, third = Thing(), Thing(), Thing()
    shelf.put(0, first)
    shelf.put(1, second)
    shelf.heat(0, first)
    shelf.heat(1, second)
    assert first.hot == {b"key": first}
    assert second.hot is None, "no room left"
    assert cache.bytes == cache.capacity_bytes
    shelf.marks[0] = shelf.marks[1] = 1
    shelf.put(2, third)
    assert first.hot is None
    assert cache.bytes <= cache.capacity_bytes
    assert (cache.heated, cache.cooled) == (1, 1)


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(0, 300), st.sampled_from(["put", "mark", "heat", "drop"])),
        max_size=200,
    ),
    st.integers(0, 3000),
)
def test_whatever_happens_the_books_are_right(steps, capacity):
    cache = BlockCache(capacity)
    for table, index, weight, what in steps:
        shelf = cache.shelf(table, 6)
        held = shelf.blocks[index]
        if what == "put":
            shelf.put(index, Thing(charge=weight, heat_charge=2 * weight))
        elif what == "mark" and held is not None:
            shelf.marks[index] = 1
        elif what == "heat" and held is not None:
            shelf.heat(index, held)
        elif what == "drop":
            cache.drop(table)
        blocks = [t for number in (1, 2, 3) for t in cache.shelf(number, 6).blocks if t is not None]
        assert len(cache) == len(blocks)
        assert cache.bytes == sum(t.charge + ENTRY_BYTES + (t.heat_charge if t.hot is not None else 0) for t in blocks)
        assert cache.bytes <= capacity
