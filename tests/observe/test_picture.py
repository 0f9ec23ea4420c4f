"""The picture of a tree: what it counts, and that it never breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.observe.picture import BAR_CELLS, STRIP_CELLS, bar, draw, human_bytes, policy_line, rows, text_picture
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape

POLICY = {"name": "leveled", "size_ratio": 4}


def table(number: int, smallest: bytes, largest: bytes, entries: int = 100) -> TableMeta:
    return TableMeta(number, entries * 50, entries, 1, smallest, largest, 1, 9, filter_bits=entries * 10)


def shape() -> TreeShape:
    top = tuple(Run(9 - i, (table(9 - i, b"a", b"z"),)) for i in range(2))
    below = Run(2, (table(1, b"a", b"f"), table(2, b"g", b"m"), table(3, b"n", b"z")))
    return TreeShape((Level(top), Level((below,))), buffer_entries=100)


def test_rows_state_what_levels_hold_and_may_hold() -> None:
    top, below = rows(shape(), POLICY)
    assert (top.runs, top.tables, top.entries, top.capacity_runs, top.fill) == (2, 2, 200, 4, 0.5)
    assert (below.runs, below.tables, below.entries, below.capacity_entries, below.fill) == (1, 3, 300, 300, 1.0)
    assert below.tombstones == 3
    assert below.filter_bits_per_key == pytest.approx(10.0)


def test_deeper_levels_may_hold_more_by_the_size_ratio() -> None:
    deep = shape().with_level(3, Level((Run(1, (table(7, b"a", b"z", 4800),)),)))
    assert [row.capacity_entries for row in rows(deep, POLICY)] == [None, 300, 1200, 4800]


def test_tables_lie_in_the_key_space_in_alternating_shades() -> None:
    s = shape()
    bounds = sorted({k for t in s.tables for k in (t.smallest, t.largest)})
    strip = draw(s.levels[1].runs[0], bounds)
    assert len(strip) == STRIP_CELLS
    assert strip.startswith("█")
    assert strip.endswith("█")
    assert [c for i, c in enumerate(strip) if i == 0 or c != strip[i - 1]] == ["█", "·", "▓", "·", "█"]


def test_an_overfull_level_ends_in_an_arrow() -> None:
    assert bar(1.0) == "█" * BAR_CELLS
    assert bar(1.5).endswith("▶")
    assert bar(None) == "░" * BAR_CELLS
    assert bar(0.001).startswith("█"), "what is there is seen"


def test_the_text_says_it_all() -> None:
    text = text_picture(shape(), POLICY)
    assert "5 tables, 500 entries" in text
    assert "leveled (size_ratio 4)" in text
    assert "2 of 4" in text
    assert "100 entries, 1 table" in text


def test_an_empty_tree_is_a_picture_too() -> None:
    assert "0 tables, 0 entries, 0 B" in text_picture(TreeShape(), {})
    assert policy_line({}) == "unknown"


def test_many_runs_are_counted_rather_than_drawn() -> None:
    runs = tuple(Run(20 - i, (table(i, b"a", b"b"),)) for i in range(10))
    assert "and 4 older runs" in text_picture(TreeShape((Level(runs),)), POLICY)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 40, "5.0 TiB")])
def test_bytes_for_people(count: int, text: str) -> None:
    assert human_bytes(count) == text


@given(st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=12), st.integers(0, 500))
def test_any_shape_can_be_drawn(ranges: list[tuple[bytes, bytes]], buffer_entries: int) -> None:
    runs = tuple(Run(100 - i, (table(i + 1, min(r), max(r)),)) for i, r in enumerate(ranges))
    picture = text_picture(TreeShape((Level(runs), Level(runs[:1])), buffer_entries), POLICY)
    strips = [line for line in picture.splitlines() if line[7 : 7 + STRIP_CELLS].strip("█▓·") == "" and "entr" in line]
    assert len(strips) == min(len(runs), 6) + min(len(runs), 1)
