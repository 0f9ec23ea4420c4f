"""How many keys from the first on exist without a gap: exact whatever is missing, wherever the newest version of a key lies."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import MemoryFileSystem

PREFIX = b"ns-7"
GROUPS = [b"%08d" % (i * 7_919_311 % 100_000_000) for i in range(6)]
KEYS = [group + b"%02d" % i for group in GROUPS for i in range(40)]
"""Neighbours in groups, as the pages of a conversation; the groups lie apart."""

SPANS = st.tuples(st.integers(0, len(KEYS)), st.integers(0, len(KEYS))).map(lambda ends: KEYS[min(ends) : max(ends)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), SPANS),
        st.tuples(st.just("put_wide"), SPANS),
        st.tuples(st.just("delete"), st.lists(st.sampled_from(KEYS), max_size=3)),
        st.tuples(st.just("delete_range"), SPANS),
        st.tuples(st.sampled_from(["flush", "settle", "compact"]), st.just([])),
    ),
    max_size=12,
)
TWISTS = st.sampled_from(["straight", "reversed", "sorted", "doubled", "longer", "cut"])


def expected(there: set[bytes], keys: list[bytes]) -> int:
    return next((i for i, key in enumerate(keys) if key not in there), len(keys))


def act(db: lsmkv.DB, there: set[bytes], what: str, keys: list[bytes]) -> None:
    """One step, on the store and on the model."""
    if what in ("put", "put_wide"):
        value = b"v" * 56 if what == "put" else b"w"
        db.put_many([(PREFIX + key, value) for key in keys])
        there.update(keys)
    elif what == "delete":
        db.delete_many([PREFIX + key for key in keys])
        there.difference_update(keys)
    elif what == "delete_range" and len(keys) > 1:
        low, high = min(keys), max(keys)
        db.delete_range(PREFIX + low, PREFIX + high)
        there.difference_update([key for key in there if low <= key < high])
    elif what in ("flush", "settle", "compact"):
        getattr(db, what)()


def twisted(keys: list[bytes], how: str) -> list[bytes]:
    if how == "reversed":
        return keys[::-1]
    if how == "sorted":
        return sorted(keys)
    if how == "doubled":
        return [key for key in keys for _ in range(2)]
    if how in ("longer", "cut") and keys:
        at = len(keys) // 2
        return [*keys[:at], keys[at] + b"x" if how == "longer" else keys[at][:-1], *keys[at + 1 :]]
    return keys


@settings(max_examples=250, deadline=None)
@given(STEPS, st.lists(st.tuples(SPANS, TWISTS), min_size=1, max_size=4), st.sampled_from([0, 1 << 16]))
def test_the_answer_is_that_of_asking_key_by_key(steps, asked, cache):
    options = {"memtable_bytes": 1 << 16, "table_bytes": 4096, "block_bytes": 700, "range_delete_keys": 2}
    scheduler = ManualScheduler()
    with lsmkv.open("/db", lsmkv.Options(fs=MemoryFileSystem(), scheduler=scheduler, block_cache_bytes=cache, **options)) as db:
        there: set[bytes] = set()
        for what, keys in steps:
            act(db, there, what, keys)
        for span, how in asked:
            keys = twisted(span, how)
            for _ in range(2):  # the second time from the cache
                assert db.count_leading(keys, prefix=PREFIX) == expected(there, keys)
                assert db.count_leading([PREFIX + key for key in keys]) == expected(there, keys)


def test_a_group_that_lies_in_three_places_is_counted_whole(open_db):
    with open_db(memtable_bytes=1 << 16) as db:
        for i in range(3):  # two runs and the memtable
            db.put_many([(key, b"v" * 56) for key in KEYS[i * 20 : i * 20 + 20]])
            if i < 2:
                db.flush()
        assert db.count_leading(KEYS) == 60


def test_what_lies_beyond_the_first_gap_is_not_looked_at(open_db):
    with open_db() as db:
        assert db.count_leading([*KEYS[:64], None]) == 0
        with pytest.raises(lsmkv.InvalidArgumentError, match="key must be bytes, not NoneType"):
            db.count_leading([*KEYS[:20], None])
        with pytest.raises(lsmkv.InvalidArgumentError, match="not str"):
            db.count_leading(KEYS, prefix="ns")


def test_the_empty_key_is_counted_like_any_other() -> None:
    with lsmkv.open("/db", lsmkv.Options(fs=MemoryFileSystem(), scheduler=ManualScheduler())) as db:
        db.put(b"a", b"")
        db.flush()
        assert db.count_leading([b""]) == 0
        db.put(b"", b"here")
        for _ in range(2):
            assert db.count_leading([b""]) == 1
            assert db.count_leading([b"", b"a", b"b"]) == 2
            assert db.count_leading([b""] * 20) == 20
            db.flush()
        db.delete(b"")
        for _ in range(2):
            assert db.count_leading([b"", b"a"]) == 0
            db.flush()
