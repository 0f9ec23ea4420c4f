"""Merging against heapq and dict oracles."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.read.merge import merge_columns, merge_scans, merge_streams, visible

letters = st.sampled_from([b"\0", b"a", b"b"])
key_kinds = st.sampled_from(
    [
        st.lists(letters, max_size=5).map(b"".join),
        st.lists(letters, min_size=3, max_size=3).map(b"".join),
        st.integers(0, 40).map(lambda i: b"shared/prefix/of/keys/%d" % i),
        st.tuples(st.sampled_from([255, 300]), letters).map(lambda p: b"x" * p[0] + p[1]),
    ]
)
Item = tuple[bytes, int, bytes]


def columns_of(items: list[Item]) -> Columns:
    tags = np.array([tag for _, tag, _ in items], np.uint64)
    return Columns(ByteColumn.from_list([k for k, _, _ in items]), tags, ByteColumn.from_list([v for _, _, v in items]))


def items_of(columns: Columns) -> list[Item]:
    return list(zip(columns.keys.tolist(), columns.tags.tolist(), columns.values.tolist(), strict=True))


@st.composite
def inputs(draw) -> list[list[Item]]:
    """Sorted runs, newest first, that obey the level rule."""
    kind = draw(key_kinds)
    runs = []
    seq = 1000
    for _ in range(draw(st.integers(1, 5))):
        run = []
        for key in draw(st.lists(kind, max_size=25)):
            seq -= 1
            put = draw(st.booleans())
            run.append((key, seq << 8 | put, b"v%d" % seq if put else b""))
        runs.append(sorted(run, key=lambda e: (e[0], -e[1])))
    return runs


def oracle(runs: list[list[Item]]) -> list[Item]:
    return list(heapq.merge(*runs, key=lambda e: (e[0], -e[1])))


def pieces(items: list, size: int) -> Iterator[list]:
    return (items[i : i + size] for i in range(0, len(items), size))


@settings(max_examples=200, deadline=None)
@given(inputs())
def test_merged_columns_are_in_order_and_complete(runs):
    assert items_of(merge_columns([columns_of(run) for run in runs])) == oracle(runs)


def test_merging_nothing_gives_nothing():
    assert len(merge_columns([])) == 0
    assert list(merge_streams([], 100)) == []
    assert list(merge_scans([], reverse=False)) == []


@settings(max_examples=200, deadline=None)
@given(inputs(), st.integers(1, 9), st.sampled_from([1, 60, 100_000]))
def test_streams_merge_in_bounded_slices_with_whole_keys(runs, chunk, slice_bytes):
    slices = list(merge_streams([map(columns_of, pieces(run, chunk)) for run in runs], slice_bytes))
    assert [e for part in slices for e in items_of(part)] == oracle(runs)
    assert all(len(part) for part in slices)
    for before, after in itertools.pairwise(slices):
        assert before.keys[len(before) - 1] < after.keys[0]


def test_slices_stay_near_their_size_and_inputs_are_read_as_needed():
    loaded = []

    def stream(name: str) -> Iterator[Columns]:
        for i in range(100):
            loaded.append((name, i))
            yield columns_of([(b"%06d" % (100 * i + j), 257, name.encode() * 10) for j in range(100)])

    merged = merge_streams([stream("a"), stream("b")], 2000)
    first = next(merged)
    assert first.nbytes < 4000
    assert len(loaded) <= 4
    assert max(part.nbytes for part in merged) < 6000
    assert len(loaded) == 200


def test_a_key_with_many_versions_makes_its_slice_grow():
    runs = [[(b"k", seq << 8 | 1, b"v") for seq in range(top, top - 100, -1)] for top in (900, 700, 500)]
    slices = list(merge_streams([map(columns_of, pieces(run, 7)) for run in runs], 10))
    assert len(slices) == 1
    assert items_of(slices[0]) == oracle(runs)


def view(items: list[Item], seq: int) -> dict[bytes, Item]:
    """What a reader at ``seq`` sees: the newest version of each key."""
    seen: dict[bytes, Item] = {}
    for item in items:
        if item[1] >> 8 <= seq:
            seen.setdefault(item[0], item)
    return seen


@settings(max_examples=300, deadline=None)
@given(inputs(), st.lists(st.integers(860, 1001), max_size=3), st.booleans())
def test_dropping_shadowed_versions_changes_no_view(runs, snapshots, bottom):
    merged = oracle(runs)
    kept = items_of(visible(columns_of(merged), snapshots, bottom=bottom))
    assert kept == [e for e in merged if e in set(kept)]
    for seq in [*snapshots, 1 << 40]:
        before, after = view(merged, seq), view(kept, seq)
        if bottom:
            before = {k: e for k, e in before.items() if e[1] & 1}
            after = {k: e for k, e in after.items() if e[1] & 1}
        assert before == after
    needed = {e for seq in [*snapshots, 1 << 40] for e in view(merged, seq).values()}
    if not bottom:
        assert set(kept) == needed
    oldest = min(snapshots, default=1 << 40)
    if bottom:
        assert not [e for e in kept if not e[1] & 1 and e[1] >> 8 <= oldest]


def test_without_snapshots_only_the_newest_version_stays():
    items = [(b"a", 5 << 8, b""), (b"a", 4 << 8 | 1, b"x"), (b"b", 3 << 8 | 1, b"y"), (b"b", 1 << 8, b"")]
    assert items_of(visible(columns_of(items), [], bottom=False)) == [items[0], items[2]]
    assert items_of(visible(columns_of(items), [], bottom=True)) == [items[2]]
    assert items_of(visible(columns_of(items), [4], bottom=True)) == [items[0], items[1], items[2]]
    assert len(visible(columns_of([]), [], bottom=True)) == 0


@settings(max_examples=200, deadline=None)
@given(inputs(), st.booleans(), st.lists(st.integers(0, 6), min_size=1, max_size=10))
def test_scans_merge_newest_first_and_skip_tombstones(runs, reverse, sizes):
    sources, want = [], {}
    for run in runs:
        newest: dict[bytes, bytes | None] = {}
        for key, tag, value in run:
            newest.setdefault(key, value if tag & 1 else None)
        for key, value in newest.items():
            want.setdefault(key, value)
        pairs = sorted(newest.items(), key=lambda p: p[0], reverse=reverse)
        chunks, at = [], 0
        for i in range(1000):
            size = sizes[i % len(sizes)] + (not any(sizes))
            chunks.append(pairs[at : at + size])
            at += size
            if at >= len(pairs):
                break
        sources.append(iter(chunks))
    expected = [(k, want[k]) for k in sorted(want, reverse=reverse) if want[k] is not None]
    assert list(merge_scans(sources, reverse=reverse)) == expected


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_loads_no_more_chunks_than_its_consumer_takes(reverse):
    loaded = []

    def source(step: int) -> Iterator[list[tuple[bytes, bytes | None]]]:
        keys = range(0, 10_000, step)
        for i, piece in enumerate(pieces(list(reversed(keys)) if reverse else list(keys), 10)):
            loaded.append((step, i))
            yield [(b"%05d" % k, b"v") for k in piece]

    scan = merge_scans([source(1), source(100)], reverse=reverse)
    assert loaded == []
    next(scan)
    assert loaded == [(1, 0), (100, 0)]
    for _ in range(25):
        next(scan)
    assert sorted(loaded) == [(1, 0), (1, 1), (1, 2), (100, 0)]
