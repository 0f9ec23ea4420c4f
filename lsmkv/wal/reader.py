"""Reading a log back: its batches up to the end or to a torn tail, and damage told apart from it.

What was known durable when a later frame was written must check out, or the log is corrupt. Anything beyond the highest such
mark may be missing or damaged after a crash: it is cut off and reported. The rule and its reasons are in
:mod:`lsmkv.base.frames`.
"""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import basename

from lsmkv.base.frames import FILE_HEADER_BYTES, FileHeader, Scan, parse_file_header, read_whole, scan
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError
from lsmkv.wal.batch import WalBatch, decode_batch
from lsmkv.wal.writer import MAGIC, VERSION

__all__ = ["WalContents", "decode_batches", "header_of", "number_of", "read_wal"]


@dataclass(frozen=True, slots=True)
class WalContents:
    """One log, as far as it can be believed."""

    number: int
    previous: tuple[int, int] | None
    """(number, length) of the log before; None if this was the first after an opening, or if the header was lost."""
    batches: list[WalBatch]
    """In commit order; sequence numbers are contiguous."""
    valid_length: int
    """Bytes of header and intact frames; 0 if the header was lost."""
    dropped_bytes: int
    dropped_why: str | None
    """What is wrong with the bytes after ``valid_length``; None if there are none."""
    durable: int
    """Bytes that were known to be on disk while the log was written; 0 if it was never synced, or not noted."""

    @property
    def first_seq(self) -> int | None:
        """Sequence number of its first entry; None: it has none."""
        return self.batches[0].first_seq if self.batches else None

    @property
    def last_seq(self) -> int | None:
        """Sequence number of its last entry; None: it has none."""
        return self.batches[-1].first_seq + len(self.batches[-1].keys) - 1 if self.batches else None


def read_wal(fs: FileSystem, path: str) -> WalContents:
    """Read the log at ``path`` (named ``{number}.wal``).

    Raises CorruptionError for damage to anything known durable, or to what no crash can damage (order of sequence
    numbers); FormatTooNewError; IOFailedError.

    I/O: reads the file once; the memory for it and for the entries copied out of it.
    """
    number = number_of(path)
    data = read_whole(fs, path)
    found = scan(data, number)
    header = header_of(data[:FILE_HEADER_BYTES], path, number, found.durable)
    if header is None:
        why = f"its header was never written out ({len(data)} bytes)"
        return WalContents(number, None, [], 0, len(data), why, 0)
    batches = decode_batches(found, path, None)
    return WalContents(number, header.previous, batches, found.end, len(data) - found.end, found.why, found.durable)


def decode_batches(found: Scan, path: str, after: int | None) -> list[WalBatch]:
    """The batches of the intact frames; ``after`` is the sequence number of the entry before them, None: nobody knows.

    Raises CorruptionError if something known durable is damaged, or if sequence numbers do not follow one another.
    """
    if found.durable > found.end:
        raise CorruptionError(path, found.end, f"{found.why}; everything up to byte {found.durable} was durable")
    batches: list[WalBatch] = []
    for frame in found.frames:
        batch = decode_batch(frame, path)
        if after is not None and batch.first_seq != after + 1:
            what = f"a batch begins at sequence number {batch.first_seq}, the one before ends at {after}"
            raise CorruptionError(path, frame.offset, what)
        after = batch.first_seq + len(batch.keys) - 1
        batches.append(batch)
    return batches


def number_of(path: str) -> int:
    """The number in a file name; CorruptionError if it is none."""
    stem = basename(path).partition(".")[0]
    if not stem.isdecimal():
        raise CorruptionError(path, -1, "not the name of a log, which is a number")
    return int(stem)


def header_of(data: bytes, path: str, number: int, durable: int) -> FileHeader | None:
    """The file header in the first bytes of a log; None if it was lost and nothing says that it was ever durable."""
    try:
        header = parse_file_header(data, path, MAGIC, VERSION)
    except CorruptionError:
        if durable:
            raise
        return None
    if header.number != number:
        raise CorruptionError(path, 0, f"calls itself log {header.number}: it was renamed or copied")
    return header
