"""Many entries out of blocks: vectorised lookup, pairs for scans, columns for merges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsmkv.base.columns import I64, U8, ByteColumn, Columns
from lsmkv.base.keys import Entry
from lsmkv.sstable.block import MIXED, Block

__all__ = ["Pair", "entries_at", "find_many", "to_columns", "visible_pairs"]

Pair = tuple[bytes, bytes | None]
"""Key and value; None is a tombstone."""


def find_many(block: Block, rows: U8) -> tuple[I64, I64]:
    """Which of the equal-width sorted keys (g, width) are in the block, and the first (newest) entry of each of those.

    Requires ``block.vectorisable``.
    """
    skip, width = block.prefix_bytes, block.key_width
    none = np.empty(0, np.int64)
    if rows.shape[1] != skip + width:
        return none, none
    which = None
    if skip:
        prefix = block.prefix
        if rows[0, :skip].tobytes() != prefix or rows[-1, :skip].tobytes() != prefix:
            which = np.flatnonzero((rows[:, :skip] == np.frombuffer(prefix, np.uint8)).all(axis=1))
            rows = rows[which]
        rows = rows[:, skip:]
    needles = np.ascontiguousarray(rows).view(f"S{width}").ravel()
    hay = block.suffixes().view(f"S{width}").ravel()
    at = hay.searchsorted(needles)
    np.minimum(at, block.entries - 1, out=at)
    hit = np.flatnonzero(hay[at] == needles)
    return hit if which is None else which[hit], at[hit]


def entries_at(block: Block, at: I64) -> list[Entry]:
    """Sequence number and value of the entries at these positions."""
    tags = block.tags()[at]
    starts, stops = block.value_bounds(at)
    payload = block.payload
    seqs: list[int] = (tags >> np.uint64(8)).tolist()
    live = tags & np.uint64(0xFF)
    if live.all():
        return list(zip(seqs, [payload[a:b] for a, b in zip(starts, stops, strict=True)], strict=True))
    flags = live.tolist()
    return [(s, payload[a:b] if f else None) for s, a, b, f in zip(seqs, starts, stops, flags, strict=True)]


def _pairs(block: Block, start: int, stop: int) -> list[Pair]:
    """Entries start..stop-1, all versions, as pairs."""
    if stop - start < block.entries // 2:
        return [(block.key(i), block.entry(i)[1]) for i in range(start, stop)]
    keys = block.keys_list(start, stop)
    rows = np.arange(start, stop)
    starts, stops = block.value_bounds(rows)
    payload = block.payload
    values: list[bytes | None] = [payload[a:b] for a, b in zip(starts, stops, strict=True)]
    kinds = block.tags()[start:stop] & np.uint64(0xFF)
    for i in np.flatnonzero(kinds == 0).tolist():
        values[i] = None
    return list(zip(keys, values, strict=True))


def visible_pairs(block: Block, start: int, stop: int, seq: int | None) -> list[Pair]:
    """Of entries start..stop-1 the newest version of each key that is <= ``seq`` (None: every version is).

    The keys of start and stop must begin there: a version left of ``start`` is not looked at.
    """
    if seq is None and not block.repeats:
        return _pairs(block, start, stop)
    pairs: list[Pair] = []
    last: bytes | None = None
    for i in range(start, stop):
        key = block.key(i)
        if key == last:
            continue
        found, value = block.entry(i)
        if seq is None or found <= seq:
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
