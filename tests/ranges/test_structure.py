"""The fragmented list answers as the plain list of range deletes would, and stays in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.keys import MAX_SEQ
from lsmkv.version.rangedeletes import MAX_PIECES, NO_RANGES, Fragment, RangeDelete, RangeDeletes

KEYS = st.binary(max_size=2) | st.sampled_from([b"", b"a", b"b", b"c", b"d", b"e"])


@st.composite
def deletes(draw):
    found = []
    for seq in range(draw(st.integers(0, 7))):
        start, stop = draw(KEYS), draw(st.none() | KEYS)
        if stop is None or start < stop:
            found.append(RangeDelete(start, stop, 10 * seq + 10))
    return found


def inside(one, key):
    return one.start <= key and (one.stop is None or key < one.stop)


def cover(found, key, seq):
    return max((one.seq for one in found if inside(one, key) and one.seq <= seq), default=0)


@given(deletes(), st.lists(KEYS, max_size=20), st.integers(0, 80))
def test_the_cover_of_a_key_is_the_newest_range_delete_over_it(found, keys, seq):
    ranges = NO_RANGES.added(found)
    assert not list(ranges.problems())
    for at in (seq, MAX_SEQ):
        expected = [cover(found, key, at) for key in keys]
        assert [ranges.cover(key, at) for key in keys] == expected
        assert ranges.covers(keys, at) == (expected if any(expected) else None)


@given(deletes(), st.lists(st.integers(0, 90), max_size=4).map(sorted), st.lists(KEYS, max_size=10))
def test_what_no_snapshot_needs_goes_and_no_reader_notices(found, snapshots, keys):
    ranges = NO_RANGES.added(found)
    kept = ranges.kept(snapshots)
    assert not list(kept.problems())
    assert kept.pieces <= ranges.pieces
    for key in keys:
        for at in (*snapshots, MAX_SEQ):
            assert kept.cover(key, at) == ranges.cover(key, at)
    if not snapshots:
        assert all(len(one.seqs) == 1 for one in kept.fragments)


@given(deletes(), KEYS, KEYS, st.integers(0, 80), st.integers(0, 80))
def test_a_table_is_hidden_if_each_of_its_keys_is(found, a, b, one, other):
    low, high, min_seq, max_seq = min(a, b), max(a, b), min(one, other), max(one, other)
    ranges = NO_RANGES.added(found)
    edges = {low, high, *(e for r in found for e in (r.start, r.stop) if e is not None and low <= e <= high)}
    between = edges | {e + b"\0" for e in edges if e + b"\0" <= high}  # every fragment that is met begins at one of these
    assert ranges.hides(low, high, max_seq) == all(cover(found, key, MAX_SEQ) > max_seq for key in between)
    met = [f for f in ranges.fragments if f.start <= high and (f.stop is None or f.stop > low)]
    assert list(ranges.meeting(low, high)) == met
    assert [*ranges.meeting(low, high, open_end=True)] == [f for f in met if f.start < high]
    for swept in (0, one):
        assert list(ranges.owed(low, high, min_seq, swept)) == [f for f in met if f.seqs[0] > max(min_seq, swept)]


@given(deletes())
def test_adding_what_is_there_changes_nothing(found):
    ranges = NO_RANGES.added(found)
    pieces = [RangeDelete(f.start, f.stop, seq) for f in ranges.fragments for seq in f.seqs]
    again = NO_RANGES.added(sorted({*pieces, *found}, key=lambda one: one.seq))
    assert again == ranges


def test_it_says_when_it_is_full():
    ranges = NO_RANGES.added(RangeDelete(b"%04d" % (2 * i), b"%04d" % (2 * i + 1), i + 1) for i in range(MAX_PIECES))
    assert (ranges.pieces, ranges.full) == (MAX_PIECES, False)
    assert ranges.added([RangeDelete(b"x", None, 10**6)]).full
    wide = RangeDeletes(tuple(Fragment(b"%02d" % i + bytes(60_000), b"%02d" % i + bytes(60_001), (1,)) for i in range(10)))
    assert wide.full
