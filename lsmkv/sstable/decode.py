"""Many entries out of blocks: lookup of neighbours, pairs for scans, columns for merges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.base.keys import Entry
from lsmkv.sstable.block import MIXED, Block

__all__ = ["Pair", "entries_of", "find_group", "to_columns", "visible_pairs"]

Pair = tuple[bytes, bytes | None]
"""Key and value; None is a tombstone."""

FEW = 4
"""Fewer keys than this are looked up one by one."""

MAX_TAG = (1 << 64) - 1


def find_group(block: Block, keys: list[bytes], *, uniform: bool) -> tuple[list[int], list[Entry]]:
    """Which of these sorted keys (their positions) are in the block, and the newest entry of each of those.

    ``uniform``: all keys are of one width. Neighbours are often stored side by side: then one comparison of bytes finds
    them all. Otherwise a dict over the block's keys answers (3 us to make for 30 keys; searching with NumPy costs 15).
    """
    if len(keys) < FEW or block.repeats or not block.vectorisable:
        newest = list(map(block.newest, keys))
        if None not in newest:
            return list(range(len(keys))), newest  # type: ignore[return-value]  # no None among them
        return [i for i, e in enumerate(newest) if e is not None], [e for e in newest if e is not None]
    start, n = block.find(keys[0]), len(keys)
    if uniform and 0 <= start <= block.entries - n and block.holds(keys, start):
        return list(range(n)), entries_of(block, start, start + n)
    low, high = (start if start >= 0 else block.lower(keys[0])), block.lower(keys[-1]) + 1
    high = min(high, block.entries)
    rows = dict(zip(block.keys_list(low, high), range(low, high), strict=True))
    at = [rows.get(key) for key in keys]
    which = [i for i, row in enumerate(at) if row is not None]
    return which, [block.entry(row) for row in at if row is not None]


def entries_of(block: Block, start: int, stop: int) -> list[Entry]:
    """Sequence number and value of entries start..stop-1."""
    return list(zip([tag >> 8 for tag in block.tags_list(start, stop)], block.values_list(start, stop), strict=True))


def visible_pairs(block: Block, start: int, stop: int, seq: int | None) -> list[Pair]:
    """Of entries start..stop-1 the newest version of each key that is <= ``seq`` (None: every version is).

    The keys of start and stop must begin there: a version left of ``start`` is not looked at.
    """
    keys, values = block.keys_list(start, stop), block.values_list(start, stop)
    if seq is None and not block.repeats:
        return list(zip(keys, values, strict=True))
    pairs: list[Pair] = []
    last: bytes | None = None
    limit = MAX_TAG if seq is None else seq << 8 | 0xFF
    for key, value, tag in zip(keys, values, block.tags_list(start, stop), strict=True):
        if tag <= limit and key != last:
            pairs.append((key, value))
            last = key
    return pairs


def to_columns(blocks: Sequence[Block]) -> Columns:
    """All entries of consecutive blocks."""
    if len(blocks) == 1:
        block = blocks[0]
        return Columns(block.keys_column(), block.tags(), block.values_column())
    tags = np.concatenate([b.tags() for b in blocks])
    return Columns(_join_keys(blocks, len(tags)), tags, _join_values(blocks, len(tags)))


def _join_keys(blocks: Sequence[Block], n: int) -> ByteColumn:
    """All ``n`` keys, whole, copied once."""
    widths = {b.prefix_bytes + b.key_width if b.key_width != MIXED else -1 for b in blocks}
    width = widths.pop()
    if widths or width < 0:
        return ByteColumn.concat([b.keys_column() for b in blocks])
    rows = np.empty((n, width), np.uint8)
    start = 0
    for block in blocks:
        stop, skip = start + block.entries, block.prefix_bytes
        if skip:
            rows[start:stop, :skip] = np.frombuffer(block.prefix, np.uint8)
        rows[start:stop, skip:] = block.suffixes()
        start = stop
    return ByteColumn.fixed(rows.reshape(-1), n, width)


def _join_values(blocks: Sequence[Block], n: int) -> ByteColumn:
    """All ``n`` values, copied once."""
    data = np.concatenate([b.values_bytes() for b in blocks])
    widths = {b.value_width for b in blocks}
    width = widths.pop()
    if not widths and width != MIXED:
        return ByteColumn.fixed(data, n, width)
    return ByteColumn.from_parts(data, np.concatenate([np.diff(b.value_ends()) for b in blocks]))
