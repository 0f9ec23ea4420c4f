"""Writing frames: header, payloads and padding of one frame in one gathered write.

Three ways, by what memory and file system allow: the caller's memory as it is (direct, aligned), through the bounce buffer
(direct, unaligned: NumPy copies, which release the GIL), or as it is through the page cache (no O_DIRECT). A frame larger
than the bounce buffer goes out in several writes; it becomes real only when the index names its pages, so a torn one is
never seen.

Pages are checksummed before, not while they are written: handing the write to a second thread and summing meanwhile (the
header then follows in a write of its own) was 5-12 % slower at 2, 8 and 32 MiB a batch on two cores.

One writer at a time: the caller holds the commit lock. When a call returns, nothing refers to the caller's memory.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lsmkv.env.fs import File, write_all
from lsmkv_tensor.errors import io_failed
from lsmkv_tensor.vlog.bounce import AlignedBuffer, may_be_direct
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.layout import (
    BLOCK,
    FrameHead,
    SegmentHeader,
    frame_header_bytes,
    pack_frame,
    pack_segment_header,
    padded,
)
from lsmkv_tensor.vlog.segment import Segment

__all__ = ["BOUNCE_BYTES", "FrameWriter", "Page", "frame_bytes"]

BOUNCE_BYTES = (8 << 20) + (64 << 10)
"""One batch of 32 pages of 256 KiB and its header."""


class Page(NamedTuple):
    """A page on its way in: what its frame says about it (see FrameEntry), and its bytes in order."""

    key: bytes
    parent: bytes
    length: int
    kind: int
    check: int
    spans: Sequence[memoryview]


def frame_bytes(lengths: Sequence[int]) -> int:
    """Bytes of a frame of pages of these lengths."""
    return frame_header_bytes(len(lengths)) + sum(map(padded, lengths))


class FrameWriter:
    """Writes the segments of one store."""

    def __init__(self, files: SegmentFiles, store_id: bytes) -> None:
        self._files = files
        self._store_id = store_id
        self._bounce: AlignedBuffer | None = None
        self._headers: AlignedBuffer | None = None
        self.bytes_written = 0
        """Bytes given to the file system, headers and padding included."""
        self.bounced_bytes = 0
        """Bytes of pages that were copied through the bounce buffer."""

    def start(self, segment: Segment) -> None:
        """Write the header of a segment that begins a new generation. IOFailedError. I/O: one write."""
        header = SegmentHeader(segment.number, segment.generation, self._files.segment_bytes, self._store_id)
        self._write(segment, [memoryview(pack_segment_header(header))], 0)

    def append(self, segment: Segment, pages: Sequence[Page]) -> tuple[list[bytes], int]:
        """Write one frame at the tail (the caller made sure it fits) and advance the tail.

        Returns the index values of the pages and the bytes they take. IOFailedError: the tail is unchanged.

        I/O: one gathered write, more only above IOV_MAX buffers or the bounce buffer.
        """
        head_bytes = frame_header_bytes(len(pages))
        total = frame_bytes([page.length for page in pages])
        first = segment.tail // BLOCK
        assert segment.tail + total <= self._files.segment_bytes
        head = FrameHead(head_bytes, len(pages), segment.generation, segment.number, first, total, segment.frames)
        header = self._header_memory(head_bytes)
        values = pack_frame(self._store_id, head, pages, header)
        spans: list[memoryview] = [header]
        for page in pages:
            spans += page.spans
            if page.length % BLOCK:
                spans.append(_ZEROS[page.length % BLOCK :])
        self._write(segment, spans, segment.tail)
        segment.tail += total
        segment.frames += 1
        return values, total - head_bytes

    def seal(self, segment: Segment) -> None:
        """Write the end mark (there is always room for one). IOFailedError. I/O: one write."""
        head = FrameHead(BLOCK, 0, segment.generation, segment.number, segment.tail // BLOCK, BLOCK, segment.frames)
        mark = self._header_memory(BLOCK)
        pack_frame(self._store_id, head, [], mark)
        self._write(segment, [mark], segment.tail)

    def _header_memory(self, size: int) -> memoryview:
        """Aligned memory for one header; the next call may give the same."""
        if self._headers is None or self._headers.size < size:
            self._headers = AlignedBuffer(size)
        return self._headers.view[:size]

    def _write(self, segment: Segment, spans: list[memoryview], offset: int) -> None:
        """Write the spans, together whole blocks; directly from where they are if the kernel takes them so."""
        path = self._files.path(segment.number)
        segment.dirty = True
        try:
            file = self._files.writer(segment.number)
            if file.direct and not may_be_direct(spans):
                self._write_bounced(file, spans, offset)
                return
            try:
                self._flush(file, spans, offset)
            except OSError as error:
                if error.errno != errno.EINVAL or not file.direct:
                    raise
                self._write_bounced(file, spans, offset)
        except OSError as error:
            op = "writing a segment"
            raise io_failed(op, path, error) from error
        finally:
            segment.dirty = True  # again: a sync that began before the write found it dirty, and calls it clean

    def _write_bounced(self, file: File, spans: Sequence[memoryview], offset: int) -> None:
        """Copy the spans end to end through the bounce buffer."""
        if self._bounce is None:
            self._bounce = AlignedBuffer(BOUNCE_BYTES)
        size, array, view = self._bounce.size, self._bounce.array, self._bounce.view
        at = 0
        for span in spans:
            source = np.frombuffer(span, np.uint8) if len(span) else _NOTHING
            done = 0
            while done < len(source):
                n = min(size - at, len(source) - done)
                array[at : at + n] = source[done : done + n]
                at += n
                done += n
                if at == size:
                    offset += self._flush(file, [view], offset)
                    at = 0
            self.bounced_bytes += len(source)
        if at:
            self._flush(file, [view[:at]], offset)

    def _flush(self, file: File, spans: Sequence[memoryview], offset: int) -> int:
        """Write all of the spans and count the bytes."""
        done = write_all(file, spans, offset)
        self.bytes_written += done
        return done


_ZEROS = memoryview(bytes(BLOCK))
_NOTHING = np.empty(0, np.uint8)
