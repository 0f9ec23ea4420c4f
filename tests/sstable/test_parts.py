"""Fences, index, blocks and compression by themselves."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.errors import CorruptionError
from lsmkv.sstable.block import Block
from lsmkv.sstable.compression import compress, decompress
from lsmkv.sstable.encode import cut, encode_blocks
from lsmkv.sstable.fences import common_prefix, decode_index, encode_index, separator

short = st.lists(st.sampled_from([b"\0", b"a", b"b", b"\xff"]), max_size=6).map(b"".join)


@given(short, short)
def test_a_separator_separates(a, b):
    low, high = min(a, b), max(a, b)
    fence = separator(low, high)
    assert low <= fence
    assert fence < high or low == high == fence
    assert len(fence) <= max(len(low), common_prefix(low, high) + 1)


@given(short, short)
def test_common_prefix_is_the_longest(a, b):
    n = common_prefix(a, b)
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]


@given(st.lists(short, min_size=1, max_size=20))
def test_an_index_round_trips(fences):
    offsets = [0]
    for i in range(len(fences)):
        offsets.append(offsets[-1] + i + 1)
    data = encode_index(offsets, fences)
    got, column = decode_index("f", 9, data, offsets[-1])
    assert (got.tolist(), column) == (offsets, fences)
    with pytest.raises(CorruptionError, match="offsets"):
        decode_index("f", 9, data, offsets[-1] + 1)
    with pytest.raises(CorruptionError, match="corrupt at byte 9"):
        decode_index("f", 9, data[:-1], offsets[-1]) if fences[-1] else decode_index("f", 9, data[:11], offsets[-1])


@settings(max_examples=60)
@given(st.lists(short, min_size=1, max_size=60), st.lists(short, max_size=10), st.booleans())
def test_a_block_finds_what_it_holds(tables, keys, strangers, fixed):
    if fixed:
        keys = [k.ljust(6, b"a") for k in keys]
    entries = [(k, 100 - i, b"%d" % i) for i, k in enumerate(sorted(keys))]
    columns = tables.columns_of(entries)
    (payload,) = encode_blocks(columns, [0, len(entries)])
    block = Block(payload, "f", 0)
    ordered = [k for k, _, _ in entries]
    assert [block.key(i) for i in range(block.entries)] == ordered == block.keys_column().tolist()
    assert block.keys_list(0, block.entries) == ordered
    assert [block.entry(i) for i in range(block.entries)] == [(s, v) for _, s, v in entries]
    assert block.values_column().tolist() == [v for _, _, v in entries]
    assert block.repeats == (len(set(keys)) < len(keys))
    for key in [*ordered, *strangers, b"", b"\xff" * 9]:
        assert block.find(key) == (ordered.index(key) if key in ordered else -1)
        assert block.lower(key) == sum(k < key for k in ordered)


def test_a_key_found_misaligned_is_not_taken_for_a_hit(tables):
    keys = [bytes([i, 1, 2, 1]) for i in range(2, 40)] + [bytes([60, 2, 1, 60])]
    (payload,) = encode_blocks(tables.columns_of([(k, 1, b"") for k in sorted(keys)]), [0, len(keys)])
    block = Block(payload, "f", 0)
    for i in range(2, 40):
        key = bytes([1, 2, 1, i + 1])
        assert key in payload or i == 39
        assert block.find(key) == -1
    assert block.find(bytes([20, 1, 2, 1])) == 18


def test_a_cached_block_is_charged_little_more_than_its_bytes(tables):
    entries = [(b"%032d" % i, i, b"v" * 80) for i in range(36)]
    (payload,) = encode_blocks(tables.columns_of(entries), [0, 36])
    block = Block(payload, "f", 0)
    assert len(payload) < block.charge < 1.4 * len(payload)


def test_mixed_blocks_are_cut_between_entries(tables):
    entries = [(b"k%d" % i, 1, b"v" * (i * 37 % 200)) for i in range(50)]
    columns = tables.columns_of(sorted(entries))
    bounds = cut(columns, 400)
    sizes = (columns.keys.lengths() + columns.values.lengths() + 8).tolist()
    assert all(sum(sizes[a:b]) <= 400 < sum(sizes[a : b + 1]) for a, b in itertools.pairwise(bounds))
    assert cut(columns, 1) == list(range(50))
    assert cut(columns, 1 << 20) == [0]


@given(st.binary(max_size=300), st.sampled_from(["none", "zstd"]))
def test_compression_round_trips_and_bounds_its_output(raw, codec):
    stored = compress(codec, raw)
    assert len(stored) <= len(raw)
    assert decompress(memoryview(stored), len(raw)) == raw
    big = compress("zstd", b"x" * 5000)
    for wrong in (100, 4999, 5001):
        with pytest.raises(ValueError, match="zstd"):
            decompress(memoryview(big), wrong)
    with pytest.raises(ValueError, match="zstd"):
        decompress(memoryview(b"no zstd frame"), 100)
