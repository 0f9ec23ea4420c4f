"""Ranges of one table, ascending or descending, in chunks that start small and double.

Versions of one key may continue in the next block. Ascending, the key's visible version comes first and later ones are
skipped; descending, the version found waits until the block before has had its say.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from lsmkv.base.columns import Columns
from lsmkv.base.counters import WorkCounters
from lsmkv.sstable.access import TableAccess
from lsmkv.sstable.block import Block
from lsmkv.sstable.decode import Hidden, Pair, to_columns, visible_pairs
from lsmkv.sstable.quick import pairs_from, row_in

__all__ = ["backward", "everything", "forward"]

FIRST_CHUNK = 32
"""Entries decoded before the first doubling, so that a short scan does not decode whole blocks."""


def _extent(block: Block, start: bytes | None, stop: bytes | None) -> tuple[int, int]:
    """The entries of a block with keys in [start, stop)."""
    low = 0 if start is None else block.find(start)  # mostly a key that is there: four times as fast as halving
    if low < 0 and start is not None:
        low = block.lower(start)
    return low, (block.entries if stop is None else block.lower(stop))


def forward(
    table: TableAccess, start: bytes | None, stop: bytes | None, seq: int | None, hidden: Hidden | None = None
) -> Iterator[list[Pair]]:
    """Ascending chunks of the keys in [start, stop) as visible at ``seq`` (None: every version is), without what is ``hidden``.

    Hidden with an entry are all older ones of its key.

    I/O: one read per block, when the consumer gets there.
    """
    index = 0 if start is None else bisect_left(table.fences, start)
    emitted: bytes | None = None
    size = left = FIRST_CHUNK
    while index < table.blocks:
        last = stop is not None and table.fences[index] >= stop
        payload, layout, at, block = table.look(index, table.scans)
        # Plain: nothing to leave out, nothing twice. Chunks are cut as below: one loop for both costs a scan of 32 3 to 8 %.
        if layout is not None and not last and seq is None and hidden is None:
            low = 0 if start is None else row_in(payload, layout, start)
            if low >= 0:
                start = None
                keys_at, values_at, width, _, _ = layout
                high = (values_at - keys_at) // width
                while low < high:
                    end = low + left if left < high - low else high
                    pairs = pairs_from(payload, layout, low, end)
                    if pairs[0][0] == emitted:
                        del pairs[0]
                    if pairs:
                        yield pairs
                        emitted = pairs[-1][0]
                    left -= end - low
                    if left <= 0:
                        size = left = 2 * size
                    low = end
                index += 1
                continue
        block = block or table.file.from_payload(index, payload, at)
        low, high = _extent(block, start, stop if last else None)
        start = None
        while low < high:
            end = high if block.repeats else min(low + left, high)
            pairs = visible_pairs(block, low, end, seq, hidden)
            if pairs and pairs[0][0] == emitted:
                del pairs[0]
            if pairs:
                yield pairs
                emitted = pairs[-1][0]
            left -= end - low
            if left <= 0:
                size = left = 2 * size
            low = end
        if last:
            return
        index += 1


def backward(
    table: TableAccess, start: bytes | None, stop: bytes | None, seq: int | None, hidden: Hidden | None = None
) -> Iterator[list[Pair]]:
    """Descending chunks; as :func:`forward`."""
    fences = table.fences
    index = table.blocks - 1 if stop is None else min(bisect_left(fences, stop), table.blocks - 1)
    waiting: list[Pair] = []
    size = left = FIRST_CHUNK
    while index >= 0:
        block = table.block(index, table.scans)
        low, high = _extent(block, start, stop)
        stop = None
        continued = index > 0 and low == 0 and fences[index - 1] == block.key(0)
        while low < high:
            begin = low if block.repeats else max(high - left, low)
            pairs = visible_pairs(block, begin, high, seq, hidden)
            if waiting and not (pairs and pairs[-1][0] == waiting[0][0]):
                pairs += waiting
            waiting = []
            if continued and begin == 0 and pairs and pairs[0][0] == fences[index - 1]:
                waiting, pairs = pairs[:1], pairs[1:]
            if pairs:
                pairs.reverse()
                yield pairs
            left -= high - begin
            if left <= 0:
                size = left = 2 * size
            high = begin
        if low > 0:
            break
        index -= 1
    if waiting:
        yield waiting


def everything(table: TableAccess, chunk_bytes: int, counts: WorkCounters) -> Iterator[Columns]:
    """All versions of all keys in order, about ``chunk_bytes`` of file at a time, counted as they are read; for compaction.

    Neither uses nor fills the block cache. I/O: one read per chunk (at least one block each).
    """
    offsets, index = table.file.offsets, 0
    for blocks in table.file.block_runs(0, table.blocks, chunk_bytes):
        end = index + len(blocks)
        counts.reads += 1
        counts.read_blocks += len(blocks)
        counts.read_bytes += offsets[end] - offsets[index]
        columns = to_columns(blocks)
        counts.read_entries += len(columns)
        yield columns
        index = end
