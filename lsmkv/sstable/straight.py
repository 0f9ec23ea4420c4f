"""Neighbours in blocks that are built alike: read at once and answered with few steps of the interpreter a block, none a key.

Most batches of neighbours lie in some blocks of which none is held, all have been checked before, and all have one layout: the
same number of keys, of one width and without a common prefix, and values of one width. Their key columns end to end hold the
joined keys of the batch or they do not, and one call cuts the values out of their value columns end to end. All else is left to
:func:`~lsmkv.sstable.values.neighbours`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from xxhash import xxh3_64_intdigest

from lsmkv.errors import io_failed
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

    None: they are not. False: the blocks are not alike, or one is not sound any more. Requires keys of one length, which are
    ``joined``, and that the entry of the first key is in the first of the blocks.

    I/O: one read. IOFailedError.
    """
    file, count = table.file, stop - index
    layouts = file.layouts
    if (
        (layout := layouts[index]) is None
        or layouts[index:stop].count(layout) < count
        or table.cached[index:stop].count(None) < count
    ):
        return False
    low, values_at, width, each, skip = layout
    per_block, n, start = (values_at - low) // width, len(keys), table.offsets[index]
    frame_bytes = values_at + per_block * each
    total, sums, counters = count * frame_bytes, file.sums, table.counters
    if skip or not each or len(joined) != n * width or table.offsets[stop] - start != total or total > STRETCH_BYTES:
        return False
    try:
        data = file.pread(total, start)  # part(), here to save a call
    except OSError as error:
        raise io_failed("read table", file.path, error) from error
    counters.block_bytes += total
    whole = memoryview(data)
    key_columns: list[memoryview] = []
    value_columns: list[memoryview] = []
    for at in range(0, total, frame_bytes):
        end, middle = at + frame_bytes, at + values_at
        if xxh3_64_intdigest(whole[at:end]) != sums[index]:
            counters.unfiltered_reads += 1
            return False
        key_columns.append(whole[at + low : middle])
        value_columns.append(whole[middle:end])
        index += 1
    table.near_left -= count
    if table.near_left <= 0:
        _offer(table, range(stop - count, stop), data)
    column = b"".join(key_columns)
    at = column.find(keys[0], 0, per_block * width)
    row = at // width
    if at < 0 or at % width or not column.startswith(joined, at):
        counters.unfiltered_reads += 1
        return None
    for i in range(per_block - row, n, per_block):
        if keys[i] == keys[i - 1]:  # this block begins with an older version
            counters.unfiltered_reads += 1
            return None
    counters.block_reads += count
    counters.joined_reads += count - 1
    counters.found += n
    return [*cutter(each, n)(b"".join(value_columns), row * each)]


def _offer(table: TableReader, blocks: range, data: bytes) -> None:
    """Ask the cache about those of these blocks whose turn it is."""
    count = len(blocks)
    frame_bytes = len(data) // count
    while table.near_left <= 0:
        i = max(0, count - 1 + table.near_left)  # other threads count, too
        if table.wants_near(blocks[i], frame_bytes):
            table.hold_block(blocks[i], data[i * frame_bytes : (i + 1) * frame_bytes], FRAME_BYTES)
