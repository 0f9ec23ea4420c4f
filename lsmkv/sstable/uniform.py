"""Frames of many full blocks at once, where all keys have one width and all values have one.

What :mod:`lsmkv.sstable.encode` and ``seal_frame`` do block by block, NumPy does here for all blocks of the same shape, those
with the same length of prefix and width of tags; the bytes are the same. In the interpreter a block costs two slices and
a checksum, 0.6 us instead of 7, and while NumPy copies other threads run: a flush beside a writer takes less from him.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from lsmkv.base.columns import I64, U8, U64, Columns
from lsmkv.sstable.block import HEADER_BYTES, TAG_DTYPES
from lsmkv.sstable.encode import block_flags, prefix_lengths, tag_widths
from lsmkv.sstable.layout import FRAME_BYTES, SUMMED_AT, seeds_of

__all__ = ["FEW", "Frames", "frames_of", "suits"]

FEW = 4
"""Fewer blocks of one shape are not worth setting up arrays."""

_SHAPES = 16
"""A shape is a number: length of the prefix times this, and width of the tags."""

_HEAD = np.dtype(
    [
        ("sum", "<u8"),
        ("stored", "<u4"),
        ("raw", "<u4"),
        ("entries", "<u4"),
        ("prefix", "<u4"),
        ("key_width", "<u4"),
        ("value_width", "<u4"),
        ("low", "<u8"),
        ("tag_width", "u1"),
        ("flags", "u1"),
        ("zero16", "<u2"),
        ("zero32", "<u4"),
    ]
)
"""A frame's header and its block's, end to end."""

assert _HEAD.itemsize == FRAME_BYTES + HEADER_BYTES


class Frames(NamedTuple):
    """Frames for one place in a file."""

    buffers: list[memoryview]
    """To be written one behind the other; more or fewer than there are frames."""
    ends: I64
    """Where each frame ends in the file."""


class _Blocks(NamedTuple):
    """Blocks of one number of entries: a row for each."""

    tags: U64
    """(blocks, entries); the smallest of its block is taken off."""
    keys: U8
    """(blocks, entries, width)."""
    values: U8
    """(blocks, bytes of its values)."""
    lows: U64
    flags: NDArray[np.uint8]
    widths: tuple[int, int]


class _Part(NamedTuple):
    """The frames of one shape: of which blocks, and their bytes end to end."""

    which: I64
    data: memoryview
    size: int


def suits(columns: Columns) -> bool:
    """Whether the entries have one key width, above 0, and one value width."""
    return columns.keys.width > 0 and columns.values.width >= 0


def frames_of(columns: Columns, each: int, number: int, offset: int) -> Frames | None:
    """The frames of blocks of ``each`` entries, which fill ``columns``, uncompressed, for ``offset`` of table ``number``.

    None: the blocks are too few, or their shapes too many.
    """
    blocks = len(columns) // each
    assert blocks * each == len(columns)
    if blocks < FEW:
        return None
    bounds = list(range(0, len(columns) + 1, each))
    tags = columns.tags.reshape(blocks, each)
    lows = tags.min(axis=1)
    tag_bytes = np.array(tag_widths(tags.max(axis=1) - lows))
    prefixes = np.array(prefix_lengths(columns, bounds))
    shapes, shape_of = np.unique(prefixes * _SHAPES + tag_bytes, return_inverse=True)
    if len(shapes) * FEW > blocks:
        return None
    widths = columns.keys.width, columns.values.width
    keys = columns.keys.span().reshape(blocks, each, widths[0])
    values = columns.values.span().reshape(blocks, each * widths[1])
    flags = np.array(block_flags(columns, bounds), np.uint8)
    rows = _Blocks(tags - lows[:, None], keys, values, lows, flags, widths)
    sizes = _HEAD.itemsize + tag_bytes * each - prefixes * (each - 1) + each * sum(widths)
    ends = offset + np.cumsum(sizes)
    seeds = seeds_of(number, ends - sizes)
    parts = [_sealed(rows, np.flatnonzero(shape_of == i), shape, seeds) for i, shape in enumerate(shapes.tolist())]
    return Frames(_in_order(parts, blocks), ends)


def _sealed(rows: _Blocks, which: I64, shape: int, seeds: U64) -> _Part:
    """The frames of the blocks ``which``, all of this shape."""
    prefix, tag_width = divmod(shape, _SHAPES)
    chosen = slice(None) if len(which) == len(rows.lows) else which
    keys, values = rows.keys[chosen], rows.values[chosen]
    n, each, _ = keys.shape
    suffix = rows.widths[0] - prefix
    tags_at = _HEAD.itemsize
    prefix_at = tags_at + each * tag_width
    keys_at = prefix_at + prefix
    values_at = keys_at + each * suffix
    size = values_at + values.shape[1]
    head = np.zeros(n, _HEAD)
    head["stored"] = head["raw"] = size - FRAME_BYTES
    head["entries"], head["prefix"], head["key_width"], head["value_width"] = each, prefix, suffix, rows.widths[1]
    head["low"], head["flags"], head["tag_width"] = rows.lows[chosen], rows.flags[chosen], tag_width
    data = np.empty((n, size), np.uint8)
    data[:, :tags_at] = head.view(np.uint8).reshape(n, tags_at)
    if tag_width:
        tags = rows.tags[chosen].astype(TAG_DTYPES[tag_width])
        data[:, tags_at:prefix_at] = tags.view(np.uint8).reshape(n, each * tag_width)
    data[:, prefix_at:keys_at] = keys[:, 0, :prefix]
    into: U8 = np.ndarray((n, each, suffix), np.uint8, data, keys_at, (size, suffix, 1))
    into[...] = keys[:, :, prefix:]
    data[:, values_at:] = values
    raw = memoryview(data).cast("B")
    starts = range(SUMMED_AT, n * size, size)
    bodies = [raw[at : at + size - SUMMED_AT] for at in starts]
    sums = list(map(xxh3_64_intdigest, bodies, seeds[chosen].tolist()))
    data[:, :SUMMED_AT] = np.array(sums, "<u8").view(np.uint8).reshape(n, SUMMED_AT)
    return _Part(which, raw, size)


def _in_order(parts: list[_Part], blocks: int) -> list[memoryview]:
    """Their frames as they lie in the file."""
    if len(parts) == 1:
        return [parts[0].data]
    ordered = [parts[0].data] * blocks
    for which, data, size in parts:
        for at, block in enumerate(which.tolist()):
            ordered[block] = data[at * size : (at + 1) * size]
    return ordered
