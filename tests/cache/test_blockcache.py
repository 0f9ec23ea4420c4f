"""The block cache: bounded in bytes, second chance, what can be trimmed is trimmed before it goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsmkv.cache.blockcache import ENTRY_BYTES, FEWEST_SIGHTS, LAST_CHANCES, BlockCache, Tray

WIDE = 8
"""The share of the rule that these tests use."""


def put(tray, index, item, charge=10):
    """What a reader does with a block that missed."""
    if tray.cache is not None and tray.wants(index, charge, tray.cache.blocks):
        tray.hold(index, item, charge)


def admit(tray, index, item, charge=10):
    """Miss the same block as often as a full cache wants."""
    for _ in range(2):
        put(tray, index, item, charge)


def halved(note, item):
    """Trims a string to its first half, once."""
    return (item[: len(item) // 2], len(item) // 2) if note and len(item) == note else None


def held(tray):
    return [i for i, item in enumerate(tray.items) if item is not None]


def test_a_full_cache_admits_what_misses_twice_and_nothing_of_a_long_scan():
    cache = BlockCache(2 * (ENTRY_BYTES + 10))
    tray = cache.tray(1, "blocks", 2000)
    for i in range(2000):
        put(tray, i, "thing")
    assert (cache.evictions, len(cache), held(tray)) == (0, 2, [0, 1])
    for i in (7, 8, 7, 8):
        put(tray, i, "thing")
    assert (cache.evictions, len(cache)) == (2, 2)
    assert held(tray) == [7, 8]


def test_a_miss_long_ago_does_not_count():
    cache = BlockCache(8 * (ENTRY_BYTES + 10))
    tray = cache.tray(1, "blocks", 1000)
    for i in range(9):
        put(tray, i, "thing")
    for i in range(9, 9 + FEWEST_SIGHTS + 8 // cache.blocks.share + 1):
        put(tray, i, "thing")
    put(tray, 8, "thing")
    assert cache.evictions == 0


def test_rules_count_their_misses_apart():
    cache = BlockCache(ENTRY_BYTES + 10)
    blocks, rows = cache.tray(1, "blocks", 500), cache.tray(1, "rows", 500)
    put(blocks, 0, "thing")
    for i in range(1, 400):
        assert not rows.wants(i, 10, cache.rows)
    assert not blocks.wants(7, 10, cache.blocks)
    assert blocks.wants(7, 10, cache.blocks), "the many misses of the other kind did not end this one's round"


def test_the_oldest_unmarked_item_goes_first():
    cache = BlockCache(3 * (ENTRY_BYTES + 10))
    tray = cache.tray(1, "blocks", 8)
    for i in range(3):
        put(tray, i, i)
    tray.marks[0] = 1
    admit(tray, 3, 3)
    assert held(tray) == [0, 2, 3]
    assert tray.marks[0] == 0, "its second chance is used up"
    admit(tray, 4, 4)
    assert held(tray) == [0, 3, 4]
    assert cache.evictions == 2


def test_what_can_be_trimmed_is_trimmed_and_stays_some_rounds_longer():
    cache = BlockCache(2 * (ENTRY_BYTES + 400))
    tray = cache.tray(1, "rows", 400, halved)
    tray.notes[0] = 400
    tray.hold(0, "x" * 400, 400)
    tray.hold(1, "y" * 400, 400)
    tray.hold(2, "z" * 190, 190)
    assert (tray.items[0], cache.trims, cache.evictions) == ("x" * 200, 1, 1), "the second one could not be trimmed"
    assert cache.bytes == 2 * ENTRY_BYTES + 200 + 190
    rounds = 0
    while tray.items[0] is not None:
        rounds += 1
        tray.hold(2 + rounds, "w" * 400, 400)
    assert rounds > LAST_CHANCES


def test_bytes_count_what_is_held_and_never_exceed_the_capacity():
    cache = BlockCache(2000)
    tray = cache.tray(1, "blocks", 10)
    for i in range(10):
        admit(tray, i, i, 100 * i)
        assert cache.bytes <= 2000
        assert cache.bytes == sum(100 * i + ENTRY_BYTES for i in held(tray))
    put(tray, 0, 0, 5000)
    assert tray.items[0] is None, "larger than the whole cache"


def test_what_is_held_anew_takes_the_place_of_what_was():
    cache = BlockCache(10_000)
    tray = cache.tray(1, "blocks", 1)
    tray.hold(0, "first", 10)
    tray.hold(0, "second", 20)
    assert tray.items == ["second", None]
    assert (len(cache), cache.bytes) == (1, 20 + ENTRY_BYTES)
    tray.let_go(0)
    tray.let_go(0)
    assert (len(cache), cache.bytes) == (0, 0)


def test_a_smaller_capacity_takes_effect_at_once():
    cache = BlockCache(10 * (ENTRY_BYTES + 10))
    tray = cache.tray(1, "blocks", 10)
    for i in range(10):
        put(tray, i, i)
    tray.marks[0] = 1
    cache.resize(3 * (ENTRY_BYTES + 10))
    assert (len(cache), cache.bytes) == (3, 3 * (ENTRY_BYTES + 10))
    cache.resize(0)
    assert (len(cache), held(tray)) == (0, [])


def test_dropping_a_table_forgets_all_kinds_and_refuses_late_ones():
    cache = BlockCache(10_000)
    one, rows, two = cache.tray(1, "blocks", 4), cache.tray(1, "rows", 4), cache.tray(2, "blocks", 4)
    for i in range(4):
        put(one, i, i)
        put(rows, i, i)
        put(two, i, i)
    cache.drop(1)
    put(one, 0, 0)
    rows.hold(0, 0, 1)
    assert held(one) == held(rows) == []
    assert len(cache) == 4
    cache.drop(7)
    cache.clear()
    assert (len(cache), cache.bytes, held(two)) == (0, 0, [])


def test_a_tray_survives_its_reader_being_reopened():
    cache = BlockCache(10_000)
    put(cache.tray(1, "blocks", 4), 2, "thing")
    assert cache.tray(1, "blocks", 4).items[2] == "thing"


def test_a_tray_without_a_cache_holds_nothing():
    tray = Tray(3, None)
    put(tray, 1, "thing")
    tray.hold(1, "thing", 1)
    tray.let_go(1)
    assert tray.items == [None] * 4
    assert not tray.room(0)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.integers(0, 5),
            st.integers(0, 300),
            st.sampled_from(["put", "hold", "mark", "let go", "drop", "resize"]),
            st.sampled_from(["blocks", "rows"]),
        ),
        max_size=200,
    ),
    st.integers(0, 3000),
)
def test_whatever_happens_the_books_are_right(steps, capacity):
    cache = BlockCache(capacity)
    for table, index, weight, what, kind in steps:
        tray = cache.tray(table, kind, 6, halved if kind == "rows" else None)
        if what in ("put", "hold"):
            if tray.items[index] is None:
                tray.notes[index] = weight if weight % 2 else 0
            (put if what == "put" else Tray.hold)(tray, index, "x" * weight, weight)
        elif what == "mark" and tray.items[index] is not None:
            tray.marks[index] = 2
        elif what == "let go":
            tray.let_go(index)
        elif what == "drop":
            cache.drop(table)
        elif what == "resize":
            capacity = 10 * weight
            cache.resize(capacity)
        items = [t for n in (1, 2, 3) for k in ("blocks", "rows") for t in cache.tray(n, k, 6).items if t is not None]
        assert len(cache) == len(items)
        assert cache.bytes == sum(len(t) + ENTRY_BYTES for t in items) <= capacity
        assert all(tray.items[-1] is None for tray in (cache.tray(1, "blocks", 6), cache.tray(1, "rows", 6)))
