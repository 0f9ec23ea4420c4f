"""The STORE file: what this directory is, and what was decided when it was made.

One block, little endian, written once, and again when the format of the store is raised (to STORE.tmp, synced, renamed)::

     0 magic "LSMKVPGS" 8 | 8 format version u32 | 12 zero 4 | 16 segment_bytes u64 | 24 store id 16 | 40 checksum u64 | zeros

The checksum is xxh3-64 of the block with its field zero.
"""

from __future__ import annotations

import struct
from posixpath import join
from typing import NamedTuple

from lsmkv.env.fs import FileSystem, write_all
from lsmkv_tensor.errors import CorruptionError, FormatTooNewError, io_failed
from lsmkv_tensor.vlog.bounce import AlignedBuffer
from lsmkv_tensor.vlog.layout import BLOCK, MAX_SEGMENT_BYTES, header_check

__all__ = ["STORE_VERSION", "Stamp", "direct_io_works", "read_stamp", "upgraded", "write_stamp"]

STORE_VERSION = 2
"""1: payloads are pages. 2: payloads may be encoded; they may also end (a library that knows only 1 would deliver them)."""
_NAME = "STORE"
_STAMP = struct.Struct("<8sI4xQ16sQ")
_CHECK_AT = 40
_MAGIC = b"LSMKVPGS"


class Stamp(NamedTuple):
    """Decided at creation, for good."""

    segment_bytes: int
    store_id: bytes
    version: int = STORE_VERSION


def read_stamp(fs: FileSystem, directory: str) -> Stamp | None:
    """The stamp of a store, None if the directory has none. CorruptionError, FormatTooNewError, IOFailedError. I/O: one read."""
    path = join(directory, _NAME)
    if not fs.exists(path):
        return None
    try:
        raw = fs.open(path).pread(BLOCK, 0)
    except OSError as error:
        op = "reading the store's stamp"
        raise io_failed(op, path, error) from error
    if len(raw) != BLOCK:
        raise CorruptionError(path, len(raw), f"stamp has {len(raw)} of {BLOCK} bytes")
    magic, version, segment_bytes, store_id, check = _STAMP.unpack_from(raw)
    if magic != _MAGIC or check != header_check(raw, _CHECK_AT):
        raise CorruptionError(path, 0, "stamp fails its checksum")
    if version > STORE_VERSION:
        raise FormatTooNewError(path, version, STORE_VERSION)
    if segment_bytes % BLOCK or not 4 * BLOCK <= segment_bytes <= MAX_SEGMENT_BYTES:
        raise CorruptionError(path, 16, f"segments of {segment_bytes} bytes")
    return Stamp(segment_bytes, store_id, version)


def write_stamp(fs: FileSystem, directory: str, stamp: Stamp) -> None:
    """Stamp a store, durably. IOFailedError. I/O: one file, synced; one directory sync."""
    raw = bytearray(BLOCK)
    _STAMP.pack_into(raw, 0, _MAGIC, stamp.version, stamp.segment_bytes, stamp.store_id, 0)
    check = header_check(bytes(raw), _CHECK_AT)
    _STAMP.pack_into(raw, 0, _MAGIC, stamp.version, stamp.segment_bytes, stamp.store_id, check)
    path = join(directory, _NAME)
    temporary = path + ".tmp"
    try:
        if fs.exists(temporary):
            fs.unlink(temporary)
        file = fs.open(temporary, "create")
        write_all(file, [raw], 0)
        file.sync()
        file.close()
        fs.rename(temporary, path)
        fs.sync_dir(directory)
    except OSError as error:
        op = "writing the store's stamp"
        raise io_failed(op, path, error) from error


def upgraded(fs: FileSystem, directory: str, stamp: Stamp) -> Stamp:
    """The stamp of a store that is about to be written to, raised to this version. Errors, I/O: as :func:`write_stamp`, once."""
    if stamp.version < STORE_VERSION:
        stamp = stamp._replace(version=STORE_VERSION)
        write_stamp(fs, directory, stamp)
    return stamp


def direct_io_works(fs: FileSystem, directory: str) -> bool:
    """Whether this file system accepts O_DIRECT, tried by reading the stamp so. I/O: one read."""
    try:
        file = fs.open(join(directory, _NAME), "r", direct=True)
        return file.preadv([AlignedBuffer(BLOCK).view], 0) == BLOCK
    except OSError:
        return False
