"""Pages read past the page cache: some reads under way at once, looked at while the next go on.

They land in memory of the store's own, in huge pages where the system has them: a device is told of fewer places then, and the
caller may leave at any moment without its own memory being written to afterwards. From there each page is checked and copied
while the device works on the next.

Reads are handed over in *groups*, the next when the last has come, and before that is looked at. A device of a virtual machine
often tells of its reads only when it has none left to do: of four handed over together nothing could be looked at before all had
come. The groups get smaller towards the end, when nothing is left to do beside the looking; and few large reads take less time
than many. Measured, calls for 32 pages of 64 KiB on such a device, milliseconds: four reads of 512 KiB at once 1.74, two and two
1.65, two and one and one 1.62; one of 2 MiB 1.71, 1 + 1 MiB one after the other 1.64, 768 + 768 + 512 KiB 1.55.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest

from lsmkv.env.fs import Begin, File, ReadQueue
from lsmkv_tensor.vlog.layout import padded
from lsmkv_tensor.vlog.pieces import Piece, Want
from lsmkv_tensor.vlog.queues import DEPTH, ReadQueues
from lsmkv_tensor.vlog.straight import Lines, Part
from lsmkv_tensor.vlog.when import next_look_s

__all__ = ["SLOT_BYTES", "Run", "Stretch", "pour", "read_past"]

SLOT_BYTES = 512 << 10
"""Bytes of one read."""

RUN_BYTES = 768 << 10
"""... of pages that lie end to end, at most."""

GROUP = 4
"""Reads under way at a time: 2 or 3 MiB keep a device busy, and are looked at in less time than the next take. Measured, 32 pages
of 256 KiB: 4.7 ms so, 5.6 with sixteen at first and eight later; 128 of 64 KiB 6.3 and 7.7."""


class Stretch(NamedTuple):
    """Neighbours in a direct file."""

    file: File
    piece: Piece


class Run(NamedTuple):
    """A part of a line in a direct file (:mod:`lsmkv_tensor.vlog.straight`): no object for each of its pages."""

    file: File
    part: Part
    keys: Sequence[bytes]
    targets: Sequence[Sequence[memoryview]]
    found: Lines
    """These three by position in the call."""


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

    def look(self, data: memoryview, done: int, sums: _Sums) -> None:
        """Check and copy what came, ``done`` bytes."""
        for part in self.parts:
            if part.at + part.size <= done:
                sums.add(part, data[part.at : part.at + part.size])


class _RunSlice(NamedTuple):
    """One read of a run: its pages ``start`` to ``stop``."""

    file: File
    offset: int
    size: int
    run: Run
    start: int
    stop: int

    def look(self, data: memoryview, done: int, sums: _Sums) -> None:
        """Check and copy what came, ``done`` bytes."""
        _, _, keys, targets, (_, checks, length) = self.run
        at = 0
        for i in range(self.start, self.stop):
            if at + length > done:
                return
            page = data[at : at + length]
            if xxh3_64_intdigest(page, xxh3_64_intdigest(keys[i])) == checks[i]:
                pour(page, targets[i], 0)
                sums.whole.append(i)
            at += length


def read_past(
    stretches: Sequence[Stretch | Run], queues: ReadQueues, remaining: Callable[[], float | None], look_s: float | None
) -> list[int]:
    """Read and check pages; the positions of those that came whole, the others have to be read in another way, or are late.

    ``remaining``: seconds until the caller must be back, None: any number. ``look_s``: how long to wait before it is asked again.

    I/O: some reads handed over at a time, and waits for them.
    """
    slices: list[_Slice | _RunSlice] = []
    for stretch in stretches:
        slices += _run_slices(stretch) if type(stretch) is Run else _sliced(stretch)  # type: ignore[arg-type]  # the other
    queue = queues.take()
    if queue is None:
        return []
    sizes = [padded(one.size) for one in slices]
    width = max(sizes)
    buffer = None
    try:
        buffer = queues.staging.take(min(max(sum(sizes), width * _together(len(sizes))), 2 * GROUP * RUN_BYTES))
        return _Reading(queue, buffer.view, width, slices).run(remaining, look_s)
    except OSError:  # no memory
        return []
    finally:
        queues.take_back(queue, buffer)


class _Reading:
    """The reads of one call."""

    def __init__(self, queue: ReadQueue, memory: memoryview, width: int, slices: Sequence[_Slice | _RunSlice]) -> None:
        """``width``: bytes of the memory of one read."""
        self._queue = queue
        self._slices = slices
        self._sums = _Sums()
        self._arrived: dict[int, int] = {}  # number of a slice -> bytes
        self._room = [memory[at : at + width] for at in range(0, len(memory) - width + 1, width)][:DEPTH]
        self._begun = 0

    def run(self, remaining: Callable[[], float | None], look_s: float | None) -> list[int]:
        """The positions of the pages that came in time."""
        try:
            self._begin(0)
            for number, one in enumerate(self._slices):
                while number not in self._arrived:
                    seconds = next_look_s(remaining, look_s)
                    if seconds == 0 or number >= self._begun:
                        return self._sums.whole
                    for tag, done in self._queue.ended(self._queue.waiting, seconds):
                        self._arrived[tag] = done
                    self._begin(number)
                one.look(self._room[number % len(self._room)], self._arrived.pop(number), self._sums)
                self._begin(number + 1)
        except OSError:  # no reads of this kind here
            pass
        return self._sums.whole

    def _begin(self, looked_at: int) -> None:
        """Begin the next group if none is under way, as far as there is memory; so many of the first are done with."""
        left = len(self._slices) - self._begun
        if not left or self._queue.waiting:
            return
        stop = min(looked_at + len(self._room), self._begun + _group(left))
        reads: list[Begin] = []
        for number in range(self._begun, stop):
            one = self._slices[number]
            reads.append((number, one.file, self._room[number % len(self._room)][: padded(one.size)], one.offset))
        if reads:
            self._begun += self._queue.begin(reads)


def _group(left: int) -> int:
    """How many reads are begun at a time when so many are left. Pure."""
    return min(max(left // 2, 1), GROUP)


def _together(reads: int) -> int:
    """How many have memory at a time: those of the first group, which are looked at, and of the next. Pure."""
    first = _group(reads)
    return min(first + _group(reads - first), reads)


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


def _run_slices(run: Run) -> list[_RunSlice]:
    """The reads of a run: whole pages together."""
    (start, stop, offset), size = run.part, run.found.page_bytes
    step = max(RUN_BYTES // size, 1)
    return [
        _RunSlice(run.file, offset + (at - start) * size, (min(at + step, stop) - at) * size, run, at, min(at + step, stop))
        for at in range(start, stop, step)
    ]
