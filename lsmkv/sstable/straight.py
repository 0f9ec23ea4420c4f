"""Neighbours in blocks of a known pattern: read at once and answered with few steps of the interpreter a block, none a key.

Most batches of neighbours lie in some blocks that are not all held, all have been checked before, and form a pattern
(:mod:`lsmkv.sstable.patterns`). They are read with one call, those that are held with the others: to leave one out would take
longer. One call cuts the values out of all of them. All else is left to :func:`~lsmkv.sstable.values.neighbours`.

Each frame must have the digest that it had when it was checked, and the joined keys must be those of the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from xxhash import xxh3_64_intdigest

from lsmkv.sstable.layout import FRAME_BYTES
from lsmkv.sstable.quick import Value, cutter

if TYPE_CHECKING:
    from lsmkv.sstable.reader import TableReader

__all__ = ["STRETCH_BYTES", "answer"]

STRETCH_BYTES = 1 << 20
"""Most that neighbours read at once, but for a larger block: enough that the disk is asked seldom, however long the batch."""


def answer(
    table: TableReader, keys: Sequence[bytes], joined: bytes, index: int, stop: int
) -> list[Value] | Literal[False] | None:
    """The values of keys that are the next entries of blocks ``index`` to ``stop - 1``, one after the other.

    None: they are not. False: all blocks are held, or they form no pattern, or one is not sound any more. Requires keys of one
    length, which are ``joined``, and that the entry of the first key is in the first of the blocks.

    I/O: one read. IOFailedError.
    """
    file, n, start = table.file, len(keys), table.offsets[index]
    total, missing = table.offsets[stop] - start, table.cached[index:stop].count(None)
    if not missing or total > STRETCH_BYTES or (patterns := file.kinds.patterns(index, stop, len(keys[0]))) is None:
        return False
    counters, sums, first = table.counters, file.sums, index
    data = file.part(start, total)
    counters.block_bytes += total
    values: list[Value] = []
    view = memoryview(data)
    at = done = row = begin = 0  # at: bytes of data done, done: bytes of joined found
    for width, rows, blocks, frames, keys_of, values_of, narrow in patterns:
        here = view[at:] if at else view
        if [*map(xxh3_64_intdigest, map(here.__getitem__, frames))] != sums[first : first + blocks].tolist():
            counters.unfiltered_reads += 1
            return False
        column = b"".join(keys_of(data, at))
        if not at:
            begin = column.find(keys[0], 0, rows * width)
            row = begin // width
            if begin < 0 or begin % width:
                break
        part = joined[done : done + len(column) - begin]
        if not column.startswith(part, begin):
            break
        more = len(part) // width
        if narrow:
            values += cutter(narrow, more)(b"".join(values_of(data, at)), row * narrow)
        else:
            values += values_of(data, at)[row : row + more]
        done += len(part)
        at += frames[-1].stop
        first += blocks
        begin = row = 0
    if len(values) < n:
        counters.unfiltered_reads += 1
        return None
    table.near_left -= missing
    if table.near_left <= 0:
        _offer(table, index, stop, view)
    count = stop - index
    counters.block_reads += count
    counters.joined_reads += count - 1
    counters.found += n
    return values


def _offer(table: TableReader, index: int, stop: int, data: memoryview) -> None:
    """Ask the cache about those of these blocks that are not held and whose turn it is."""
    offsets = table.offsets
    blocks = [b for b in range(index, stop) if table.cached[b] is None]
    count = len(blocks)
    while table.near_left <= 0 and count:
        b = blocks[max(0, count - 1 + table.near_left)]  # other threads count, too
        size = offsets[b + 1] - offsets[b]
        if table.wants_near(b, size):
            at = offsets[b] - offsets[index]
            table.hold_block(b, bytes(data[at : at + size]), FRAME_BYTES)
