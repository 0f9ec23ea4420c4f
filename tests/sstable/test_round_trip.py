"""What goes into a table comes out of it, through every way of reading."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.base.counters import Counters
from lsmkv.base.hashing import KeyBatch, hash_key
from lsmkv.base.keys import MAX_SEQ
from lsmkv.cache.blockcache import BlockCache

relaxed = settings(max_examples=120, deadline=None)
letters = st.sampled_from([b"\0", b"\1", b"a", b"b", b"\xff"])


def keys_of_width(width: int):
    return st.lists(letters, min_size=width, max_size=width).map(b"".join)


keys = st.one_of(
    st.sampled_from([1, 2, 3, 9]).flatmap(lambda w: st.lists(keys_of_width(w), min_size=1, max_size=80)),
    st.lists(st.lists(letters, max_size=12).map(b"".join), min_size=1, max_size=80),
    st.lists(st.binary(max_size=40), min_size=1, max_size=40),
)
values = st.one_of(st.none(), st.just(b""), st.binary(min_size=8, max_size=8), st.binary(max_size=60))


@st.composite
def entry_lists(draw):
    """Sorted entries with several versions of some keys."""
    chosen = draw(keys)
    constant = draw(st.booleans())
    versions = {}
    for seq, key in enumerate(chosen, start=draw(st.sampled_from([0, 1, 250, 1 << 40]))):
        versions[key, -seq] = b"x" * 8 if constant else draw(values)
    return [(key, -seq, versions[key, seq]) for key, seq in sorted(versions)]


options = st.fixed_dictionaries(
    {
        "block_bytes": st.sampled_from([1, 64, 300, 4096]),
        "compression": st.sampled_from(["none", "zstd"]),
        "bits": st.sampled_from([0.0, 1.0, 10.0]),
        "adds": st.integers(1, 4),
    }
)


def newest(entries, seq):
    """The dict a reader at ``seq`` should see."""
    seen = {}
    for key, version, value in entries:
        if version <= seq and key not in seen:
            seen[key] = (version, value)
    return seen


def horizons(entries):
    seqs = sorted({e[1] for e in entries})
    return {MAX_SEQ, seqs[0], seqs[len(seqs) // 2], max(0, seqs[0] - 1)}


@relaxed
@given(entry_lists(), options, st.lists(st.binary(max_size=12), max_size=8), st.booleans())
def test_points_batches_and_scans_agree_with_a_dict(tables, entries, how, strangers, cached):
    fs, meta = tables.build(entries, **how)
    table = tables.reader(fs, cache=BlockCache(1 << 16) if cached else None)
    assert table.properties.meta == meta
    assert meta.bytes == fs.size(tables.PATH)
    assert (meta.smallest, meta.largest, meta.entries) == (entries[0][0], entries[-1][0], len(entries))
    asked = sorted({e[0] for e in entries} | {k + b"\0" for k, _, _ in entries[:5]} | set(strangers) | {b""})[::-1]
    for seq in horizons(entries):
        want = newest(entries, seq)
        for key in asked:
            assert table.get(key, None, seq) == want.get(key)
            assert table.get(key, hash_key(key), seq) == want.get(key)
        asked.sort()
        there = [want.get(key, (0, False))[1] for key in asked]
        batch = KeyBatch(asked)
        for pick in (range(len(asked)), range(1, len(asked) - 1), list(range(0, len(asked), 2))):
            assert table.values(batch, pick, seq) == [there[i] for i in pick]
            bare = table.values(batch, pick, seq, bare=True)
            assert [v if v is None or v is False else b"" for v in bare] == [there[i] and b"" for i in pick]


@relaxed
@given(entry_lists(), options, st.none() | letters, st.none() | st.binary(max_size=3))
def test_ranges_agree_with_a_dict(tables, entries, how, start, stop):
    fs, _ = tables.build(entries, **how)
    table = tables.reader(fs)
    inside = [e for e in entries if (start is None or e[0] >= start) and (stop is None or e[0] < stop)]
    for seq in horizons(entries):
        want = [(k, v) for k, (_, v) in sorted(newest(inside, seq).items())]
        for reverse in (False, True):
            chunks = list(table.scan_chunks(start, stop, reverse=reverse, seq=seq))
            assert all(chunks)
            assert [pair for chunk in chunks for pair in chunk] == (want[::-1] if reverse else want)
    for chunk_bytes in (1, 500, 1 << 20):
        chunks = list(table.columns_chunks(start, stop, chunk_bytes))
        assert [e for chunk in chunks for e in tables.entries_of(chunk)] == inside
    assert table.verify() == []


def test_versions_of_one_key_may_fill_many_blocks(tables):
    entries = [(b"a", 1, b"first")] + [(b"k", seq, b"%06d" % seq) for seq in range(400, 0, -2)] + [(b"z", 1, None)]
    fs, _ = tables.build(entries, block_bytes=64)
    table = tables.reader(fs, cache=BlockCache(1 << 20))
    for seq in (1000, 400, 399, 7, 2):
        want = seq // 2 * 2 if seq < 400 else 400
        assert table.get(b"k", None, seq) == (want, b"%06d" % want)
        batch = KeyBatch([b"k", b"k", b"kk", b"z"])
        assert table.values(batch, range(4), seq) == [b"%06d" % want, b"%06d" % want, False, None]
        shown = [(b"a", b"first"), (b"k", b"%06d" % want), (b"z", None)]
        assert [p for c in table.scan_chunks(None, None, reverse=False, seq=seq) for p in c] == shown
        assert [p for c in table.scan_chunks(None, None, reverse=True, seq=seq) for p in c] == shown[::-1]
    assert table.get(b"k", None, 1) is None
    assert [p for c in table.scan_chunks(b"b", b"y", reverse=True, seq=1) for p in c] == []


def test_neighbours_are_found_by_the_vectorised_search(tables):
    entries = [(b"ns/%06d" % (3 * i), i + 1, None if i % 7 == 0 else b"v%d" % i) for i in range(500)]
    fs, _ = tables.build(entries, block_bytes=2048)
    for cache in (None, BlockCache(1 << 20)):
        table = tables.reader(fs, cache=cache)
        asked = [b"ns/%06d" % i for i in range(1600)]
        batch = KeyBatch(asked)
        for seq, there in ((MAX_SEQ, entries), (250, entries[:250])):
            got = dict(zip(asked, table.values(batch, range(1600), seq), strict=True))
            assert {k: v for k, v in got.items() if v is not False} == {k: v for k, _, v in there}


def test_trailing_zeros_and_other_widths_are_other_keys(tables):
    entries = [(b"ab\0", 1, b"three"), (b"ab\1", 2, b"one")]
    fs, _ = tables.build(entries)
    table = tables.reader(fs)
    for key in (b"ab", b"ab\0\0", b"ab\1\0", b"", b"ab\0\1"):
        assert table.get(key) is None
        batch = KeyBatch(sorted([key, b"ab\0"]))
        assert sorted(table.values(batch, range(2)), key=bool) == [False, b"three"]


def test_the_longest_key_and_a_large_value_fit(tables):
    long_key = b"k" * (64 << 10)
    entries = [(b"", 1, b""), (long_key[:-1] + b"a", 5, b"x"), (long_key, 4, b"v" * (3 << 20)), (long_key + b"z", 3, None)]
    for compression in ("none", "zstd"):
        fs, _ = tables.build(entries, compression=compression, block_bytes=4096)
        table = tables.reader(fs)
        for key, seq, value in entries:
            assert table.get(key) == (seq, value)
        assert [tables.entries_of(c)[0] for c in table.columns_chunks(None, None, 1)] == entries
        assert table.verify() == []


def test_counters_tell_logical_from_physical_reads(tables):
    entries = [(b"%04d" % i, i, b"v" * 20) for i in range(0, 400, 2)]
    fs, _ = tables.build(entries)
    counters = Counters()
    table = tables.reader(fs, cache=BlockCache(1 << 20), counters=counters)
    assert table.get(b"0100") is not None
    assert table.get(b"0100") is not None
    assert counters.as_dict() == {
        "block_bytes": counters.block_bytes,
        "block_reads": 1,
        "cache_hits": 1,
        "filter_checks": 2,
        "filter_false_positives": 0,
        "filter_negatives": 0,
        "found": 2,
        "joined_reads": 0,
        "unfiltered_misses": 0,
        "unfiltered_reads": 0,
    }
    assert counters.block_fetches == 2
    assert 200 < counters.block_bytes < 300
    counters.clear()
    for i in range(1, 400, 2):
        assert table.get(b"%04d" % i) is None
    assert counters.filter_checks == 200
    assert counters.filter_negatives + counters.filter_false_positives == 200
    assert counters.filter_false_positives == counters.block_fetches < 20
    counters.clear()
    batch = KeyBatch([b"%04d" % i for i in range(400)])
    table.values(batch, range(400))
    assert counters.filter_checks == 400
    assert 200 - counters.filter_false_positives == counters.filter_negatives > 180
    assert counters.block_fetches == table.properties.blocks


@relaxed
@given(
    st.lists(
        st.one_of(
            st.integers(0, 120).map(lambda i: [i]),
            st.tuples(st.integers(0, 100), st.integers(2, 40)).map(lambda p: list(range(p[0], p[0] + p[1]))),
            st.lists(st.integers(0, 120), max_size=20),
        ),
        max_size=12,
    ),
    st.booleans(),
    st.booleans(),
)
def test_looking_before_asking_the_filter_changes_no_answer_and_no_count(tables, questions, mixed, cached):
    entries = [(b"%04d" % i + b"x" * (i % 3 if mixed else 0), i + 1, b"v" * 20) for i in range(0, 120, 2)]
    entries += [(b"9" * 5, 3, None), (b"9" * 5, 2, b"older")]
    names = {i: b"%04d" % i + b"x" * (i % 3 if mixed else 0) for i in range(150)} | {120: b"9" * 5}
    fs, _ = tables.build(entries, block_bytes=200, bits=3)
    quick, slow = Counters(), Counters()
    eager = tables.reader(fs, cache=BlockCache(1 << 20) if cached else None, counters=quick)
    plain = tables.reader(fs, cache=BlockCache(1 << 20) if cached else None, counters=slow)
    for question in questions:
        plain.likely = False
        keys = [names[i] for i in question]
        if len(keys) == 1:
            assert eager.value(keys[0]) == plain.value(keys[0])
        else:
            batch, every = KeyBatch(sorted(keys)), range(len(keys))
            assert eager.values(batch, every) == plain.values(batch, every)
        ours, theirs = quick.as_dict(), slow.as_dict()
        if ours.pop("unfiltered_reads"):  # guesses: real reads of real bytes, beside the counts of the model
            del ours["block_bytes"], theirs["block_bytes"]
        assert theirs.pop("unfiltered_reads") == 0
        if cached:  # what is held depends on how it was looked for: rows answer single keys, blocks answer neighbours
            for counts in (ours, theirs):
                counts["fetches"] = counts.pop("block_reads") + counts.pop("cache_hits")
                counts.pop("block_bytes", None)
        assert ours == theirs


@relaxed
@given(
    st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=80, unique=True),
    st.integers(0, 4),
    st.sampled_from(["fixed", "mixed", "deletes", "versions", "one last byte"]),
    st.sampled_from(["none", "zstd"]),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_value_agrees_with_get_whatever_the_layout_and_the_cache(tables, names, prefix, kind, compression, room, rng):
    width = 6 + (kind == "one last byte")
    keys = {b"p" * prefix + (name if kind == "mixed" else name.ljust(width, b"~")) for name in names}
    entries = []
    for i, key in enumerate(sorted(keys)):
        if kind == "versions" and i % 3 == 0:
            entries.append((key, 900, b"new"))
        entries.append((key, i, None if kind == "deletes" and i % 2 else b"%03d" % i))
    fs, _ = tables.build(entries, block_bytes=128, compression=compression, bits=4.0)
    cache = BlockCache(room * 2000) if room else None
    quick, plain = tables.reader(fs, cache=cache), tables.reader(fs)
    questions = [*rng.choices(sorted(keys), k=60), *(b"p" * prefix + rng.randbytes(6) for _ in range(5)), b"", b"p", b"p" * 20]
    for key in questions * 2:
        expected = plain.get(key)
        assert quick.value(key) == (False if expected is None else expected[1])


def test_without_a_cache_every_lookup_reads(tables):
    fs, _ = tables.build([(b"k", 1, b"v")], bits=0)
    counters = Counters(filtered=False)
    table = tables.reader(fs, counters=counters)
    assert table.filter_bits == 0
    for _ in range(3):
        assert table.get(b"k") == (1, b"v")
    assert (counters.block_reads, counters.cache_hits, counters.filter_checks) == (3, 0, 0)


def test_a_table_opens_with_one_read_if_small_and_two_if_not(tables):
    for entries, reads in ((10, 1), (40000, 2)):
        fs, _ = tables.build([(b"%08d" % i, i, b"v" * 8) for i in range(entries)])
        before = fs.ops["pread"]
        table = tables.reader(fs)
        assert fs.ops["pread"] - before == reads
        assert table.get(b"%08d" % (entries - 1)) == (entries - 1, b"v" * 8)


def test_closing_a_table_twice_does_nothing(tables):
    fs, _ = tables.build([(b"k", 1, b"v")])
    table = tables.reader(fs)
    assert (table.path, table.number) == (tables.PATH, tables.NUMBER)
    table.close()
    table.close()
