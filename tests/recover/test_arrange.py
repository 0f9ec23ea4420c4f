"""Tables of which nothing else is known find their order by what they span; where that is uncertain they are merged."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import lsmkv
from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.recover.arrange import groups, layers
from lsmkv.recover.survivors import in_order
from lsmkv.sstable.builder import TableBuilder
from lsmkv.testing import MemoryFileSystem
from lsmkv.version.shape import TableMeta


def meta(number, low, high, min_seq, max_seq):
    return TableMeta(number, 1, 2, 0, low, high, min_seq, max_seq)


def test_disjoint_tables_make_one_run():
    tables = [meta(1, b"a", b"c", 1, 9), meta(2, b"d", b"f", 2, 8), meta(3, b"g", b"h", 20, 30)]
    assert groups(tables) == [(0,), (1,), (2,)]
    assert layers(tables) == [tuple(tables)]


def test_newer_tables_lie_above_what_they_meet():
    old, young, beside = meta(1, b"a", b"m", 1, 5), meta(2, b"c", b"z", 6, 9), meta(3, b"n", b"p", 1, 2)
    assert groups([old, young, beside]) == [(0,), (1,), (2,)]
    assert layers([old, young, beside]) == [(young,), (old, beside)]


def test_interleaved_tables_are_merged_and_what_they_span_together_counts():
    a, b, c = meta(1, b"a", b"c", 1, 5), meta(2, b"c", b"e", 4, 20), meta(3, b"a", b"b", 10, 11)
    assert groups([a, b, c]) == [(0, 1, 2)], "c meets a in order, but not what a and b make"


RANGES = st.tuples(st.integers(0, 30), st.integers(0, 8), st.integers(0, 60), st.integers(0, 12))


@given(st.lists(RANGES, max_size=12))
def test_the_level_rule_holds(ranges):
    tables = [meta(i, b"%03d" % low, b"%03d" % (low + wide), seq, seq + more) for i, (low, wide, seq, more) in enumerate(ranges)]
    sets = groups(tables)
    assert sorted(i for group in sets for i in group) == list(range(len(tables)))
    spans = [
        meta(
            n,
            min(tables[i].smallest for i in group),
            max(tables[i].largest for i in group),
            min(tables[i].min_seq for i in group),
            max(tables[i].max_seq for i in group),
        )
        for n, group in enumerate(sets)
    ]
    runs = layers(spans)
    assert sorted(t.number for run in runs for t in run) == list(range(len(spans)))
    for depth, run in enumerate(runs):
        assert all(a.largest < b.smallest for a, b in itertools.pairwise(run))
        for older in (t for below in runs[depth + 1 :] for t in below):
            for newer in run:
                if newer.smallest <= older.largest and older.smallest <= newer.largest:
                    assert newer.min_seq > older.max_seq


def columns(entries):
    keys, seqs, values = zip(*entries, strict=True)
    tags = np.array([seq << 8 | (value is not None) for seq, value in zip(seqs, values, strict=True)], np.uint64)
    filled = [value if value is not None else b"" for value in values]
    return in_order(Columns(ByteColumn.from_list(keys), tags, ByteColumn.from_list(filled)))


def test_the_newest_version_wins_whichever_table_holds_it():
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    one = [(b"a", 100, b"new a"), (b"k", 3, b"old k"), (b"x", 7, b"x")]
    other = [(b"b", 5, b"b"), (b"k", 50, b"new k"), (b"a", 1, b"old a"), (b"x", 60, None)]
    for number, entries in ((4, one), (9, other), (12, [*one, other[0]])):
        path = f"/s/{number:06d}.sst"
        builder = TableBuilder(fs, path, number=number, block_bytes=64, compression="none", filter_bits_per_key=10)
        builder.add(columns(entries))
        builder.finish()
    report = lsmkv.repair("/s", fs)
    assert (report.tables_sound, report.entries_sound, report.entries_twice, report.entries) == (3, 11, 4, 7)
    with lsmkv.open("/s", lsmkv.Options(fs=fs)) as db:
        assert dict(db.scan()) == {b"a": b"new a", b"b": b"b", b"k": b"new k"}
        db.check()
