"""Entries into block payloads (the layout is drawn in :mod:`lsmkv.sstable.block`).

What every block needs (prefix length, tag range, repeats) is computed for many blocks at once; what is left per block
is a header and a few copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lsmkv.base.columns import I64, U64, ByteColumn, Columns
from lsmkv.base.keys import DELETE
from lsmkv.base.order import equal_to_previous
from lsmkv.sstable.block import DELETES, HEADER, MIXED, REPEATS, TAG_DTYPES
from lsmkv.sstable.fences import common_prefix, separator

__all__ = [
    "ENTRY_OVERHEAD",
    "block_flags",
    "cut",
    "encode_blocks",
    "entries_a_block",
    "prefix_lengths",
    "separators",
    "tag_widths",
]

ENTRY_OVERHEAD = 8
"""Bytes an entry is counted for beside key and value when blocks are cut: tag, and ends where widths are mixed."""


WORTH = 3
"""A shared prefix is split off if it is at least one WORTH-th of the block's first key: less saves few bytes, and
putting keys together again is a quarter of a scan's work."""

WORTH_OF_BLOCK = 8
"""... and if that saves at least one WORTH_OF_BLOCK-th of keys and values: beside values of 256 bytes it saves a twentieth."""


def cut(columns: Columns, block_bytes: int) -> list[int]:
    """Where blocks begin and end: 0, then every end of a full block (what follows the last one is not full yet).

    A block takes entries while they fit into ``block_bytes``, but at least one.
    """
    n = len(columns)
    if min(columns.widths) >= 0:
        return list(range(0, n + 1, entries_a_block(columns.widths, block_bytes)))
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


def entries_a_block(widths: tuple[int, int], block_bytes: int) -> int:
    """Entries of a full block whose keys have the one width and whose values have the other."""
    return max(1, block_bytes // (sum(widths) + ENTRY_OVERHEAD))


def encode_blocks(columns: Columns, bounds: list[int]) -> Iterator[bytes]:
    """The payload of each block ``bounds[i]:bounds[i + 1]`` of sorted entries."""
    if len(bounds) < 2:
        return
    keys, values = columns.keys, columns.values
    starts = np.array(bounds[:-1])
    tags = _tag_parts(columns.tags[: bounds[-1]], bounds, starts)
    flags = block_flags(columns, bounds)
    prefixes = prefix_lengths(columns, bounds)
    raw_values = memoryview(np.ascontiguousarray(values.data))
    for b, (start, stop) in enumerate(pairwise(bounds)):
        low, tag_width, tag_part = tags[b]
        prefix, key_width, key_ends, key_part = _key_parts(keys, start, stop, prefixes[b])
        value_width, value_ends = _value_ends(values, start, stop)
        value_part = raw_values[int(values.offsets[start]) : int(values.offsets[stop])]
        header = HEADER.pack(stop - start, len(prefix), key_width, value_width, low, tag_width, flags[b], 0, 0)
        yield b"".join((header, tag_part, key_ends, value_ends, prefix, key_part, value_part))


def separators(keys: ByteColumn, bounds: list[int]) -> list[bytes]:
    """The fence of each block: a separator to the next, for the last block its last key."""
    last = keys[bounds[-1] - 1]
    if keys.width <= 0:
        return [*(separator(keys[at - 1], keys[at]) for at in bounds[1:-1]), last]
    width = keys.width
    rows = keys.span().reshape(len(keys), width)
    inner = np.array(bounds[1:-1], np.int64)
    above, below = rows[inner], rows[inner - 1]
    differ = above != below
    cuts = np.where(differ.any(axis=1), differ.argmax(axis=1) + 1, width).tolist()
    highs, lows = above.tobytes(), below.tobytes()
    fences = [
        highs[i * width : i * width + cut] if cut < width else lows[i * width : (i + 1) * width] for i, cut in enumerate(cuts)
    ]
    return [*fences, last]


def _tag_parts(tags: U64, bounds: list[int], starts: NDArray[np.int64]) -> list[tuple[int, int, bytes]]:
    """Base tag, width and encoded differences of each block."""
    low, high = np.minimum.reduceat(tags, starts), np.maximum.reduceat(tags, starts)
    widths = tag_widths(high - low)
    more = tags - np.repeat(low, np.diff(bounds))
    raw = {width: more.astype(TAG_DTYPES[width]).tobytes() if width else b"" for width in set(widths)}
    lows: list[int] = low.tolist()
    return [(base, w, raw[w][a * w : b * w]) for base, w, (a, b) in zip(lows, widths, pairwise(bounds), strict=True)]


def block_flags(columns: Columns, bounds: list[int]) -> list[int]:
    """The flags of each block."""
    starts = np.array(bounds[:-1])
    same = equal_to_previous(columns.keys.slice(0, bounds[-1]))
    same[starts] = False
    gone = (columns.tags[: bounds[-1]] & np.uint64(0xFF)) == DELETE
    flags: list[int] = (np.logical_or.reduceat(same, starts) * REPEATS + np.logical_or.reduceat(gone, starts) * DELETES).tolist()
    return flags


def tag_widths(spread: NDArray[np.uint64]) -> list[int]:
    """Bytes that the largest difference of each block needs."""
    widths = np.full(len(spread), 8)
    for width, limit in ((4, 1 << 32), (2, 1 << 16), (1, 1 << 8), (0, 1)):
        widths[spread < np.uint64(limit)] = width
    return widths.tolist()


def prefix_lengths(columns: Columns, bounds: list[int]) -> list[int]:
    """Length of the prefix to store once for each block: what all its keys share, if that is worth it, else 0.

    First and last key decide: they are sorted.
    """
    keys, values, at = columns.keys, columns.values, np.array(bounds)
    shared, first = _shared(keys, bounds)
    sizes = np.diff(keys.offsets[at] + values.offsets[at])
    worth = (shared * WORTH >= first) & (shared * np.diff(at) * WORTH_OF_BLOCK >= sizes)
    found: list[int] = np.where(worth, shared, 0).tolist()
    return found


def _shared(keys: ByteColumn, bounds: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64] | int]:
    """How many bytes the first and the last key of each block begin with alike, and the length of the first."""
    if keys.width > 0:
        rows = keys.span().reshape(len(keys), keys.width)
        differ = rows[bounds[:-1]] != rows[np.array(bounds[1:]) - 1]
        return np.where(differ.any(axis=1), differ.argmax(axis=1), keys.width), keys.width
    firsts = [keys[a] for a in bounds[:-1]]
    skips = [common_prefix(first, keys[b - 1]) for first, b in zip(firsts, bounds[1:], strict=True)]
    return np.array(skips, np.int64), np.array(list(map(len, firsts)), np.int64)


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
        raw = b"".join([raw[a + skip : b] for a, b in pairwise(at_list)])
    return prefix, MIXED, ends.astype("<u4").tobytes(), raw


def _value_ends(values: ByteColumn, start: int, stop: int) -> tuple[int, bytes]:
    """Width and ends of the values of one block."""
    if values.width >= 0:
        return values.width, b""
    offsets = values.offsets[start : stop + 1]
    lengths = np.diff(offsets)
    if (lengths == lengths[0]).all():
        return int(lengths[0]), b""
    return MIXED, (offsets - offsets[0]).astype("<u4").tobytes()
