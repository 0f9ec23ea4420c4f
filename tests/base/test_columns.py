"""Columns behave like lists of byte strings."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.columns import ByteColumn, Columns

strings = st.one_of(
    st.lists(st.binary(max_size=12), max_size=30),
    st.lists(st.binary(min_size=5, max_size=5), max_size=30),
    st.lists(st.sampled_from([b"", b"\0" * 7, b"seven77"]), max_size=30),
    st.lists(st.binary(min_size=250, max_size=400), max_size=4),
)


@given(strings, st.data())
def test_a_column_is_a_list(items, data):
    column = ByteColumn.from_list(items)
    widths = {len(s) for s in items}
    assert column.width == (widths.pop() if len(widths) == 1 else -1 if widths else 0)
    assert len(column) == len(items)
    assert column.tolist() == items
    assert [column[i] for i in range(len(items))] == items
    assert column.nbytes == sum(map(len, items))
    assert column.lengths().tolist() == [len(s) for s in items]
    a = data.draw(st.integers(0, len(items)))
    b = data.draw(st.integers(a, len(items)))
    part = column.slice(a, b)
    assert part.tolist() == items[a:b]
    assert bytes(part.span()) == b"".join(items[a:b])
    if a < b:
        index = data.draw(st.lists(st.integers(0, b - a - 1), max_size=20))
        taken = part.take(np.array(index, np.int64))
        assert taken.tolist() == [items[a + i] for i in index]
    joined = ByteColumn.concat([part, column, column.slice(0, 0), part])
    assert joined.tolist() == items[a:b] + items + items[a:b]
    assert ByteColumn.concat([]).tolist() == []


@given(st.lists(st.binary(min_size=3, max_size=3), min_size=1, max_size=30))
def test_fixed_views_compare_exactly_even_with_trailing_zeros(items):
    column = ByteColumn.from_list(items)
    fixed = column.as_fixed()
    for i, a in enumerate(items):
        for j, b in enumerate(items):
            assert (fixed[i : i + 1] == fixed[j : j + 1])[0] == (a == b)
            assert (fixed[i : i + 1] < fixed[j : j + 1])[0] == (a < b)


def test_entries_travel_together():
    keys, values = [b"a", b"bb", b"c"], [b"1", b"", b"333"]
    columns = Columns(ByteColumn.from_list(keys), np.array([257, 512, 769], np.uint64), ByteColumn.from_list(values))
    assert len(columns) == 3
    assert columns.nbytes == 4 + 4 + 24
    back = columns.take(np.array([2, 0]))
    assert (back.keys.tolist(), back.tags.tolist(), back.values.tolist()) == ([b"c", b"a"], [769, 257], [b"333", b"1"])
    both = Columns.concat([columns.slice(1, 2), back])
    assert (both.keys.tolist(), both.tags.tolist()) == ([b"bb", b"c", b"a"], [512, 769, 257])
    assert len(Columns.concat([])) == 0
