"""A batch as the log sees it, and its bytes.

Payload of a frame, columnar, n = the frame's entry count (little-endian)::

    kinds         n bytes, 0 delete, 1 put       only if the frame's kind is MIXED or RANGED: otherwise all are puts
                  in RANGED frames also 2 range delete: the key is its start, the value its stop
                                        3 range delete to the end of all keys
    key lengths   per code a: 0 one u32 for all | 1, 2 or 4: n numbers of that many bytes
    value lengths per code b, likewise; that of entries of kinds 0 and 3 is 0
    keys end to end | values end to end

Entry i has sequence number ``stamp + i``. Columns cost 0.1 us a record where records one by one cost 0.5: lengths, joins and
checksum are each one call for the whole batch.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TypeAlias, cast

from lsmkv.base.alike import Alike
from lsmkv.base.frames import FRAME_HEADER_BYTES, MAX_PAYLOAD_BYTES, Frame, frame_header
from lsmkv.base.keys import DELETE, MAX_KEY_BYTES, MAX_VALUE_BYTES, PUT
from lsmkv.env.fs import Buffer
from lsmkv.errors import CorruptionError, InvalidArgumentError

__all__ = ["MIXED", "PUTS", "RANGED", "RangeAt", "WalBatch", "decode_batch", "encode_batch"]

PUTS, MIXED, RANGED = 1, 2, 3
"""Kinds of frames: all puts, or kinds given entry by entry, without or with range deletes."""

_TO_STOP, _TO_END = 2, 3
"""Kinds of range deletes."""

RangeAt: TypeAlias = tuple[int, bytes, bytes | None]
"""(which entry of its batch a range delete is, start, stop; None: the end of all keys)."""

LARGE_BYTES = 16 << 10
"""Mean value size from which values are handed to the kernel one by one instead of being copied together."""

FEW = 1 << 16
"""A frame of more entries has at least a byte of payload for each: what a reader allocates is bounded by what is there."""

_SAME = struct.Struct("<I")
_PAIR = struct.Struct("<II")
_ARRAYS = {1: "B", 2: "H", 4: "I"}


@dataclass(frozen=True, slots=True)
class WalBatch:
    """Consecutive entries of one atomic write: entry i has sequence number ``first_seq + i``; value None deletes."""

    first_seq: int
    keys: Sequence[bytes]
    values: Sequence[bytes | None]
    ranges: Sequence[RangeAt] = ()
    """Entries that are range deletes, in order; their key is the start, their value None."""
    alike: Alike | None = None
    """The same puts joined, if that is known."""


def encode_batch(batch: WalBatch, number: int, offset: int, durable: int) -> tuple[list[Buffer], int]:
    """The frame of a batch for ``offset`` of log ``number``: buffers to write in order, and their size in bytes.

    Raises InvalidArgumentError if keys and values differ in number or the frame would exceed 4 GiB.
    """
    keys, n = batch.keys, len(batch.keys)
    if len(batch.values) != n or not n:
        raise InvalidArgumentError(f"a batch of {n} keys and {len(batch.values)} values: as many of both, and at least one")
    if batch.ranges:
        return _encode_ranged(batch, number, offset, durable)
    if n == 1 and (value := batch.values[0]) is not None and len(value) < LARGE_BYTES:
        payload = b"".join((_PAIR.pack(len(keys[0]), len(value)), keys[0], value))
        header = frame_header(number, offset, PUTS, (0, 0), 1, batch.first_seq, durable, (payload,), len(payload))
        return [header + payload], FRAME_HEADER_BYTES + len(payload)
    if batch.alike is not None and (length := len(joined := batch.alike.joined)) <= MAX_PAYLOAD_BYTES:
        header = frame_header(number, offset, PUTS, (0, 0), n, batch.first_seq, durable, (joined,), length)
        return [header, joined], FRAME_HEADER_BYTES + length
    kind, kinds, values = PUTS, b"", cast("Sequence[bytes]", batch.values)
    try:
        value_code, value_lengths, value_bytes = _pack_lengths(values)
    except TypeError:  # None has no length: finding deletes this way costs a batch of puts nothing
        kind, kinds = MIXED, bytes([DELETE if value is None else PUT for value in batch.values])
        values = [b"" if value is None else value for value in batch.values]
        value_code, value_lengths, value_bytes = _pack_lengths(values)
    key_code, key_lengths, key_bytes = _pack_lengths(keys)
    length = len(kinds) + len(key_lengths) + len(value_lengths) + key_bytes + value_bytes
    if length > MAX_PAYLOAD_BYTES:
        raise InvalidArgumentError(f"a batch of {length} bytes exceeds the {MAX_PAYLOAD_BYTES} a log frame can hold: split it")
    codes = (key_code, value_code)
    if value_bytes < LARGE_BYTES * n:
        payload = b"".join([kinds, key_lengths, value_lengths, *keys, *values])
        header = frame_header(number, offset, kind, codes, n, batch.first_seq, durable, (payload,), length)
        return [header, payload], FRAME_HEADER_BYTES + length
    parts: list[Buffer] = [b"".join([kinds, key_lengths, value_lengths, *keys]), *values]
    header = frame_header(number, offset, kind, codes, n, batch.first_seq, durable, parts, length)
    return [header, *parts], FRAME_HEADER_BYTES + length


def _encode_ranged(batch: WalBatch, number: int, offset: int, durable: int) -> tuple[list[Buffer], int]:
    """:func:`encode_batch` of one with range deletes."""
    kinds = bytearray(DELETE if value is None else PUT for value in batch.values)
    values = [value or b"" for value in batch.values]
    for at, start, stop in batch.ranges:
        if batch.keys[at] != start or batch.values[at] is not None:
            raise InvalidArgumentError(f"entry {at} of a batch is a range delete at {start!r}, but its key is another")
        kinds[at] = _TO_END if stop is None else _TO_STOP
        values[at] = stop or b""
    key_code, key_lengths, _ = _pack_lengths(batch.keys)
    value_code, value_lengths, _ = _pack_lengths(values)
    payload = b"".join([kinds, key_lengths, value_lengths, *batch.keys, *values])
    if len(payload) > MAX_PAYLOAD_BYTES:
        what = f"a batch of {len(payload)} bytes exceeds the {MAX_PAYLOAD_BYTES} a log frame can hold: split it"
        raise InvalidArgumentError(what)
    codes, n = (key_code, value_code), len(batch.keys)
    header = frame_header(number, offset, RANGED, codes, n, batch.first_seq, durable, (payload,), len(payload))
    return [header, payload], FRAME_HEADER_BYTES + len(payload)


def _pack_lengths(items: Sequence[bytes]) -> tuple[int, bytes, int]:
    """(code, bytes, sum) of the lengths: one number if all agree, else the narrowest array."""
    different = set(map(len, items))
    if len(different) == 1 and (len(items) <= FEW or different != {0}):
        (width,) = different
        return 0, _SAME.pack(width), width * len(items)
    size = 1 if (top := max(different)) < 1 << 8 else 2 if top < 1 << 16 else 4
    lengths = list(map(len, items))
    return size, struct.pack(f"<{len(items)}{_ARRAYS[size]}", *lengths), sum(lengths)


def decode_batch(frame: Frame, path: str) -> WalBatch:
    """The batch of an intact frame; keys and values are copies.

    Raises CorruptionError when sizes do not add up or exceed the limits; nothing is allocated before they do.
    """
    n, data = frame.entries, bytes(frame.payload)
    if frame.kind not in (PUTS, MIXED, RANGED) or not n:
        raise CorruptionError(path, frame.offset, f"a frame of kind {frame.kind} with {n} entries")
    if n > max(FEW, len(data)):
        raise CorruptionError(path, frame.offset, f"a payload of {len(data)} bytes cannot hold {n} entries")
    at = n if frame.kind != PUTS else 0
    key_lengths, at = _unpack_lengths(data, at, frame.codes[0], n, path, frame.offset)
    value_lengths, at = _unpack_lengths(data, at, frame.codes[1], n, path, frame.offset)
    key_ends = list(accumulate(key_lengths, initial=at))
    value_ends = list(accumulate(value_lengths, initial=key_ends[-1]))
    if value_ends[-1] != len(data) or max(key_lengths) > MAX_KEY_BYTES or max(value_lengths) > MAX_VALUE_BYTES:
        what = f"a payload of {len(data)} bytes cannot hold {n} entries that end at byte {value_ends[-1]}"
        raise CorruptionError(path, frame.offset, what)
    keys = [data[a:b] for a, b in pairwise(key_ends)]
    values: list[bytes | None] = [data[a:b] for a, b in pairwise(value_ends)]
    ranges = _ranges(data[:n], keys, values, path, frame.offset) if frame.kind == RANGED else ()
    if frame.kind != PUTS:
        values = [value if kind == PUT else None for kind, value in zip(data[:n], values, strict=True)]
    return WalBatch(frame.stamp, keys, values, ranges)


def _ranges(kinds: bytes, keys: Sequence[bytes], values: Sequence[bytes | None], path: str, offset: int) -> tuple[RangeAt, ...]:
    """The range deletes of a frame; CorruptionError for one that is none."""
    if max(kinds) > _TO_END:
        raise CorruptionError(path, offset, f"an entry of kind {max(kinds)}")
    found: list[RangeAt] = []
    for at, (kind, start, stop) in enumerate(zip(kinds, keys, values, strict=True)):
        if kind >= _TO_STOP:
            found.append((at, start, stop if kind == _TO_STOP else None))
            if kind == _TO_STOP and not start < (stop or b""):
                raise CorruptionError(path, offset, f"an empty range delete: {start!r} to {stop!r}")
    return tuple(found)


def _unpack_lengths(data: bytes, at: int, code: int, n: int, path: str, offset: int) -> tuple[Sequence[int], int]:
    """The n lengths laid out at ``at``, and where they end."""
    end = at + (code * n if code else _SAME.size)
    if code not in (0, *_ARRAYS) or end > len(data):
        raise CorruptionError(path, offset, f"a payload of {len(data)} bytes cannot hold {n} lengths of code {code}")
    if not code:
        width = _SAME.unpack_from(data, at)[0]
        if width * n > len(data):
            raise CorruptionError(path, offset, f"a payload of {len(data)} bytes cannot hold {n} strings of {width} bytes")
        return [width] * n, end
    return struct.unpack_from(f"<{n}{_ARRAYS[code]}", data, at), end
