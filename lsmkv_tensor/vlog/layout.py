"""Bytes of the value log: segments, frames, and the index value that points into them.

A segment is one preallocated file of ``segment_bytes`` (a multiple of 4096). Everything starts on a 4 KiB block::

    block 0        segment header
    block 1 ..     frame   header (1 or more blocks) | payload, padded to 4 KiB | payload, padded | ...
                   frame   ...
                   end mark (a frame of no pages), written when the segment is sealed
                   free space: zeros, or what an earlier generation left there

    segment header (little endian)          frame header                            frame entry, one per page
     0  magic "LSMKVSEG"        8            0  magic "LKPF"            4            0  index key        32
     8  format version u32      4            4  header_bytes u32        4           32  parent           28
    12  number u32              4            8  pages u32               4           60  length u32        4
    16  generation u32          4           12  generation u32          4           64  codec u8          1
    20  zero                    4           16  segment u32             4           65  expiry u24        3
    24  segment_bytes u64       8           20  first block u32         4           68  zero              4
    32  store id               16           24  frame_bytes u64         8           72  payload check u64 8
    48  checksum u64            8           32  sequence u64            8           80
    56  zeros to 4096                       40  zero                   16
                                            56  checksum u64            8
                                            64  entries, then zeros to header_bytes

Checksums are xxh3-64 over the whole header with the checksum field zero. A frame's is seeded by (store id, segment,
generation, block): a frame that an earlier generation, another place or another store left behind is never believed.
A payload's check is xxh3-64 of its bytes seeded by xxh3-64 of its index key: bytes of another key never pass.

The index maps ``namespace 4 | page key 28`` to a :class:`Place` (56 bytes)::

     0 segment u32 | 4 generation u32 | 8 block u32 | 12 length u32 | 16 codec u8 | 17 expiry u24 | 20 parent 28 | 48 check u64

``block`` is the offset of the payload in 4 KiB units. ``parent`` is the page key of the preceding page in the same
namespace, or zeros. ``length`` is that of the payload and ``codec`` says how it becomes the page (:mod:`lsmkv_tensor.codec`):
0, it is the page. ``expiry``: the minute from which on the page does not exist any more, counted from the start of 2020; 0:
never. Codec and expiry are one 32-bit number, the *kind*, in places and in frame entries alike.

This module packs and unpacks; it does no I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from xxhash import xxh3_64, xxh3_64_intdigest

from lsmkv_tensor.codec import RAW
from lsmkv_tensor.errors import CorruptionError, FormatTooNewError

__all__ = [
    "BLOCK",
    "INDEX_KEY_BYTES",
    "MAX_MINUTE",
    "MAX_SEGMENT_BYTES",
    "NO_PARENT",
    "PAGE_KEY_BYTES",
    "PLACE_COLUMNS",
    "RAW",
    "SEGMENT_VERSION",
    "FrameEntry",
    "FrameHead",
    "PageLine",
    "Place",
    "SegmentHeader",
    "frame_header_bytes",
    "has_ended",
    "header_check",
    "minute_of",
    "pack_frame",
    "pack_segment_header",
    "padded",
    "payload_check",
    "unpack_frame",
    "unpack_head",
    "unpack_segment_header",
]

BLOCK = 4096
"""Bytes; alignment of headers and payloads, what O_DIRECT needs on every common device."""

INDEX_KEY_BYTES = 32
PAGE_KEY_BYTES = 28
NO_PARENT = bytes(PAGE_KEY_BYTES)

SEGMENT_VERSION = 1
MAX_SEGMENT_BYTES = 1 << 34
"""Bytes; keeps block numbers far inside 32 bits."""

_SEGMENT = struct.Struct("<8sIIIIQ16sQ")
_SEGMENT_MAGIC = b"LSMKVSEG"
_SEGMENT_CHECK_AT = 48
_HEAD = struct.Struct("<4sIIIIIQQ16xQ")
_FRAME_MAGIC = b"LKPF"
_HEAD_CHECK_AT = 56
_ENTRY = struct.Struct("<32s28sII4xQ")
_PLACE = struct.Struct("<IIIII28sQ")
_SEED = struct.Struct("<16sIII")
_U64 = struct.Struct("<Q")


def padded(length: int) -> int:
    """Bytes rounded up to whole blocks."""
    return (length + BLOCK - 1) & -BLOCK


def frame_header_bytes(pages: int) -> int:
    """Bytes of the header of a frame of so many pages."""
    return padded(_HEAD.size + pages * _ENTRY.size)


def payload_check(key: bytes, spans: Sequence[memoryview]) -> int:
    """The check of a page under its 32-byte index key; ``spans`` are its bytes in order. Releases the GIL while it sums."""
    seed = xxh3_64_intdigest(key)
    if len(spans) == 1:
        return xxh3_64_intdigest(spans[0], seed)
    digest = xxh3_64(seed=seed)
    for span in spans:
        digest.update(span)
    return digest.intdigest()


PLACE_COLUMNS = np.dtype(
    {
        "names": ["segment", "generation", "block", "length", "kind", "parent", "check"],
        "formats": ["<u4", "<u4", "<u4", "<u4", "<u4", "V28", "<u8"],
        "offsets": [0, 4, 8, 12, 16, 20, 48],
    }
)
"""Index values side by side, as columns."""

MINUTES_FROM_S = 1_577_836_800
"""Seconds from 1970 to 2020, where minutes are counted from."""
MAX_MINUTE = (1 << 24) - 1


def minute_of(now_s: float) -> int:
    """The minute of a wall time (seconds since 1970)."""
    return max(int(now_s - MINUTES_FROM_S) // 60, 0)


class Place(NamedTuple):
    """Where a page is and how to know it: the index value."""

    segment: int
    generation: int
    block: int
    length: int
    kind: int
    parent: bytes
    check: int

    @property
    def codec(self) -> int:
        """How the payload becomes the page."""
        return self.kind & 0xFF

    @property
    def expiry(self) -> int:
        """The minute (:func:`minute_of`) from which on the page does not exist; 0: never."""
        return self.kind >> 8

    @property
    def offset(self) -> int:
        """Bytes from the start of the segment file."""
        return self.block * BLOCK

    @property
    def disk_bytes(self) -> int:
        """Bytes it takes in the segment, padding included."""
        return padded(self.length)

    def pack(self) -> bytes:
        """The 56 bytes stored in the index."""
        return _PLACE.pack(*self)

    @classmethod
    def unpack(cls, value: bytes) -> Place | None:
        """The place in an index value, or None if it has the wrong length (the index itself is checksummed)."""
        return cls._make(_PLACE.unpack(value)) if len(value) == _PLACE.size else None


def has_ended(value: bytes, minute: int) -> bool:
    """Whether the page of this index value does not exist any more."""
    end = int.from_bytes(value[17:20], "little")
    return 0 < end <= minute


class SegmentHeader(NamedTuple):
    """Block 0 of a segment."""

    number: int
    generation: int
    segment_bytes: int
    store_id: bytes


def pack_segment_header(header: SegmentHeader) -> bytes:
    """One block."""
    h = header
    raw = bytearray(BLOCK)
    _SEGMENT.pack_into(raw, 0, _SEGMENT_MAGIC, SEGMENT_VERSION, h.number, h.generation, 0, h.segment_bytes, h.store_id, 0)
    _U64.pack_into(raw, _SEGMENT_CHECK_AT, xxh3_64_intdigest(raw))
    return bytes(raw)


def unpack_segment_header(raw: bytes, path: str) -> SegmentHeader:
    """Parse block 0. CorruptionError if it is damaged, FormatTooNewError if a newer library wrote it."""
    if len(raw) < BLOCK:
        raise CorruptionError(path, len(raw), f"segment header cut short: {len(raw)} of {BLOCK} bytes")
    magic, version, number, generation, _, segment_bytes, store_id, check = _SEGMENT.unpack_from(raw)
    if header_check(raw[:BLOCK], _SEGMENT_CHECK_AT) != check or magic != _SEGMENT_MAGIC:
        raise CorruptionError(path, 0, "segment header fails its checksum")
    if version > SEGMENT_VERSION:
        raise FormatTooNewError(path, version, SEGMENT_VERSION)
    return SegmentHeader(number, generation, segment_bytes, store_id)


class FrameEntry(NamedTuple):
    """One page of a frame, as its header describes it."""

    key: bytes
    parent: bytes
    length: int
    kind: int
    check: int

    @property
    def codec(self) -> int:
        """How the payload becomes the page."""
        return self.kind & 0xFF


PageLine: TypeAlias = tuple[bytes, bytes, int, int, int, Sequence[memoryview]]
"""The fields of a :class:`FrameEntry` and the spans of the page."""


class FrameHead(NamedTuple):
    """The fixed part of a frame header (64 bytes): enough to know how much to read, not yet verified."""

    header_bytes: int
    pages: int
    generation: int
    segment: int
    block: int
    frame_bytes: int
    sequence: int


def pack_frame(store_id: bytes, head: FrameHead, pages: Iterable[PageLine], into: memoryview) -> list[bytes]:
    """Write the header of a frame into ``into`` (exactly ``head.header_bytes`` long); the index values of its pages.

    One loop makes both, as this is what a put spends most of its time on beside the bytes themselves.
    """
    assert len(into) == head.header_bytes == frame_header_bytes(head.pages)
    into[:] = bytes(len(into))
    _HEAD.pack_into(into, 0, _FRAME_MAGIC, *head, 0)
    segment, generation = head.segment, head.generation
    block = head.block + head.header_bytes // BLOCK
    at = _HEAD.size
    values: list[bytes] = []
    entry, place = _ENTRY.pack_into, _PLACE.pack
    for key, parent, length, kind, check, _ in pages:
        entry(into, at, key, parent, length, kind, check)
        values.append(place(segment, generation, block, length, kind, parent, check))
        at += _ENTRY.size
        block += (length + BLOCK - 1) // BLOCK
    assert len(values) == head.pages
    assert (block - head.block) * BLOCK == head.frame_bytes
    _U64.pack_into(into, _HEAD_CHECK_AT, xxh3_64_intdigest(into, _frame_seed(store_id, head)))
    return values


def unpack_head(raw: bytes, segment: int, generation: int, block: int) -> FrameHead | None:
    """The fixed part of a frame header if ``raw`` (at least 64 bytes) has the look of one, else None. Not verified.

    The look: the magic, or the three numbers that belong here. One damaged byte spoils one of the two, never both.
    """
    if len(raw) < _HEAD.size:
        return None
    magic, *numbers, _ = _HEAD.unpack_from(raw)
    head = FrameHead(*numbers)
    here = (head.generation, head.segment, head.block) == (generation, segment, block)
    return head if magic == _FRAME_MAGIC or here else None


def unpack_frame(raw: bytes, head: FrameHead, store_id: bytes, segment: int, block: int) -> list[FrameEntry] | None:
    """The entries of a complete header, or None if it is damaged or not of this place. Whose generation: see ``head``."""
    if (head.segment, head.block) != (segment, block) or raw[:4] != _FRAME_MAGIC:
        return None
    if len(raw) != head.header_bytes or head.header_bytes != frame_header_bytes(head.pages):
        return None
    (check,) = _U64.unpack_from(raw, _HEAD_CHECK_AT)
    if header_check(raw, _HEAD_CHECK_AT, _frame_seed(store_id, head)) != check:
        return None
    stop = _HEAD.size + head.pages * _ENTRY.size
    return [FrameEntry(*e) for e in _ENTRY.iter_unpack(raw[_HEAD.size : stop])]


def _frame_seed(store_id: bytes, head: FrameHead) -> int:
    """What binds a frame to its store, place and generation."""
    return xxh3_64_intdigest(_SEED.pack(store_id, head.segment, head.generation, head.block))


def header_check(raw: bytes, at: int, seed: int = 0) -> int:
    """xxh3-64 of a header with its checksum field (8 bytes at ``at``) taken as zero."""
    digest = xxh3_64(raw[:at], seed=seed)
    digest.update(bytes(8))
    digest.update(raw[at + 8 :])
    return digest.intdigest()
