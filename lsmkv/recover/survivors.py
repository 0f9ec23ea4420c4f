"""Entries that survive damage, as streams of columns that can be merged and written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.base.counters import Counters
from lsmkv.base.keys import DELETE, PUT
from lsmkv.base.order import equal_to_previous, sort_order
from lsmkv.env.fs import FileSystem
from lsmkv.read.merge import merge_streams
from lsmkv.recover.salvage import Judged, salvaged_columns
from lsmkv.sstable.reader import TableReader
from lsmkv.version.shape import TableMeta
from lsmkv.wal.batch import WalBatch

__all__ = ["Source", "covers", "in_order", "log_source", "merged", "table_source", "within"]

READ_BYTES = 1 << 20
"""Bytes of a table read at a time."""

SLICE_BYTES = 4 << 20
"""Bytes merged at a time."""


@dataclass(frozen=True, slots=True)
class Source:
    """Entries that survive, and what they span."""

    meta: TableMeta
    columns: Callable[[], Iterator[Columns]]
    sound: bool
    """The file can stay as it is."""


def merged(sources: Sequence[Source]) -> Iterator[Columns]:
    """All entries of the sources in order, whatever the age of each; no slice divides the versions of a key.

    What several sources hold, versions with one key and one sequence number, comes once.
    """
    for columns in merge_streams([source.columns() for source in sources], SLICE_BYTES):
        yield in_order(columns)


def in_order(columns: Columns) -> Columns:
    """Entries by key, then newest first; of two with one key and one sequence number the first."""
    columns = columns.take(sort_order(columns.keys))
    key = np.cumsum(~equal_to_previous(columns.keys))
    columns = columns.take(np.lexsort((~columns.tags, key)))
    seqs = columns.tags >> np.uint64(8)
    twice = equal_to_previous(columns.keys)
    twice[1:] &= seqs[1:] == seqs[:-1]
    return columns.take(np.flatnonzero(~twice)) if twice.any() else columns


def table_source(fs: FileSystem, judged: Judged) -> Source:
    """The usable entries of a table."""
    assert judged.meta is not None, "judged to hold something"
    if judged.sound:
        return Source(judged.meta, lambda: _all_of(fs, judged.file, judged.number), sound=True)
    return Source(judged.meta, lambda: salvaged_columns(fs, judged), sound=False)


def _all_of(fs: FileSystem, file: str, number: int) -> Iterator[Columns]:
    """Every entry of a sound table. I/O: reads it once."""
    reader = TableReader(fs, file, number, None, Counters())
    try:
        yield from reader.columns_chunks(None, None, READ_BYTES)
    finally:
        reader.close()


def holds_entries(batches: Sequence[WalBatch]) -> bool:
    """Whether logs hold anything but range deletes."""
    return any(len(batch.keys) > len(batch.ranges) for batch in batches)


def log_source(batches: Sequence[WalBatch]) -> Source:
    """The entries of logs; they are held in memory."""
    return _in_memory(_logged(batches), 0)


def within(batches: Sequence[WalBatch], table: TableMeta) -> Source | None:
    """The entries of logs that a lost table can have held, by keys and sequence numbers; None if there are none.

    The place of the table takes them all: nothing there is newer than the table, and nothing lies outside of its keys.
    """
    if not holds_entries(batches):
        return None
    columns = _logged(batches)
    seqs = columns.tags >> np.uint64(8)
    fits = (seqs >= np.uint64(table.min_seq)) & (seqs <= np.uint64(table.max_seq))
    fits &= np.array([table.smallest <= key <= table.largest for key in columns.keys.tolist()], np.bool_)
    return _in_memory(columns.take(np.flatnonzero(fits)), table.number) if fits.any() else None


def covers(batches: Sequence[WalBatch], table: TableMeta) -> bool:
    """Whether logs (dense in sequence numbers) hold every entry that the table can have held."""
    if not batches:
        return False
    return batches[0].first_seq <= table.min_seq and table.max_seq < batches[-1].first_seq + len(batches[-1].keys)


def _logged(batches: Sequence[WalBatch]) -> Columns:
    """The entries of at least one batch, in order."""
    parts: list[Columns] = []
    for batch in batches:
        kinds = np.array([DELETE if value is None else PUT for value in batch.values], np.uint64)
        tags = (np.arange(len(batch.keys), dtype=np.uint64) + np.uint64(batch.first_seq) << np.uint64(8)) | kinds
        values = ByteColumn.from_list([b"" if value is None else value for value in batch.values])
        columns = Columns(ByteColumn.from_list(batch.keys), tags, values)
        ranges = [at for at, _, _ in batch.ranges]
        parts.append(columns.take(np.delete(np.arange(len(columns)), ranges)) if ranges else columns)
    return in_order(Columns.concat(parts))


def _in_memory(columns: Columns, number: int) -> Source:
    """A source of entries at hand (at least one). Range deletes are none."""
    seqs = columns.tags >> np.uint64(8)
    meta = TableMeta(
        number=number,
        bytes=0,
        entries=len(columns),
        tombstones=int(np.count_nonzero((columns.tags & np.uint64(0xFF)) == DELETE)),
        smallest=columns.keys[0],
        largest=columns.keys[len(columns) - 1],
        min_seq=int(seqs.min()),
        max_seq=int(seqs.max()),
    )
    return Source(meta, lambda: iter([columns]), sound=False)
