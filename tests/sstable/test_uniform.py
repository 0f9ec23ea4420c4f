"""Blocks framed many at a time are, byte for byte, what they are one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.sstable.encode import encode_blocks
from lsmkv.sstable.layout import seal_frame
from lsmkv.sstable.uniform import FEW, frames_of


@st.composite
def entries(draw):
    """Sorted entries of one shape: groups of keys with long common beginnings, versions of a key, deletions, far tags."""
    each, blocks = draw(st.integers(1, 7)), draw(st.integers(FEW, 60))
    key_width, value_width = draw(st.integers(1, 12)), draw(st.sampled_from([0, 1, 5, 64]))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    n = each * blocks
    spread = draw(st.sampled_from([1, 2, 40]))
    heads = [bytes(rng.integers(0, spread, key_width - key_width // 2, np.uint8)) for _ in range(1 + n // 10)]
    keys = [heads[rng.integers(len(heads))] + bytes(rng.integers(0, 256, key_width // 2, np.uint8)) for _ in range(n)]
    tops = 1 << draw(st.sampled_from([1, 8, 16, 40, 55]))
    seqs = rng.integers(0, tops, n).tolist()
    kinds = rng.integers(0, 2, n).tolist() if not value_width else [1] * n
    rows = sorted(zip(keys, (-((s << 8) | k) for s, k in zip(seqs, kinds, strict=True)), strict=True))
    tags = np.array([-tag for _, tag in rows], np.uint64)
    before = draw(st.integers(0, 3))  # a slice of something larger
    data = np.frombuffer(b"x" * key_width * before + b"".join(key for key, _ in rows), np.uint8)
    column = ByteColumn.fixed(data, n + before, key_width).slice(before, n + before)
    values = ByteColumn.fixed(rng.integers(0, 256, n * value_width, np.uint8), n, value_width)
    return Columns(column, tags, values), each


@given(entries(), st.integers(1, 1 << 40), st.integers(0, 1 << 40))
def test_the_bytes_are_those_of_single_frames(made, number, offset):
    columns, each = made
    frames = frames_of(columns, each, number, offset)
    bounds = list(range(0, len(columns) + 1, each))
    expected, ends = [], [offset]
    for payload in encode_blocks(columns, bounds):
        expected.append(seal_frame(number, ends[-1], payload, len(payload)))
        ends.append(ends[-1] + len(expected[-1]))
    if frames is None:
        assert len({(e[20:24], e[40]) for e in expected}) * FEW > len(expected), "few shapes of prefix and tags"
        return
    assert frames.ends.tolist() == ends[1:]
    data = b"".join(frames.buffers)
    assert [data[a - offset : b - offset] for a, b in pairwise(ends)] == expected


def test_a_table_of_one_shape_is_the_same_however_its_entries_arrive(tables):
    """Single entries fill block after block, slices of any size begin and end inside of one, all at once is framed together."""
    rng = np.random.default_rng(1)
    keys = sorted({bytes(rng.integers(0, 256, 12, np.uint8)) for _ in range(700)})
    entries = [(key, i + 1, bytes(rng.integers(0, 256, 20, np.uint8))) for i, key in enumerate(keys)]
    files = []
    for adds in (1, 2, 3, 7, 50, 699):
        fs, meta = tables.build(entries, adds=adds)
        table = tables.reader(fs)
        assert not table.verify()
        assert [e for c in table.columns_chunks(None, None, 1 << 10) for e in tables.entries_of(c)] == entries
        files.append((meta, bytes(fs.open("/000007.sst").pread(1 << 20, 0))))
    assert all(file == files[0] for file in files)


def test_shapes_that_alternate_are_cut_as_if_they_had_come_at_once(tables):
    """A slice of one shape behind a rest of another: the block is of both."""
    entries = [(b"%06d" % i, i + 1, b"v" * (10 if i // 37 % 2 else 11)) for i in range(600)]
    files = {bytes(tables.build(entries, adds=adds)[0].open("/000007.sst").pread(1 << 20, 0)) for adds in (1, 5, 17, 600)}
    assert len(files) == 1
