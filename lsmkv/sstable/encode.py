"""Entries into block payloads (the layout is drawn in :mod:`lsmkv.sstable.block`).

What every block needs (prefix length, tag range, repeats) is computed for many blocks at once; what is left per block
is a header and a few copies.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lsmkv.base.columns import I64, ByteColumn, Columns
from lsmkv.base.keys import DELETE
from lsmkv.base.order import equal_to_previous
from lsmkv.sstable.block import DELETES, HEADER, MIXED, REPEATS, TAG_DTYPES
from lsmkv.sstable.fences import common_prefix

__all__ = ["cut", "encode_blocks"]

ENTRY_OVERHEAD = 8
"""Bytes an entry is counted for beside key and value when blocks are cut: tag, and ends where widths are mixed."""


def cut(columns: Columns, block_bytes: int) -> list[int]:
    """Where blocks begin and end: 0, then every end of a full block (what follows the last one is not full yet).

    A block takes entries while they fit into ``block_bytes``, but at least one.
    """
    n = len(columns)
    widths = columns.keys.width, columns.values.width
    if min(widths) >= 0:
        each = max(1, block_bytes // (sum(widths) + ENTRY_OVERHEAD))
        return list(range(0, n + 1, each))
    ends = columns.keys.offsets + columns.values.offsets
    ends = ends - ends[0] + np.arange(n + 1) * ENTRY_OVERHEAD
    bounds = [0]
    while bounds[-1] < n:
        start = bounds[-1]
        stop = int(ends.searchsorted(ends[start] + block_bytes, "right")) - 1
        stop = max(stop, start + 1)
        if stop >= n:
            break
        bounds.append(stop)
    return bounds


def encode_blocks(columns: Columns, bounds: list[int]) -> Iterator[bytes]:
    """The payload of each block ``bounds[i]:bounds[i + 1]`` of sorted entries."""
    if len(bounds) < 2:
        return
    keys, values = columns.keys, columns.values
    tags = columns.tags[: bounds[-1]]
    starts = np.array(bounds[:-1])
    low, high = np.minimum.reduceat(tags, starts), np.maximum.reduceat(tags, starts)
    tag_widths = _tag_widths(high - low)
    same = equal_to_previous(keys.slice(0, bounds[-1]))
    same[starts] = False
    repeats = np.logical_or.reduceat(same, starts).tolist()
    deletes = np.logical_or.reduceat((tags & np.uint64(0xFF)) == DELETE, starts).tolist()
    prefixes = _prefixes(keys, bounds)
    lows: list[int] = low.tolist()
    for b, (start, stop) in enumerate(itertools.pairwise(bounds)):
        n, skip, tag_width = stop - start, prefixes[b], tag_widths[b]
        tag_part = b""
        if tag_width:
            tag_part = (tags[start:stop] - low[b]).astype(TAG_DTYPES[tag_width]).tobytes()
        prefix, key_width, key_ends, key_part = _key_parts(keys, start, stop, skip)
        value_width, value_ends, value_part = _value_parts(values, start, stop)
        flags = (REPEATS if repeats[b] else 0) | (DELETES if deletes[b] else 0)
        header = HEADER.pack(n, skip, key_width, value_width, lows[b], tag_width, flags, 0, 0)
        yield b"".join((header, tag_part, key_ends, value_ends, prefix, key_part, value_part))


def _tag_widths(spread: NDArray[np.uint64]) -> list[int]:
    """Bytes that the largest difference of each block needs."""
    widths = np.full(len(spread), 8)
    for width, limit in ((4, 1 << 32), (2, 1 << 16), (1, 1 << 8), (0, 1)):
        widths[spread < np.uint64(limit)] = width
    return widths.tolist()


def _prefixes(keys: ByteColumn, bounds: list[int]) -> list[int]:
    """Length of the prefix that all keys of each block share (first and last key decide: they are sorted)."""
    if keys.width > 0:
        rows = keys.span().reshape(len(keys), keys.width)
        differ = rows[bounds[:-1]] != rows[np.array(bounds[1:]) - 1]
        found: list[int] = np.where(differ.any(axis=1), differ.argmax(axis=1), keys.width).tolist()
        return found
    return [common_prefix(keys[a], keys[b - 1]) for a, b in itertools.pairwise(bounds)]


def _key_parts(keys: ByteColumn, start: int, stop: int, skip: int) -> tuple[bytes, int, bytes, bytes]:
    """Prefix, suffix width, ends and suffixes of one block."""
    at = int(keys.offsets[start])
    prefix = keys.data[at : at + skip].tobytes()
    part = keys if keys.width >= 0 else keys.slice(start, stop)
    if part.width >= 0:
        width = part.width
        rows = keys.data[at : at + width * (stop - start)]
        if skip:
            rows = rows.reshape(stop - start, width)[:, skip:]
        return prefix, width - skip, b"", rows.tobytes()
    offsets = part.offsets - part.offsets[0]
    ends: I64 = offsets - skip * np.arange(len(offsets))
    raw = part.span().tobytes()
    if skip:
        at_list = offsets.tolist()
        raw = b"".join([raw[a + skip : b] for a, b in itertools.pairwise(at_list)])
    return prefix, MIXED, ends.astype("<u4").tobytes(), raw


def _value_parts(values: ByteColumn, start: int, stop: int) -> tuple[int, bytes, bytes]:
    """Width, ends and bytes of the values of one block."""
    part = values.data[int(values.offsets[start]) : int(values.offsets[stop])].tobytes()
    if values.width >= 0:
        return values.width, b"", part
    offsets = values.offsets[start : stop + 1]
    lengths = np.diff(offsets)
    if (lengths == lengths[0]).all():
        return int(lengths[0]), b"", part
    return MIXED, (offsets - offsets[0]).astype("<u4").tobytes(), part
