"""Many entries out of blocks: lookup of neighbours, pairs for scans, columns for merges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from lsmkv.base.columns import U64, ByteColumn, Columns
from lsmkv.sstable.block import MIXED, TAG_DTYPES, Block
from lsmkv.sstable.quick import Value

__all__ = ["Hidden", "Pair", "to_columns", "values_in", "visible_pairs"]

Pair = tuple[bytes, bytes | None]
"""Key and value; None is a tombstone."""

Hidden: TypeAlias = Callable[[bytes, int], bool]
"""Whether a range delete covers the entry of a key with a sequence number."""

FEW = 4
"""Fewer keys than this are looked up one by one."""

MAX_TAG = (1 << 64) - 1


def values_in(block: Block, keys: Sequence[bytes], *, uniform: bool, bare: bool) -> list[Value]:
    """The newest value of each of these sorted keys in their block.

    ``uniform``: all keys are of one width. ``bare``: values may come back as ``b""``. Neighbours are often stored side by
    side: then one comparison of bytes finds them all. Otherwise a dict over the block's keys answers (3 us to make for 30
    keys; searching with NumPy costs 15).
    """
    n = len(keys)
    if n < FEW or block.repeats or not block.vectorisable:
        return [block.value(key) for key in keys]
    start = block.find(keys[0])
    if uniform and 0 <= start <= block.entries - n and block.holds(keys, start):
        values: list[Value] = [b""] * n if bare and not block.deletes else [*block.values_list(start, start + n)]
        return values
    low = start if start >= 0 else block.lower(keys[0])
    high = min(block.lower(keys[-1]) + 1, block.entries)
    rows = dict(zip(block.keys_list(low, high), block.values_list(low, high), strict=True))
    return [rows.get(key, False) for key in keys]


def visible_pairs(block: Block, start: int, stop: int, seq: int | None, hidden: Hidden | None = None) -> list[Pair]:
    """Of entries start..stop-1 the newest version of each key that is <= ``seq`` (None: every version is), if not ``hidden``.

    The keys of start and stop must begin there: a version left of ``start`` is not looked at.
    """
    keys, values = block.keys_list(start, stop), block.values_list(start, stop)
    if seq is None and hidden is None and not block.repeats:
        return list(zip(keys, values, strict=True))
    pairs: list[Pair] = []
    last: bytes | None = None
    limit = MAX_TAG if seq is None else seq << 8 | 0xFF
    for key, value, tag in zip(keys, values, block.tags_list(start, stop), strict=True):
        if tag <= limit and key != last:
            last = key
            if hidden is None or not hidden(key, tag >> 8):
                pairs.append((key, value))
    return pairs


def to_columns(blocks: Sequence[Block]) -> Columns:
    """All entries of consecutive blocks."""
    if len(blocks) == 1:
        block = blocks[0]
        return Columns(block.keys_column(), block.tags(), block.values_column())
    tags = _join_tags(blocks)
    return Columns(_join_keys(blocks, len(tags)), tags, _join_values(blocks, len(tags)))


def _join_tags(blocks: Sequence[Block]) -> U64:
    """All tags: one conversion where the blocks agree on their width (neighbours mostly do)."""
    width = blocks[0].tag_width
    if not width or any(b.tag_width != width for b in blocks):
        return np.concatenate([b.tags() for b in blocks])
    more = np.frombuffer(b"".join([b.payload[b.tags_at : b.tags_at + b.entries * width] for b in blocks]), TAG_DTYPES[width])
    counts = np.fromiter((b.entries for b in blocks), np.int64, len(blocks))
    return more + np.repeat(np.array([b.base_tag for b in blocks], np.uint64), counts)


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
    data = np.frombuffer(b"".join([b.payload[b.values_at :] for b in blocks]), np.uint8)
    widths = {b.value_width for b in blocks}
    width = widths.pop()
    if not widths and width != MIXED:
        return ByteColumn.fixed(data, n, width)
    return ByteColumn.from_parts(data, np.concatenate([np.diff(b.value_ends()) for b in blocks]))
