"""Column sorting agrees with sorting Python bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.base.columns import ByteColumn
from lsmkv.base.order import DEEP, equal_to_previous, sort_order

letters = st.sampled_from([b"\0", b"\1", b"a", b"\xff"])
small = st.lists(letters, max_size=20).map(b"".join)
deep = st.tuples(st.sampled_from([0, 7, 8, 9, DEEP - 8, DEEP - 1, DEEP, DEEP + 1, DEEP + 60]), small).map(
    lambda p: b"x" * p[0] + p[1]
)
lists = st.one_of(
    st.lists(small, max_size=60),
    st.lists(deep, max_size=30),
    st.lists(st.binary(max_size=30), max_size=60),
    st.lists(st.lists(letters, min_size=4, max_size=4).map(b"".join), max_size=60),
)


@settings(max_examples=300, deadline=None)
@given(lists, st.booleans())
def test_order_is_that_of_bytes_and_stable(items, sliced):
    column = ByteColumn.from_list([b"zzz", *items, b"y"]).slice(1, len(items) + 1) if sliced else ByteColumn.from_list(items)
    assert sort_order(column).tolist() == sorted(range(len(items)), key=items.__getitem__)


@given(lists, st.sampled_from([1, 5, 8, 30]))
def test_a_shared_prefix_may_be_skipped(items, skip):
    items = [b"p" * skip + s for s in items]
    assert sort_order(ByteColumn.from_list(items), skip).tolist() == sorted(range(len(items)), key=items.__getitem__)


@settings(max_examples=200, deadline=None)
@given(lists, st.booleans())
def test_equality_with_the_previous_key_is_exact(items, ordered):
    if ordered:
        items = sorted(items)
    expected = [i > 0 and items[i] == items[i - 1] for i in range(len(items))]
    assert equal_to_previous(ByteColumn.from_list(items)).tolist() == expected
