"""Pages read past the page cache: many reads under way at once, each looked at while the others go on.

They land in memory of the store's own, in huge pages where the system has them: a device is told of fewer places then, and the
caller may leave at any moment without its own memory being written to afterwards. From there each page is checked and copied
while the device works on the next. Measured, 32 pages of 64 KiB that no cache holds, milliseconds: 1.07 checked and copied, of
which 0.79 are the device's; one direct read into ordinary memory 1.44, one through the page cache 1.85, page by page 2.17.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest

from lsmkv.env.fs import Begin, File, ReadQueue
from lsmkv_tensor.vlog.layout import padded
from lsmkv_tensor.vlog.pieces import Piece, Want
from lsmkv_tensor.vlog.queues import DEPTH, ReadQueues

__all__ = ["SLOT_BYTES", "Stretch", "read_past"]

SLOT_BYTES = 512 << 10
"""Bytes of one read."""

HUGE_BYTES = 2 << 20
"""Memory of this size comes in one piece from the system; less is taken for few pages only."""

FEW_BYTES = 128 << 10


class Stretch(NamedTuple):
    """Neighbours in a direct file."""

    file: File
    piece: Piece


class _Part(NamedTuple):
    """Bytes of one page in a read: from ``at`` in the read, from ``start`` in the page."""

    want: Want
    at: int
    start: int
    size: int


class _Slice(NamedTuple):
    """One read."""

    file: File
    offset: int
    size: int
    parts: list[_Part]


def read_past(
    stretches: Sequence[Stretch], queues: ReadQueues, remaining: Callable[[], float | None], look_s: float | None
) -> list[int]:
    """Read and check pages; the positions of those that came whole, the others have to be read in another way, or are late.

    ``remaining``: seconds until the caller must be back, None: any number. ``look_s``: how long to wait before it is asked again.

    I/O: some reads handed over at a time, and waits for them.
    """
    slices = [found for stretch in stretches for found in _sliced(stretch)]
    queue = queues.take()
    if queue is None:
        return []
    total = sum(padded(one.size) for one in slices)
    buffer = queues.staging.take(total if total <= FEW_BYTES else min(max(total, HUGE_BYTES), DEPTH * SLOT_BYTES))
    try:
        return _Reading(queue, buffer.view, slices).run(remaining, look_s)
    finally:
        if queue.waiting:
            queues.leave(queue, buffer)
        else:
            queues.staging.give(buffer)
            queues.give(queue)


class _Reading:
    """The reads of one call."""

    def __init__(self, queue: ReadQueue, memory: memoryview, slices: Sequence[_Slice]) -> None:
        self._queue = queue
        self._slices = slices
        self._sums = _Sums()
        self._arrived: dict[int, int] = {}  # number of a slice -> bytes
        width = max(padded(one.size) for one in slices)
        self._room = [memory[at : at + width] for at in range(0, len(memory) - width + 1, width)][:DEPTH]
        self._begun = 0

    def run(self, remaining: Callable[[], float | None], look_s: float | None) -> list[int]:
        """The positions of the pages that came in time."""
        try:
            self._begin(0)
            for number in range(len(self._slices)):
                while number not in self._arrived:
                    seconds = remaining()
                    if seconds == 0 or number >= self._begun:
                        return self._sums.whole
                    if look_s is not None:
                        seconds = look_s if seconds is None else min(seconds, look_s)
                    for tag, done in self._queue.ended(-(-self._queue.waiting // 2), seconds):
                        self._arrived[tag] = done
                self._look(number)
                if number + 1 < len(self._slices):
                    self._begin(number + 1)
        except OSError:  # no reads of this kind here
            pass
        return self._sums.whole

    def _begin(self, looked_at: int) -> None:
        """Begin reads, as many as there is memory for, of which the first so many are done with; a few at a time."""
        stop = min(looked_at + len(self._room), len(self._slices))
        if stop - self._begun < min(len(self._room) // 2, len(self._slices) - self._begun):
            return
        reads: list[Begin] = []
        for number in range(self._begun, stop):
            one = self._slices[number]
            reads.append((number, one.file, self._room[number % len(self._room)][: padded(one.size)], one.offset))
        if reads:
            self._begun += self._queue.begin(reads)

    def _look(self, number: int) -> None:
        """Check and copy what a read brought."""
        one = self._slices[number]
        done, data = self._arrived.pop(number), self._room[number % len(self._room)]
        for part in one.parts:
            if part.at + part.size <= done:
                self._sums.add(part, data[part.at : part.at + part.size])


class _Sums:
    """Pages as their bytes come in order."""

    def __init__(self) -> None:
        self.whole: list[int] = []
        """Positions of the pages that are there, checked."""
        self._half: tuple[int, int, xxh3_64] | None = None  # of a page that came in part: position, bytes, sum

    def add(self, part: _Part, data: memoryview) -> None:
        """Bytes of a page."""
        want, _, start, size = part
        length = want.place.length
        if size == length:
            if xxh3_64_intdigest(data, xxh3_64_intdigest(want.key)) == want.place.check:
                pour(data, want.spans, 0)
                self.whole.append(want.position)
            return
        if not start:
            digest = xxh3_64(seed=xxh3_64_intdigest(want.key))
        elif self._half is not None and self._half[:2] == (want.position, start):
            digest = self._half[2]
        else:  # something before is missing
            return
        digest.update(data)
        pour(data, want.spans, start)
        self._half = want.position, start + size, digest
        if start + size == length and digest.intdigest() == want.place.check:
            self.whole.append(want.position)


def pour(data: memoryview, spans: Sequence[memoryview], start: int) -> None:
    """Copy bytes of a page, from ``start`` in it, to where the page is to be. Keeps the interpreter: some 30 us a piece."""
    at = 0
    for span in spans:
        if start >= len(span):
            start -= len(span)
            continue
        n = min(len(span) - start, len(data) - at)
        span[start : start + n] = data[at : at + n]
        at += n
        if at == len(data):
            return
        start = 0


def _sliced(stretch: Stretch) -> list[_Slice]:
    """The reads of a stretch: whole pages together, large ones in several."""
    slices: list[_Slice] = []
    for want in stretch.piece:
        offset, length = want.place.offset, want.place.length
        last = slices[-1] if slices else None
        if last is not None and length <= SLOT_BYTES and last.parts[-1].size == last.parts[-1].want.place.length:
            at = offset - last.offset
            if last.offset + last.size <= offset and at + length <= SLOT_BYTES:
                last.parts.append(_Part(want, at, 0, length))
                slices[-1] = last._replace(size=at + length)
                continue
        for start in range(0, length, SLOT_BYTES):
            size = min(SLOT_BYTES, length - start)
            slices.append(_Slice(stretch.file, offset + start, size, [_Part(want, 0, start, size)]))
    return slices
