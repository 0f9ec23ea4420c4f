"""Tables in memory for the tests of this folder."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.base.counters import Counters
from lsmkv.cache.blockcache import BlockCache
from lsmkv.sstable.builder import TableBuilder
from lsmkv.sstable.reader import TableReader
from lsmkv.testing.memfs import MemoryFileSystem

NUMBER = 7
PATH = "/000007.sst"


def columns_of(entries: Sequence[tuple[bytes, int, bytes | None]]) -> Columns:
    """Sorted (key, seq, value or None) as columns."""
    tags = np.array([seq << 8 | (value is not None) for _, seq, value in entries], np.uint64)
    values = [value or b"" for _, _, value in entries]
    return Columns(ByteColumn.from_list([k for k, _, _ in entries]), tags, ByteColumn.from_list(values))


def entries_of(columns: Columns) -> list[tuple[bytes, int, bytes | None]]:
    """The opposite of columns_of."""
    rows = zip(columns.keys.tolist(), columns.tags.tolist(), columns.values.tolist(), strict=True)
    return [(k, tag >> 8, v if tag & 0xFF else None) for k, tag, v in rows]


def build(entries, fs=None, *, adds=1, path=PATH, number=NUMBER, block_bytes=256, compression="none", bits=10.0):
    """Write a table of sorted entries in so many add calls; the file system and the meta record."""
    fs = fs or MemoryFileSystem()
    builder = TableBuilder(fs, path, number=number, block_bytes=block_bytes, compression=compression, filter_bits_per_key=bits)
    columns = columns_of(entries)
    cuts = [len(entries) * i // adds for i in range(adds + 1)]
    for a, b in itertools.pairwise(cuts):
        builder.add(columns.slice(a, b))
    return fs, builder.finish()


def reader(fs, *, path=PATH, number=NUMBER, cache=None, counters=None) -> TableReader:
    """Open the table."""
    return TableReader(fs, path, number, cache, counters or Counters())


@pytest.fixture(scope="session")
def tables() -> SimpleNamespace:
    """The helpers above (tests are imported by path, so they cannot import this module)."""
    return SimpleNamespace(
        build=build,
        reader=reader,
        columns_of=columns_of,
        entries_of=entries_of,
        cache=BlockCache,
        NUMBER=NUMBER,
        PATH=PATH,
    )
