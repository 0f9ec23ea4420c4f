"""Batches into memtables, where some of their operations are range deletes.

No memtable holds entries of both sides of a range delete, except those that the range delete does not cover: they are the same
to it either way. See :mod:`lsmkv.version.rangedeletes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from lsmkv.memtable import Memtable
from lsmkv.version.rangedeletes import NO_RANGES, RangeDelete
from lsmkv.wal.batch import WalBatch

__all__ = ["apply_batch", "memtables_of", "range_deletes"]


def range_deletes(batch: WalBatch) -> tuple[RangeDelete, ...]:
    """The range deletes of a batch, with their sequence numbers."""
    return tuple(RangeDelete(start, stop, batch.first_seq + at) for at, start, stop in batch.ranges)


def apply_batch(mem: Memtable, batch: WalBatch, *, keep_versions: bool) -> None:
    """Write the entries of a batch, without those that a later range delete of the same batch covers.

    A batch with range deletes goes into a memtable without entries, which no reader has seen yet.
    """
    if not batch.ranges:
        mem.apply(batch.keys, batch.values, batch.first_seq, keep_versions=keep_versions)
        return
    assert not mem.entries, "a range delete begins a memtable"
    cuts = [-1, *(at for at, _, _ in batch.ranges), len(batch.keys)]
    deletes = range_deletes(batch)
    for number, (before, after) in enumerate(pairwise(cuts)):
        _apply_part(mem, batch, range(before + 1, after), deletes[number:], keep_versions=keep_versions)


def _apply_part(mem: Memtable, batch: WalBatch, part: range, deletes: Sequence[RangeDelete], *, keep_versions: bool) -> None:
    """Write the entries between two range deletes, if none of ``deletes``, which follow them, covers them."""
    gone = NO_RANGES.added(deletes)
    first = part.start
    for at in part:
        if gone.cover(batch.keys[at]):
            _apply_slice(mem, batch, first, at, keep_versions=keep_versions)
            first = at + 1
    _apply_slice(mem, batch, first, part.stop, keep_versions=keep_versions)


def _apply_slice(mem: Memtable, batch: WalBatch, first: int, stop: int, *, keep_versions: bool) -> None:
    """Write entries first..stop-1."""
    if first < stop:
        keys, values = batch.keys[first:stop], batch.values[first:stop]
        mem.apply(keys, values, batch.first_seq + first, keep_versions=keep_versions)


def memtables_of(
    batches: Iterable[WalBatch], new_mem: Callable[[], Memtable], full_bytes: int
) -> Iterator[tuple[Memtable, tuple[RangeDelete, ...]]]:
    """Replayed batches in memtables of about ``full_bytes``, oldest first, each with the range deletes that come before it."""
    mem = new_mem()
    ranges: tuple[RangeDelete, ...] = ()
    for batch in batches:
        if mem.entries and (batch.ranges or mem.bytes >= full_bytes):
            yield mem, ranges
            mem, ranges = new_mem(), ()
        apply_batch(mem, batch, keep_versions=False)
        ranges += range_deletes(batch)
    if mem.entries or ranges:
        yield mem, ranges
