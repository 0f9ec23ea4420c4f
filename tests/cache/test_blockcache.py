"""The block cache: bounded in bytes, second chance, heat only in free room."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from lsmkv.cache.blockcache import ENTRY_BYTES, FEWEST_SIGHTS, HOT_HITS, SIGHT_SHARE, BlockCache, Shelf


@dataclass(eq=False)
class Thing:
    """A cacheable of a given weight."""

    charge: int = 10
    heat_charge: int = 30
    hot: dict[bytes, object] | None = None

    def heated(self):
        return {b"key": self}

    def quick(self):
        return b"payload", b"tips", self


def admit(shelf, index, thing):
    """Miss the same block as often as a full cache wants."""
    for _ in range(2):
        shelf.put(index, thing)


def test_a_full_cache_admits_what_misses_twice_and_nothing_of_a_long_scan():
    cache = BlockCache(2 * (ENTRY_BYTES + 10))
    shelf = cache.shelf(1, 2000)
    shelf.put(0, Thing())
    shelf.put(1, Thing())
    for i in range(2, 2000):
        shelf.put(i, Thing())
    assert (cache.evictions, len(cache)) == (0, 2)
    for i in (7, 8, 7, 8):
        shelf.put(i, Thing())
    assert (cache.evictions, len(cache)) == (2, 2)
    assert [i for i, t in enumerate(shelf.blocks) if t is not None] == [7, 8]


def test_a_miss_long_ago_does_not_count():
    cache = BlockCache(8 * (ENTRY_BYTES + 10))
    shelf = cache.shelf(1, 1000)
    for i in range(9):
        shelf.put(i, Thing())
    for i in range(9, 9 + FEWEST_SIGHTS + 8 // SIGHT_SHARE + 1):
        shelf.put(i, Thing())
    shelf.put(8, Thing())
    assert cache.evictions == 0


def test_lookups_see_what_is_held_and_packed():
    cache = BlockCache(4 * (ENTRY_BYTES + 40))
    shelf = cache.shelf(1, 8)
    things = [Thing(charge=40, heat_charge=40) for _ in range(8)]

    def agrees():
        seen = [None if p is None else layout for p, layout in zip(shelf.payloads, shelf.layouts, strict=True)]
        return seen == [t if t is not None and t.hot is None else None for t in shelf.blocks]

    for i in range(4):
        shelf.put(i, things[i])
        assert agrees()
    shelf.marks[1] = HOT_HITS
    shelf.heat(1)
    assert things[1].hot is not None
    assert agrees()
    for i in (4, 5, 6, 7):
        admit(shelf, i, things[i])
        assert agrees()
    assert things[1].hot is None
    cache.clear()
    assert shelf.payloads == shelf.tips == [None] * 8


def test_the_oldest_unmarked_block_goes_first():
    cache = BlockCache(3 * (ENTRY_BYTES + 10))
    shelf = cache.shelf(1, 8)
    things = [Thing() for _ in range(5)]
    for i in range(3):
        shelf.put(i, things[i])
    shelf.marks[0] = 1
    admit(shelf, 3, things[3])
    assert shelf.blocks[:4] == [things[0], None, things[2], things[3]]
    assert shelf.marks[0] == 0, "its second chance is used up"
    admit(shelf, 4, things[4])
    assert [i for i, t in enumerate(shelf.blocks) if t is not None] == [0, 3, 4]
    assert cache.evictions == 2


def test_bytes_count_what_is_held_and_never_exceed_the_capacity():
    cache = BlockCache(2000)
    shelf = cache.shelf(1, 10)
    for i in range(10):
        admit(shelf, i, Thing(charge=100 * i))
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
    shelf.heat(1)
    assert shelf.blocks == [None] * 3


def test_heat_takes_free_room_and_goes_before_the_block():
    cache = BlockCache(4 * (ENTRY_BYTES + 10) + 300)
    shelf = cache.shelf(1, 5)
    things = [Thing(heat_charge=300) for _ in range(5)]
    for i in range(4):
        shelf.put(i, things[i])
    shelf.heat(0)
    shelf.marks[0] = shelf.marks[1] = HOT_HITS
    shelf.heat(1)
    assert things[0].hot == {b"key": things[0]}, "hit often since"
    assert things[1].hot is None, "no room left, and more than its share"
    assert cache.bytes == cache.capacity_bytes
    shelf.marks[0] = shelf.marks[1] = 1
    admit(shelf, 4, things[4])
    assert things[0].hot is None, "hit, but not often"
    assert shelf.blocks[0] is things[0]
    assert cache.bytes <= cache.capacity_bytes
    assert (cache.heated, cache.cooled, cache.heat_bytes) == (1, 1, 0)


def test_a_block_hit_often_is_heated_in_a_full_cache_and_stays_so():
    cache = BlockCache(10 * (ENTRY_BYTES + 10))
    shelf = cache.shelf(1, 12)
    things = [Thing() for _ in range(12)]
    for i in range(10):
        shelf.put(i, things[i])
    shelf.marks[0] = HOT_HITS
    shelf.heat(0)
    assert things[0].hot is not None
    assert cache.bytes <= cache.capacity_bytes
    shelf.marks[0] = HOT_HITS
    for i in (10, 11):
        admit(shelf, i, things[i])
    assert things[0].hot is not None


def test_who_was_heated_first_cools_for_others_when_hit_no_more():
    cache = BlockCache(8 * (ENTRY_BYTES + 10))
    shelf = cache.shelf(1, 8)
    things = [Thing(heat_charge=300) for _ in range(8)]
    for i in range(8):
        shelf.put(i, things[i])
    for i in (0, 1):
        shelf.marks[i] = HOT_HITS
    shelf.heat(0)
    assert things[0].hot is not None, "within its share, at the cost of others"
    shelf.marks[0], shelf.marks[1] = 1, HOT_HITS
    shelf.heat(1)
    assert (things[0].hot, things[1].hot) == (None, None), "the first request makes room for the next"
    shelf.marks[1] = HOT_HITS
    shelf.heat(1)
    assert things[1].hot is not None
    assert cache.bytes <= cache.capacity_bytes


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
            shelf.marks[index] = min(255, shelf.marks[index] + 3)
        elif what == "heat" and held is not None:
            shelf.heat(index)
        elif what == "drop":
            cache.drop(table)
        blocks = [t for number in (1, 2, 3) for t in cache.shelf(number, 6).blocks if t is not None]
        assert len(cache) == len(blocks)
        assert cache.bytes == sum(t.charge + ENTRY_BYTES + (t.heat_charge if t.hot is not None else 0) for t in blocks)
        assert cache.bytes <= capacity
