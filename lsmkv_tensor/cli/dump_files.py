"""The records of a segment or stamp file as dictionaries; see :mod:`lsmkv.observe.dump` for what all dumps promise."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname

from lsmkv.env.fs import FileSystem
from lsmkv_tensor.errors import CorruptionError, io_failed
from lsmkv_tensor.vlog.layout import BLOCK, unpack_segment_header
from lsmkv_tensor.vlog.scan import Frame, frames_of
from lsmkv_tensor.vlog.stamp import read_stamp

__all__ = ["dump_segment", "dump_stamp", "is_segment"]

Record = dict[str, object]
SEGMENT_MAGIC = b"LSMKVSEG"


def is_segment(fs: FileSystem, path: str) -> bool:
    """Whether this is a segment, by name or by its first bytes. I/O: one read."""
    if path.endswith(".seg"):
        return True
    try:
        return fs.open(path).pread(len(SEGMENT_MAGIC), 0) == SEGMENT_MAGIC
    except OSError as error:
        op = "dump"
        raise io_failed(op, path, error) from error


def dump_segment(fs: FileSystem, path: str) -> Iterator[Record]:
    """The header, then each frame of the current generation and the pages in it, without their bytes.

    Damaged frames are shown as such and passed over; at the end the first one is raised as CorruptionError. Also
    FormatTooNewError, IOFailedError. I/O: one read per frame header.
    """
    try:
        file = fs.open(path)
        header = unpack_segment_header(file.pread(BLOCK, 0), path)
        yield {"offset": 0, "record": "segment", **header._asdict()}
        damage: CorruptionError | None = None
        for item in frames_of(file, header, BLOCK, min(file.size(), header.segment_bytes)):
            if isinstance(item, Frame):
                yield from _frame(item)
            else:
                yield {"offset": item.offset, "record": "damage", "what": item.what}
                damage = damage or CorruptionError(path, item.offset, item.what)
    except OSError as error:
        op = "dump"
        raise io_failed(op, path, error) from error
    if damage is not None:
        raise damage


def _frame(frame: Frame) -> Iterator[Record]:
    """One frame and its pages."""
    at = frame.head.block * BLOCK
    if not frame.entries:
        yield {"offset": at, "record": "end", "sequence": frame.head.sequence}
        return
    yield {
        "offset": at,
        "record": "frame",
        "pages": frame.head.pages,
        "bytes": frame.head.frame_bytes,
        "sequence": frame.head.sequence,
    }
    for entry, payload_at in frame.payloads():
        yield {"offset": payload_at, "record": "page", **entry._asdict()}


def dump_stamp(fs: FileSystem, path: str) -> Iterator[Record]:
    """What was decided when the store was made. CorruptionError, FormatTooNewError, IOFailedError. I/O: one read."""
    stamp = read_stamp(fs, dirname(path) or ".")
    if stamp is not None:
        yield {"offset": 0, "record": "stamp", **stamp._asdict()}
