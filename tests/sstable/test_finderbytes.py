"""A finder that went through another process is the one that was made."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.base.counters import Counters
from lsmkv.sstable.builder import TableBuilder
from lsmkv.sstable.finder import FinderMaker, lookup, suits
from lsmkv.sstable.finderbytes import READ_BYTES, pack, unpack
from lsmkv.sstable.tablefile import TableFile
from lsmkv.testing import MemoryFileSystem

SEEDS = (5, 6)


def made(pairs: dict[bytes, bytes]):
    fs = MemoryFileSystem()
    builder = TableBuilder(fs, "/t", number=3, block_bytes=4096, compression="none", filter_bits_per_key=0)
    keys = sorted(pairs)
    width, each = len(keys[0]), len(pairs[keys[0]])
    builder.add(
        Columns(
            ByteColumn.fixed(np.frombuffer(b"".join(keys), np.uint8), len(keys), width),
            np.full(len(keys), (9 << 8) | 1, np.uint64),
            ByteColumn.fixed(np.frombuffer(b"".join(pairs[k] for k in keys), np.uint8), len(keys), each),
        )
    )
    builder.finish()
    file = TableFile(fs, "/t", 3)
    maker = FinderMaker(file, suits(file), *SEEDS)
    finder = None
    while finder is None:
        finder = maker.advance(Counters())
    return finder


class Paper:
    """What both sides see."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.reads = 0

    def write(self, buffers, at: int) -> int:
        assert at == len(self.data)
        for buffer in buffers:
            self.data += memoryview(buffer).cast("B")
        return len(self.data)

    def read(self, size: int, at: int) -> bytes:
        self.reads += 1
        if at + size > len(self.data):
            raise EOFError
        return bytes(self.data[at : at + size])


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([1, 7, 300, 20_000]), st.sampled_from([0, 1, 28]), st.integers(0, 99))
def test_two_in_one_paper_answer_as_before(count: int, each: int, seed: int) -> None:
    draw = random.Random(seed)
    tables = [{draw.randbytes(12): draw.randbytes(each) for _ in range(count)} for _ in range(2)]
    paper, at, told = Paper(), 0, []
    for number, pairs in enumerate(tables):
        packed, at = pack(made(pairs), number, SEEDS[1], at, paper.write)
        assert (packed.number, packed.each, packed.entries, packed.seeds) == (number, each, count, SEEDS)
        told.append(packed)
    assert at == len(paper.data)
    for packed, pairs in zip(told, tables, strict=True):
        finder = unpack(packed, paper.read)
        assert all(lookup(finder, k, SEEDS[1]) == v for k, v in pairs.items())
        assert not any(lookup(finder, draw.randbytes(12), SEEDS[1]) for _ in range(50))
    assert paper.reads <= 2 + at // (READ_BYTES // 2)
    with pytest.raises(EOFError):
        unpack(told[1], lambda size, at: paper.read(size, at + 1))
