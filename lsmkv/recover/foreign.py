"""Telling another store's table from one's own. Files do not name their store; sequence numbers betray them.

In one store every sequence number belongs to one key for good, as far as tables are durable. A table that holds another key
under a number of the manifest's own tables was written by another store. One whose numbers all lie above theirs cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import join

import numpy as np

from lsmkv.base.columns import Columns
from lsmkv.base.counters import Counters
from lsmkv.base.problem import Problem
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError
from lsmkv.recover.plan import numbered
from lsmkv.sstable.reader import TableReader
from lsmkv.version.state import ManifestState

__all__ = ["strangers"]

READ_BYTES = 1 << 20
"""Bytes of a table read at a time."""


def strangers(fs: FileSystem, path: str, state: ManifestState, tables: list[int]) -> list[Problem]:
    """Those of the unnamed ``tables`` that another store wrote.

    I/O: reads them, and the named tables that share sequence numbers with them.
    """
    there = set(numbered(fs, path, "sst"))
    ours = [t for t in state.shape.tables if t.number in there]
    newest = max((t.max_seq for t in ours), default=0)
    found: list[Problem] = []
    for number in tables:
        file = join(path, f"{number:06d}.sst")
        mine = {seq: key for seq, key in _owners(fs, path, number, newest) if seq <= newest}
        if not mine:
            continue
        low, high = min(mine), max(mine)
        named = [t.number for t in ours if t.min_seq <= high and low <= t.max_seq]
        owners = (owner for other in named for owner in _owners(fs, path, other, high))
        clash = next((seq for seq, key in owners if mine.get(seq, key) != key), None)
        if clash is not None:
            what = f"another store's table: it holds another key under sequence number {clash} than the tables of this one"
            found.append(Problem(file, -1, what))
    return found


def _owners(fs: FileSystem, path: str, number: int, newest: int) -> Iterator[tuple[int, bytes]]:
    """(sequence number, key) of every entry of a table that can be read and does not begin beyond ``newest``."""
    try:
        reader = TableReader(fs, join(path, f"{number:06d}.sst"), number, None, Counters())
    except CorruptionError:
        return
    try:
        if reader.properties.meta.min_seq > newest:
            return
        for columns in reader.columns_chunks(None, None, READ_BYTES):
            yield from zip(_seqs(columns), columns.keys.tolist(), strict=True)
    except CorruptionError:
        return
    finally:
        reader.close()


def _seqs(columns: Columns) -> list[int]:
    """Sequence numbers."""
    seqs: list[int] = (columns.tags >> np.uint64(8)).tolist()
    return seqs
