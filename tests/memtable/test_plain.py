"""Flushing from the batches' own bytes gives what walking the dict gives."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.alike import alike_of
from lsmkv.base.columns import Columns
from lsmkv.env.rng import seeded
from lsmkv.memtable import new_memtable
from lsmkv.memtable.freeze import to_columns
from lsmkv.memtable.plain import PlainBatches

batches = st.lists(st.lists(st.tuples(st.binary(max_size=2), st.none() | st.binary(max_size=2)), max_size=20), max_size=6)
alike = st.lists(
    st.lists(st.tuples(st.binary(min_size=3, max_size=3), st.binary(min_size=2, max_size=2)), min_size=8, max_size=30)
)


def same(a, b):
    return a.keys.tolist() == b.keys.tolist() and a.values.tolist() == b.values.tolist() and np.array_equal(a.tags, b.tags)


@given(batches | alike)
def test_columns_equal_those_from_the_dict(program):
    mem = new_memtable("skiplist", seeded(1))
    seq = 1
    for batch in program:
        mem.apply([k for k, _ in batch], [v for _, v in batch], seq, keep_versions=False)
        seq += len(batch)
    assert same(mem.columns(), to_columns(mem.newest, mem.older))


@given(alike | batches, st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_batch_joined_before_leaves_the_same_memtable(program, kept):
    """Whoever joined it, with versions kept or not: same entries, same accounting, same columns."""
    mems = [new_memtable("skiplist", seeded(1)) for _ in range(2)]
    seq = 1
    for at, batch in enumerate(program):
        keys, values = [k for k, _ in batch], [v for _, v in batch]
        widths = {(len(k), len(v)) if v is not None else None for k, v in batch}
        known = widths.pop() if len(widths) == 1 and len(batch) >= 8 else None
        joined = alike_of(keys, values, known) if known is not None and known[0] else None
        for mem, given_alike in zip(mems, (None, joined), strict=True):
            mem.apply(keys, values, seq, keep_versions=kept[at % len(kept)], alike=given_alike)
        seq += len(batch)
    for mem in mems:
        mem.check()
    assert [(m.entries, m.bytes, m.applied_bytes) for m in mems[:1]] == [(m.entries, m.bytes, m.applied_bytes) for m in mems[1:]]
    assert same(mems[0].columns(), mems[1].columns())


def test_batches_alike_are_used_and_one_that_differs_ends_it():
    keys = [b"%03d" % (i * 7 % 100) for i in range(100)]
    plain = PlainBatches()
    plain.note(keys[:50], [b"v"] * 50, 1)
    plain.note(keys[50:], [b"w"] * 50, 51)
    rows = plain.rows(100)
    assert rows is not None
    assert rows.part(0, 100).keys.tolist() == sorted(keys)
    assert plain.rows(99) is None, "something else was written too"
    plain.note([b"longer key"] * 8, [b"v"] * 8, 101)
    assert plain.rows(108) is None


@given(alike, st.integers(1, 200))
def test_parts_are_the_columns_and_every_place_lies_in_a_batch(program, part_bytes):
    mem = new_memtable("skiplist", seeded(1))
    seq = 1
    for number, batch in enumerate(program):
        mem.apply([b"%c" % number + k for k, _ in batch], [v for _, v in batch], seq, keep_versions=False)
        seq += len(batch)
    rows = mem.rows()
    if rows is None:
        assert len(mem.newest) < seq - 1 or not program
        return
    rows.check()
    parts = list(rows.parts(part_bytes))
    assert same(Columns.concat(parts), to_columns(mem.newest, mem.older))
    assert max(map(len, parts)) <= max(1, part_bytes // 6)


def test_batches_that_overwrite_each_other_are_not_kept():
    """Their joined bytes would grow with the log, not with what the memtable holds."""
    for keep in (False, True):
        mem = new_memtable("skiplist", seeded(1))
        keys = [b"%04d" % i for i in range(16)]
        tracemalloc.start()
        try:
            for turn in range(50):
                values = [b"%04d" % turn * 500 for _ in keys]
                mem.apply(keys, values, 1 + turn * len(keys), keep_versions=keep)
            assert tracemalloc.get_traced_memory()[0] < mem.bytes + 2 * 16 * 2004
        finally:
            tracemalloc.stop()
        mem.check()
        assert same(mem.columns(), to_columns(mem.newest, mem.older))
