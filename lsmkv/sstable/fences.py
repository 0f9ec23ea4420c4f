"""Fences: one short separator per block, held in memory, so that a key costs one block.

``fence[b]`` satisfies ``last key of block b <= fence[b]`` and, unless versions of one key continue in the next block,
``fence[b] < first key of block b + 1``; in that case both are that key. Hence ``bisect_left(fences, key)`` is the first
block that may hold the key, its newest version included. The last fence is the table's largest key.
"""

from __future__ import annotations

import numpy as np

from lsmkv.base.columns import I64, ByteColumn
from lsmkv.errors import CorruptionError
from lsmkv.sstable.layout import INDEX

__all__ = ["common_prefix", "decode_index", "encode_index", "separator"]


def common_prefix(a: bytes, b: bytes) -> int:
    """Number of leading bytes that two keys share."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    differ = int.from_bytes(a[:n], "big") ^ int.from_bytes(b[:n], "big")
    return n - (differ.bit_length() + 7) // 8


def separator(last: bytes, following: bytes) -> bytes:
    """A short key s with ``last <= s < following`` (``last`` itself when the two are equal)."""
    short = following[: common_prefix(last, following) + 1]
    return short if len(short) < len(following) else last


def encode_index(offsets: list[int], fences: list[bytes]) -> bytes:
    """The index: where each block starts (and the last one ends), and the fences."""
    assert len(offsets) == len(fences) + 1, (len(offsets), len(fences))
    lengths = np.fromiter(map(len, fences), "<u4", len(fences))
    head = INDEX.pack(len(fences), 0)
    return b"".join([head, np.array(offsets, "<u8").tobytes(), lengths.tobytes(), *fences])


def decode_index(file: str, at: int, data: bytes | memoryview, end: int) -> tuple[memoryview[int], list[bytes]]:
    """Block offsets (blocks + 1 of them, the last is ``end``; packed, 8 bytes each) and fences.

    Raises:
        CorruptionError: lengths that do not add up, or offsets that do not ascend from 0 to ``end``.
    """
    if len(data) < INDEX.size:
        raise CorruptionError(file, at, "index is shorter than its header")
    blocks, zero = INDEX.unpack_from(data)
    body = INDEX.size + 8 * (blocks + 1) + 4 * blocks
    if zero or not blocks or body > len(data):
        raise CorruptionError(file, at, f"index of {len(data)} bytes cannot hold {blocks} blocks")
    offsets = np.frombuffer(data, "<u8", blocks + 1, INDEX.size)
    lengths: I64 = np.frombuffer(data, "<u4", blocks, INDEX.size + 8 * (blocks + 1)).astype(np.int64)
    fences = ByteColumn.from_parts(np.frombuffer(data, np.uint8, offset=body), lengths)
    if int(fences.offsets[-1]) != len(fences.data):
        raise CorruptionError(file, at, "fence lengths do not add up")
    if offsets[0] != 0 or offsets[-1] != end or (offsets[1:] <= offsets[:-1]).any():
        raise CorruptionError(file, at, "block offsets do not ascend to the end of the blocks")
    return memoryview(offsets.astype(np.int64)), fences.tolist()
