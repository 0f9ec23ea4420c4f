"""Pages that lie together, read with one call and checked while they are in the processor's cache.

Wanted pages are sorted by place and cut into *pieces*: neighbours (also across a frame header), of at most PIECE_BYTES. A piece
is one scattered read into the callers' spans, then each of its pages is checked; a page larger than a piece is read and summed
span by span, a piece at a time. What a piece brings is in the processor's cache when it is summed, and pieces can be read by
several threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from xxhash import xxh3_64, xxh3_64_intdigest

from lsmkv.env.fs import IOV_MAX
from lsmkv_tensor.vlog.direct import Readable
from lsmkv_tensor.vlog.layout import BLOCK, Place, payload_check

__all__ = ["HINT_BYTES", "PIECE_BYTES", "Piece", "Trouble", "Verdict", "Want", "advise", "cut", "read_piece"]

Verdict: TypeAlias = Literal["ok", "bad", "error", "gone", "alone"]
"""Delivered; bytes missing or failing the check; the file system failed; the segment is in another generation; its disk is left
alone."""

MAX_GAP = 4 * BLOCK
"""Bytes between two pages (a frame header, a dead small page) that are read and thrown away rather than skipped."""

HINT_BYTES = 16 << 20
"""Bytes of a stretch beyond which the kernel's own read-ahead does better than a hint, which has it begin with all of them at
once. Measured, 32 neighbours of 1 MiB, cold, three runs on a disk that others used: 29.5, 40.8 and 55.8 ms with a hint, 26.2,
36.3 and 48.8 without; of 2 MiB 79 and 71."""

PIECE_BYTES = 512 << 10
"""Bytes read before they are checked: half of what a processor's own cache usually holds."""


class Want(NamedTuple):
    """One page to read: its position in the call, its index key, where it is, and the memory to fill, in order."""

    position: int
    key: bytes
    place: Place
    spans: Sequence[memoryview]


Piece: TypeAlias = Sequence[Want]
"""Neighbours in one segment, in the order of their places, none twice."""

Trouble: TypeAlias = tuple[Want, Verdict]
"""A page that was not delivered, and why."""


def cut(wants: Sequence[Want], most: int = PIECE_BYTES) -> list[Piece]:
    """The wants (of one segment, sorted by place) as pieces of at most so many bytes, or one page each. Pure."""
    pieces: list[Piece] = []
    start, end, room = 0, -1, 0
    for i, (_, _, place, _) in enumerate(wants):
        at, length = place[2] * BLOCK, place[3]
        if length > room or not 0 <= at - end <= MAX_GAP or place[2] == wants[i - 1].place[2]:
            if i:
                pieces.append(wants[start:i])
            start, room = i, most
        room -= length
        end = at + length
    if wants:
        pieces.append(wants[start:])
    return pieces


def advise(file: Readable, pieces: Sequence[Piece]) -> None:
    """Tell the kernel of what is about to be read, in one hint a stretch of neighbours, but for a first one of one piece.

    A stretch above HINT_BYTES is left to its own read-ahead.

    The device then works on all of it while each piece is waited for in turn. Measured, 32 neighbours of 64 KiB, cold: 2.5 ms
    against 4.5; of 256 KiB 6.3 and 6.5; scattered ones of 256 KiB 9.7 and 20.4; warm at most 2 % slower.
    """
    start = 0
    for stop in range(1, len(pieces) + 1):
        last = pieces[stop - 1][-1].place
        end = last.offset + last.length
        if stop < len(pieces) and 0 <= pieces[stop][0].place.offset - end <= MAX_GAP:
            continue
        if start or stop > 1:
            offset = pieces[start][0].place.offset
            if end - offset <= HINT_BYTES:
                file.advise("willneed", offset, end - offset)
        start = stop


def read_piece(file: Readable, piece: Piece) -> list[Trouble]:
    """Read a piece and check each of its pages against its key; those that cannot be delivered, and why.

    I/O: one read (more only above IOV_MAX spans); for a page larger than a piece one read per PIECE_BYTES; after an error each
    page by itself.
    """
    first = piece[0]
    start = end = first.place.block * BLOCK
    try:
        if len(piece) == 1 and first.place.length > PIECE_BYTES:
            verdict = _read_large(file, first)
            return [] if verdict == "ok" else [(first, verdict)]
        views: list[memoryview] = []
        for _, _, place, spans in piece:
            at = place[2] * BLOCK
            if at > end:
                views.append(memoryview(bytearray(at - end)))
            views += spans
            end = at + place[3]
        arrived = _fill(file, views, start, end - start)
    except OSError:
        if len(piece) == 1:
            return [(first, "error")]
        return [trouble for want in piece for trouble in read_piece(file, [want])]
    if arrived < end:
        return [(want, "bad") for want in piece if want.place.offset + want.place.length > arrived or not _sound(want)]
    return [(want, "bad") for want in piece if not _sound(want)]


def _sound(want: Want) -> bool:
    """Whether what was read is the page of this key."""
    _, key, place, spans = want
    return payload_check(key, spans) == place[6]


def _read_large(file: Readable, want: Want) -> Verdict:
    """Read a page of more than a piece and sum it on the way."""
    offset = want.place.offset
    digest = xxh3_64(seed=xxh3_64_intdigest(want.key))
    batch: list[memoryview] = []
    size = 0
    for span in want.spans:
        for start in range(0, len(span), PIECE_BYTES):
            part = span[start : start + PIECE_BYTES]
            batch.append(part)
            size += len(part)
            if size >= PIECE_BYTES or len(batch) == IOV_MAX:
                if _fill(file, batch, offset, size) < offset + size:
                    return "bad"
                for view in batch:
                    digest.update(view)
                offset += size
                batch, size = [], 0
    if batch and _fill(file, batch, offset, size) < offset + size:
        return "bad"
    for view in batch:
        digest.update(view)
    return "ok" if digest.intdigest() == want.place.check else "bad"


def _fill(file: Readable, views: list[memoryview], offset: int, wanted: int) -> int:
    """Scatter from ``offset`` into the views, of ``wanted`` bytes in all, until they are full or the file ends; where that is."""
    done = file.preadv(views if len(views) <= IOV_MAX else views[:IOV_MAX], offset)
    if done == wanted:
        return offset + done
    return _go_on(file, views, offset, done)


def _go_on(file: Readable, views: list[memoryview], offset: int, done: int) -> int:
    """:func:`_fill` after a first read of ``done`` bytes that was not all."""
    while True:
        offset += done
        taken = 0
        while taken < len(views) and done >= len(views[taken]):
            done -= len(views[taken])
            taken += 1
        if taken == len(views) or not (taken or done):
            return offset
        views = views[taken:]
        if done:
            views[0] = views[0][done:]
        done = file.preadv(views[:IOV_MAX], offset)
