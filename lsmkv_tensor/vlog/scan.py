"""Reading a segment by itself, without the index: for verify, dump, rebuilding, and tests.

A scan goes from frame to frame. Where a header is damaged it reports so and looks at every following block for the next
frame that proves itself (checksum seeded with place and generation), so one damaged header hides one frame only. It ends at
the end mark of a sealed segment, or where nothing of this generation follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lsmkv.env.fs import File, FileSystem
from lsmkv_tensor.errors import CorruptionError, io_failed
from lsmkv_tensor.vlog.direct import Readable
from lsmkv_tensor.vlog.layout import (
    BLOCK,
    FrameEntry,
    FrameHead,
    SegmentHeader,
    padded,
    payload_check,
    unpack_frame,
    unpack_head,
    unpack_segment_header,
)

__all__ = ["Frame", "Problem", "SegmentScan", "frames_of", "scan_segment"]

_SEARCH_BYTES = 1 << 20


class Problem(NamedTuple):
    """Damage: where (bytes from the start of the file) and what."""

    offset: int
    what: str


class Frame(NamedTuple):
    """A frame whose header is sound."""

    head: FrameHead
    entries: list[FrameEntry]

    def payloads(self) -> Iterator[tuple[FrameEntry, int]]:
        """Each page with the offset of its payload in bytes."""
        at = self.head.block * BLOCK + self.head.header_bytes
        for entry in self.entries:
            yield entry, at
            at += padded(entry.length)


@dataclass(frozen=True, slots=True)
class SegmentScan:
    """What a segment holds, judged by its own bytes."""

    header: SegmentHeader | None
    frames: tuple[Frame, ...]
    sealed: bool
    """An end mark was found: frames missing before it are reported, not taken for a torn tail."""
    problems: tuple[Problem, ...]


def scan_segment(fs: FileSystem, path: str, *, payloads: bool = True, expected: SegmentHeader | None = None) -> SegmentScan:
    """Every frame of the segment file ``path`` and everything wrong with it.

    ``payloads``: also read and check the pages. ``expected``: believed if the file's own header is damaged (without it
    nothing can then be verified). Raises FormatTooNewError and IOFailedError; damage is reported, not raised.

    I/O: one read per frame header; with ``payloads`` the whole used part, one page at a time.
    """
    problems: list[Problem] = []
    try:
        file = fs.open(path)
        size = file.size()
        header, complaint = _header(file, path)
        if complaint is not None:
            problems.append(complaint)
        known = header or expected
        frames: list[Frame] = []
        sealed = False
        if known is not None:
            if size < known.segment_bytes:
                problems.append(Problem(size, f"file cut short: {size} of {known.segment_bytes} bytes"))
            for item in frames_of(file, known, BLOCK, min(size, known.segment_bytes)):
                if isinstance(item, Problem):
                    problems.append(item)
                elif item.entries:
                    frames.append(item)
                else:
                    sealed = True
        if payloads:
            problems += _check_payloads(file, frames)
    except OSError as error:
        op = "scanning a segment"
        raise io_failed(op, path, error) from error
    return SegmentScan(header, tuple(frames), sealed, tuple(problems))


def frames_of(file: Readable, header: SegmentHeader, start: int, stop: int) -> Iterator[Frame | Problem]:
    """The frames between two offsets (bytes), the end mark as a frame without entries, and the damage between them.

    OSError. I/O: one read per frame header.
    """
    at = start
    while at + BLOCK <= stop:
        found = _frame_at(file, header, at, stop)
        if found is None:
            return
        if isinstance(found, Problem):
            yield found
            at = _next_frame(file, header, at + BLOCK, stop)
            continue
        yield found
        if not found.entries:
            return
        at += found.head.frame_bytes


def _header(file: File, path: str) -> tuple[SegmentHeader | None, Problem | None]:
    """The segment header, or what is wrong with it."""
    try:
        return unpack_segment_header(file.pread(BLOCK, 0), path), None
    except CorruptionError as error:
        return None, Problem(error.offset, error.what)


def _frame_at(file: Readable, header: SegmentHeader, at: int, stop: int) -> Frame | Problem | None:
    """The frame at an offset; None where there is none of this generation."""
    block = at // BLOCK
    raw = file.pread(BLOCK, at)
    head = unpack_head(raw, header.number, header.generation, block)
    if head is None:
        return None
    if BLOCK < head.header_bytes <= stop - at:
        raw += file.pread(head.header_bytes - BLOCK, at + BLOCK)
    entries = unpack_frame(raw, head, header.store_id, header.number, block)
    if entries is None:
        return Problem(at, "frame header fails its checksum")
    if head.generation != header.generation:
        return None  # sound, and left behind by an earlier generation
    if at + head.frame_bytes > stop:
        return Problem(at, f"frame of {head.frame_bytes} bytes cut short at {stop}")
    return Frame(head, entries)


def _next_frame(file: Readable, header: SegmentHeader, at: int, stop: int) -> int:
    """Offset of the next sound frame of this generation at or after ``at``; ``stop`` if there is none."""
    while at + BLOCK <= stop:
        chunk = file.pread(min(_SEARCH_BYTES, stop - at), at)
        if len(chunk) < BLOCK:
            return stop
        for skip in range(0, len(chunk) - BLOCK + 1, BLOCK):
            look = unpack_head(chunk[skip : skip + 64], header.number, header.generation, (at + skip) // BLOCK)
            if look is not None and isinstance(_frame_at(file, header, at + skip, stop), Frame):
                return at + skip
        at += len(chunk) // BLOCK * BLOCK
    return stop


def _check_payloads(file: File, frames: list[Frame]) -> list[Problem]:
    """Read every page of the frames; those that fail their check."""
    problems: list[Problem] = []
    for frame in frames:
        for entry, at in frame.payloads():
            data = file.pread(entry.length, at)
            if len(data) < entry.length or payload_check(entry.key, [memoryview(data)]) != entry.check:
                problems.append(Problem(at, f"page {entry.key.hex()} fails its checksum"))
    return problems
