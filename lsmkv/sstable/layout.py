"""The bytes of a table file.

::

    +---------+---------+-----+-----------+--------+-------+------------+--------+
    | block 0 | block 1 | ... | block n-1 | filter | index | properties | footer |
    +---------+---------+-----+-----------+--------+-------+------------+--------+
      frame     frame           frame       frame    frame   frame        64 bytes

    frame       checksum u64 | stored u32 | raw u32 | stored bytes         (xxh3_64 of all that follows it)
    filter      bits u64 | probes u32 | 0 u32 | ceil(bits / 8) bytes       (bits = 0: no filter)
    index       blocks u32 | 0 u32 | frame offset u64 [blocks + 1] | fence length u32 [blocks] | fences
    properties  see PROPERTIES, then the smallest and the largest key
    footer      number u64 | filter at u64 | index at u64 | properties at u64 | file bytes u64 | version u32 | 0 u32 |
                checksum u64 (of the 48 bytes before) | magic

All integers are little-endian and there is no padding. ``raw`` is the size before compression; ``stored`` == ``raw``
means stored as it is, otherwise one zstd frame. A frame's checksum is seeded by file number and offset, so a frame that
is intact but in the wrong place or file does not pass. The inside of a block is drawn in :mod:`lsmkv.sstable.block`.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

from lsmkv.base.columns import I64, U64
from lsmkv.errors import CorruptionError, FormatTooNewError

__all__ = [
    "FILTER",
    "FOOTER_BYTES",
    "FORMAT_VERSION",
    "FRAME",
    "FRAME_BYTES",
    "INDEX",
    "MAGIC",
    "PROPERTIES",
    "SUMMED_AT",
    "Footer",
    "open_frame",
    "pack_footer",
    "parse_footer",
    "seal_frame",
    "seed_of",
    "seeds_of",
]

MAGIC = b"lsmkvSST"
FORMAT_VERSION = 1

FRAME = Struct("<QII")
FRAME_BYTES = FRAME.size
SUMMED_AT = 8
"""Where in a frame begins what its checksum is of."""
FILTER = Struct("<QII")
INDEX = Struct("<II")
PROPERTIES = Struct("<QQQQQqIIIIII")
"""entries, tombstones, min seq, max seq, raw bytes, key width (-1: mixed), block bytes aimed at, blocks,
codec (0 none, 1 zstd), smallest key length, largest key length, 0."""

_FOOTER = Struct("<QQQQQII")
_FOOTER_TAIL = Struct("<Q8s")
_SIZES = Struct("<II")
FOOTER_BYTES = _FOOTER.size + _FOOTER_TAIL.size

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def seed_of(number: int, offset: int) -> int:
    """Checksum seed of the frame at ``offset`` in table ``number``."""
    return number * _GOLDEN + offset & _MASK


def seeds_of(number: int, offsets: I64) -> U64:
    """:func:`seed_of` at each of these offsets."""
    return offsets.astype(np.uint64) + np.uint64(seed_of(number, 0))


def seal_frame(number: int, offset: int, stored: bytes, raw_bytes: int) -> bytes:
    """One frame, ready to be written at ``offset``."""
    body = _SIZES.pack(len(stored), raw_bytes) + stored
    return xxh3_64_intdigest(body, seed_of(number, offset)).to_bytes(8, "little") + body


def open_frame(file: str, number: int, offset: int, data: bytes | memoryview) -> tuple[memoryview, int]:
    """Check one whole frame read from ``offset``; its stored bytes and its raw size.

    Raises:
        CorruptionError: the frame is too short, its sizes disagree with its extent, or its checksum does not match.
    """
    if len(data) < FRAME_BYTES:
        raise CorruptionError(file, offset, f"frame of {len(data)} bytes is shorter than its header")
    checksum, stored, raw = FRAME.unpack_from(data)
    if xxh3_64_intdigest(memoryview(data)[8:], seed_of(number, offset)) != checksum:
        raise CorruptionError(file, offset, "checksum mismatch")
    if stored != len(data) - FRAME_BYTES or stored > raw:
        raise CorruptionError(file, offset, f"frame says {stored} of {raw} bytes, its extent holds {len(data) - FRAME_BYTES}")
    return memoryview(data)[FRAME_BYTES:], raw


class Footer(NamedTuple):
    """The fixed end of a table file: where everything else is."""

    number: int
    filter_at: int
    index_at: int
    properties_at: int
    file_bytes: int


def pack_footer(footer: Footer) -> bytes:
    """The last 64 bytes of the file."""
    body = _FOOTER.pack(*footer, FORMAT_VERSION, 0)
    return body + _FOOTER_TAIL.pack(xxh3_64_intdigest(body), MAGIC)


def parse_footer(file: str, file_bytes: int, data: bytes, number: int | None) -> Footer:
    """Check the last 64 bytes of a file of ``file_bytes`` bytes (``number`` None: any table).

    Raises:
        CorruptionError: not a table, damaged, cut, or another table than the named one.
        FormatTooNewError: intact, but of a later version.
    """
    at = file_bytes - len(data)
    if len(data) != FOOTER_BYTES:
        raise CorruptionError(file, max(at, 0), f"{file_bytes} bytes are too few for a table")
    checksum, magic = _FOOTER_TAIL.unpack_from(data, _FOOTER.size)
    if magic != MAGIC:
        raise CorruptionError(file, file_bytes - len(MAGIC), "not the end of a table (truncated, or another kind of file)")
    if xxh3_64_intdigest(data[: _FOOTER.size]) != checksum:
        raise CorruptionError(file, at, "footer checksum mismatch")
    *fields, version, zero = _FOOTER.unpack_from(data)
    if version > FORMAT_VERSION:
        raise FormatTooNewError(file, version, FORMAT_VERSION)
    footer = Footer(*fields)
    if number is not None and footer.number != number:
        raise CorruptionError(file, at, f"this is table {footer.number}, not {number}")
    if footer.file_bytes != file_bytes:
        raise CorruptionError(file, at, f"file has {file_bytes} bytes, its footer says {footer.file_bytes}")
    inside = 0 <= footer.filter_at < footer.index_at < footer.properties_at < at
    if not inside or zero or version < 1:
        raise CorruptionError(file, at, "footer fields make no sense")
    return footer
