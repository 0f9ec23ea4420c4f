"""The list of range deletes as the manifest has it.

Columnar, n = the number of fragments (little-endian)::

    start lengths u32 * n | stop lengths u32 * n (2^32 - 1: the end of all keys) | how many sequence numbers u32 * n
    sequence numbers u64 each, newest first, fragment by fragment
    starts end to end | stops end to end
"""

from __future__ import annotations

import struct
from itertools import accumulate, islice, pairwise

import numpy as np

from lsmkv.base.keys import MAX_KEY_BYTES
from lsmkv.errors import CorruptionError
from lsmkv.version.rangedeletes import Fragment, RangeDeletes

__all__ = ["decode_ranges", "encode_ranges"]

_NO_STOP = (1 << 32) - 1
_LENGTHS = 3


def encode_ranges(ranges: RangeDeletes) -> bytes:
    """The bytes of a list; none for an empty one."""
    found = ranges.fragments
    stops = [_NO_STOP if one.stop is None else len(one.stop) for one in found]
    lengths = [*(len(one.start) for one in found), *stops, *(len(one.seqs) for one in found)]
    seqs = [seq for one in found for seq in one.seqs]
    keys = [*(one.start for one in found), *(one.stop or b"" for one in found)]
    return b"".join([struct.pack(f"<{len(lengths)}I{len(seqs)}Q", *lengths, *seqs), *keys])


def decode_ranges(data: bytes, count: int, path: str, offset: int) -> RangeDeletes:
    """The list of ``count`` fragments in ``data``; ``path`` and ``offset`` name it in errors.

    Raises CorruptionError when sizes do not add up or the fragments are no list; nothing is allocated before they do.
    """
    at_seqs = 4 * _LENGTHS * count
    if at_seqs > len(data):
        raise CorruptionError(path, offset, f"{len(data)} bytes cannot hold {count} range deletes")
    starts, stops, counts = np.frombuffer(data, "<u4", _LENGTHS * count).reshape(_LENGTHS, count).tolist()
    total = sum(counts)
    at_keys = at_seqs + 8 * total
    sizes = [*starts, *(0 if size == _NO_STOP else size for size in stops)]
    if at_keys + sum(sizes) != len(data) or max(sizes, default=0) > MAX_KEY_BYTES:
        raise CorruptionError(path, offset, f"{len(data)} bytes are not {count} range deletes of {total} sequence numbers")
    seqs = iter(np.frombuffer(data, "<u8", total, at_seqs).tolist())
    ends = list(accumulate(sizes, initial=at_keys))
    keys = [data[a:b] for a, b in pairwise(ends)]
    ranges = RangeDeletes(
        tuple(
            Fragment(keys[i], None if stops[i] == _NO_STOP else keys[count + i], tuple(islice(seqs, counts[i])))
            for i in range(count)
        )
    )
    wrong = next(ranges.problems(), None)
    if wrong is not None:
        raise CorruptionError(path, offset, wrong)
    return ranges
