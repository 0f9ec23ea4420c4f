"""Checksummed frames: how the log and the manifest lie on disk, and how to tell a torn tail from damage.

A framed file is one file header and then frames, back to back::

    file header (64 bytes, little-endian)
      magic 8s | version u32 | flags u32 | number u64 | previous number u64 | previous length u64 | 16 zero bytes
      | xxh3_64 of the 56 bytes before u64
    frame header (48 bytes)                                          followed by ``length`` bytes of payload
      magic 4s | kind u8 | code a u8 | code b u8 | 0 u8 | entries u32 | length u32 | stamp u64 | durable u64
      | xxh3_64 of the payload u64 | xxh3_64 of the 40 bytes before u64

Both sums of a frame are seeded by the file's number and the frame's offset, so a frame copied from another file or place
is not one. ``durable`` is how much of this file was known to be on disk when the frame was written. That mark is what makes
damage and a crash different things: bytes below the highest mark of any intact frame header were synced, so if they do not
check out they are corrupt; bytes beyond it were never acknowledged as durable and may be cut. Marks are looked for beyond
the damage too, by searching for the next frame's magic; the header's own sum refuses false hits in constant time.

The file header keeps this layout in every version to come, so that its version can always be believed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest

from lsmkv.env.fs import Buffer, FileSystem, read_exact
from lsmkv.errors import CorruptionError, FormatTooNewError, io_failed

__all__ = [
    "FILE_HEADER_BYTES",
    "FRAME_HEADER_BYTES",
    "FRAME_MAGIC",
    "MAX_PAYLOAD_BYTES",
    "FileHeader",
    "Frame",
    "Scan",
    "frame_header",
    "pack_file_header",
    "parse_file_header",
    "read_whole",
    "scan",
]

_FILE = struct.Struct("<8sIIQQQ16x")
_FRAME = struct.Struct("<4sBBBBIIQQQ")
_SUM = struct.Struct("<Q")

FILE_HEADER_BYTES = _FILE.size + 8
FRAME_HEADER_BYTES = _FRAME.size + 8
MAX_PAYLOAD_BYTES = (1 << 32) - 1
FRAME_MAGIC = b"\xf5Lf\n"
"""What a frame header begins with."""

_HAS_PREVIOUS = 1
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class FileHeader(NamedTuple):
    """What a framed file says of itself."""

    number: int
    previous: tuple[int, int] | None
    """(number, length in bytes) of the file whose contents come before."""


class Frame(NamedTuple):
    """One intact frame."""

    offset: int
    end: int
    """Offset of the byte after the payload."""
    kind: int
    codes: tuple[int, int]
    entries: int
    stamp: int
    durable: int
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Scan:
    """The frames of a file up to the first byte that does not check out."""

    frames: list[Frame]
    end: int
    """Offset of the byte after the last intact frame."""
    durable: int
    """Highest mark of all intact frame headers, those beyond the damage included; 0 if none was ever synced."""
    why: str | None
    """What is wrong at ``end``; None if the file ends there."""
    overhang: bool
    """An intact header at ``end`` announces a payload that reaches beyond the end of the file."""


def pack_file_header(magic: bytes, version: int, number: int, previous: tuple[int, int] | None) -> bytes:
    """The 64 bytes a framed file begins with."""
    named = previous if previous is not None else (0, 0)
    head = _FILE.pack(magic, version, _HAS_PREVIOUS if previous is not None else 0, number, *named)
    return head + _SUM.pack(xxh3_64_intdigest(head))


def parse_file_header(data: bytes, path: str, magic: bytes, known: int) -> FileHeader:
    """Check and read a file header.

    Raises CorruptionError (too short, wrong magic or checksum), FormatTooNewError (version above ``known``).
    """
    if len(data) < FILE_HEADER_BYTES:
        raise CorruptionError(path, len(data), f"the file ends inside its {FILE_HEADER_BYTES}-byte header")
    head = data[: _FILE.size]
    found, version, flags, number, prev_number, prev_length = _FILE.unpack(head)
    if _SUM.unpack_from(data, _FILE.size)[0] != xxh3_64_intdigest(head):
        raise CorruptionError(path, 0, "checksum of the file header does not match")
    if found != magic:
        raise CorruptionError(path, 0, f"begins with {found!r}, not with {magic!r}: not a file of this kind")
    if version > known:
        raise FormatTooNewError(path, version, known)
    return FileHeader(number, (prev_number, prev_length) if flags & _HAS_PREVIOUS else None)


def frame_header(
    number: int,
    offset: int,
    kind: int,
    codes: tuple[int, int],
    entries: int,
    stamp: int,
    durable: int,
    parts: Sequence[Buffer],
    length: int,
) -> bytes:
    """The header of a frame at ``offset`` of file ``number`` whose payload is ``parts`` (``length`` bytes in all)."""
    seed = (number * _GOLDEN + offset) & _MASK
    if len(parts) == 1:
        checksum = xxh3_64_intdigest(parts[0], seed)
    else:
        state = xxh3_64(seed=seed)
        for part in parts:
            state.update(part)
        checksum = state.intdigest()
    head = _FRAME.pack(FRAME_MAGIC, kind, codes[0], codes[1], 0, entries, length, stamp, durable, checksum)
    return head + _SUM.pack(xxh3_64_intdigest(head, seed))


def read_whole(fs: FileSystem, path: str) -> bytes:
    """Everything in a file. Raises IOFailedError. I/O: one read."""
    try:
        file = fs.open(path)
        try:
            return read_exact(file, file.size(), 0)
        finally:
            file.close()
    except EOFError as error:
        raise CorruptionError(path, -1, f"became shorter while it was read: {error}") from error
    except OSError as error:
        raise io_failed("read", path, error) from error


def scan(data: bytes, number: int, origin: int = 0) -> Scan:
    """The frames of file ``number``, whose contents (header included) are ``data``.

    With an ``origin``, ``data`` is what the file holds from that offset on, where a frame begins. Offsets in the result are
    those of the file.
    """
    frames: list[Frame] = []
    at, durable, seed = 0 if origin else FILE_HEADER_BYTES, 0, number * _GOLDEN + origin
    view = memoryview(data)
    while at < len(data):
        header = _header_at(data, seed, at)
        if header is None:
            durable = max(durable, _highest_mark(data, seed, at + 1))
            return Scan(frames, origin + at, durable, _describe(data, at), overhang=False)
        kind, a, b, count, length, stamp, mark, checksum = header
        durable = max(durable, mark)
        start, end = at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + length
        if end > len(data):
            why = f"a frame of {length} payload bytes, of which {len(data) - start} are there"
            return Scan(frames, origin + at, durable, why, overhang=True)
        if xxh3_64_intdigest(view[start:end], (seed + at) & _MASK) != checksum:
            durable = max(durable, _highest_mark(data, seed, end))
            return Scan(frames, origin + at, durable, "checksum of a frame's payload does not match", overhang=False)
        frames.append(Frame(origin + at, origin + end, kind, (a, b), count, stamp, mark, view[start:end]))
        at = end
    return Scan(frames, origin + at, durable, None, overhang=False)


def _header_at(data: bytes, seed: int, at: int) -> tuple[int, int, int, int, int, int, int, int] | None:
    """(kind, code a, code b, count, length, stamp, durable, payload sum) if an intact frame header lies at ``at``.

    ``seed`` is that of a frame at the beginning of ``data``.
    """
    if len(data) - at < FRAME_HEADER_BYTES or data[at : at + 4] != FRAME_MAGIC:
        return None
    head = data[at : at + _FRAME.size]
    if _SUM.unpack_from(data, at + _FRAME.size)[0] != xxh3_64_intdigest(head, (seed + at) & _MASK):
        return None
    _, kind, a, b, _, count, length, stamp, durable, checksum = _FRAME.unpack(head)
    return kind, a, b, count, length, stamp, durable, checksum


def _highest_mark(data: bytes, seed: int, start: int) -> int:
    """The highest durable mark of the intact frame headers from ``start`` on; time linear in the bytes searched."""
    highest, at = 0, data.find(FRAME_MAGIC, start)
    while at >= 0:
        header = _header_at(data, seed, at)
        if header is not None:
            highest = max(highest, header[6])
        at = data.find(FRAME_MAGIC, at + 4)
    return highest


def _describe(data: bytes, at: int) -> str:
    """Why the bytes at ``at`` are no frame."""
    left = len(data) - at
    if data.count(0, at) == left:
        return f"{left} zero bytes that were never written"
    if left < FRAME_HEADER_BYTES:
        return f"{left} bytes, less than a frame header"
    return "no intact frame header"
