"""Writing frames: header, payloads and padding of one frame in one gathered write.

Three ways, by what memory and file system allow: the caller's memory as it is (direct, aligned), through the bounce buffer
(direct, unaligned: NumPy copies, which release the GIL), or as it is through the page cache (no O_DIRECT). A frame larger
than the bounce buffer goes out in several writes; it becomes real only when the index names its pages, so a torn one is
never seen.

Pages are checksummed while they are written, where a second thread may help: the caller writes all but the first few, the helper
sums and makes the header, then header and first pages follow in one write. Against a bare log, 32 pages of 64 KiB, 256 KiB and
1 MiB: 0.98, 0.95 and 1.01 of its speed; summed before: 0.90, 0.89, 0.87; the helper writing while the caller sums: 0.92, 0.91,
0.94; a header in a write of its own: 0.85, 0.92, 0.95. A frame whose header never came is a torn one, as above.

One writer at a time: the caller holds the commit lock. When a call returns, nothing refers to the caller's memory.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from lsmkv.env.fs import IOV_MAX, File, write_all
from lsmkv_tensor.errors import io_failed
from lsmkv_tensor.vlog.bounce import AlignedBuffer, may_be_direct
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.layout import (
    BLOCK,
    FrameHead,
    PageLine,
    SegmentHeader,
    frame_header_bytes,
    pack_frame,
    pack_segment_header,
    padded,
    payload_check,
)
from lsmkv_tensor.vlog.segment import Segment

__all__ = ["BOUNCE_BYTES", "FrameWriter", "Page", "frame_bytes"]

BOUNCE_BYTES = (8 << 20) + (64 << 10)
"""One batch of 32 pages of 256 KiB and its header."""

APART_BYTES = 4 << 20
"""Bytes of pages from which on they are summed while they are written. With fewer a helper that has to wait for a processor costs
more than it saves: 32 pages of 64 KiB on a busy machine took 6.6 ms with it, 5.3 without."""
FIRST = 8
"""This part of the pages is written last, with the header."""

Beside: TypeAlias = Callable[[Sequence[Callable[[], None]]], object]
"""Runs work side by side, the first of it here, and returns when all of it is done; raises the first error."""


class Page(NamedTuple):
    """A page on its way in: what its frame says about it (see FrameEntry), and its bytes in order."""

    key: bytes
    parent: bytes
    length: int
    kind: int
    check: int | None
    """None: whoever writes it sums it."""
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
        self.beside: Beside = _in_order
        """What has pages summed while they are written; set by the store if it has threads for that."""
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

        I/O: one gathered write, or two if another thread sums meanwhile; more only above IOV_MAX buffers or the bounce buffer.
        """
        head_bytes = frame_header_bytes(len(pages))
        total = frame_bytes([page.length for page in pages])
        first = segment.tail // BLOCK
        assert segment.tail + total <= self._files.segment_bytes
        head = FrameHead(head_bytes, len(pages), segment.generation, segment.number, first, total, segment.frames)
        header = self._header_memory(head_bytes)
        first = self._written_last(pages, total)
        values: list[bytes] = []
        if first < len(pages):
            offset = segment.tail + head_bytes + sum(padded(page.length) for page in pages[:first])
            self.beside(
                [
                    lambda: self._write(segment, _spans(pages[first:]), offset),
                    lambda: values.extend(pack_frame(self._store_id, head, _summed(pages), header)),
                ]
            )
        else:
            values = pack_frame(self._store_id, head, _summed(pages), header)
        self._write(segment, [header, *_spans(pages[:first])], segment.tail)
        segment.tail += total
        segment.frames += 1
        return values, total - head_bytes

    def _written_last(self, pages: Sequence[Page], total: int) -> int:
        """How many of the pages are written with the header, after the others: all, if there is nothing to do meanwhile."""
        if self.beside is _in_order or total < APART_BYTES or pages[-1].check is not None:
            return len(pages)
        return max(len(pages) // FIRST, 1)

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
        size = sum(map(len, spans))
        done = file.pwritev(spans, offset) if len(spans) <= IOV_MAX else 0
        if done < size:
            done += write_all(file, _behind(spans, done), offset + done)
        self.bytes_written += done
        return done


def _spans(pages: Sequence[Page]) -> list[memoryview]:
    """The bytes of the pages, padding included."""
    spans: list[memoryview] = []
    for page in pages:
        spans += page.spans
        if page.length % BLOCK:
            spans.append(_ZEROS[page.length % BLOCK :])
    return spans


def _behind(spans: Sequence[memoryview], done: int) -> list[memoryview]:
    """What is left of the spans after so many bytes."""
    left = []
    for span in spans:
        skip = min(done, len(span))
        left.append(span[skip:])
        done -= skip
    return left


def _summed(pages: Sequence[Page]) -> Iterator[PageLine]:
    """What the frame says of the pages; those that have no check get one."""
    for key, parent, length, kind, check, spans in pages:
        yield key, parent, length, kind, payload_check(key, spans) if check is None else check, spans


def _in_order(work: Sequence[Callable[[], None]]) -> None:
    """One after the other."""
    for part in work:
        part()


_ZEROS = memoryview(bytes(BLOCK))
_NOTHING = np.empty(0, np.uint8)
