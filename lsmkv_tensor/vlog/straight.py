"""Pages that lie end to end, as those of one put do: read and checked without an object for each of them.

What a call finds in the index is looked at as columns. If it is a few *lines* (pages of one length, raw, without an end, each
beginning where the one before it stops), each line is read with one call, or in pieces where it is long, and its checks are
compared as one list. Whatever else may be the case (small or encoded pages, pages from all over, a check that fails, an error)
is left to :mod:`lsmkv_tensor.vlog.reader`, which treats every page by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from lsmkv.arguments import same_width
from lsmkv.env.fs import IOV_MAX
from lsmkv_tensor.vlog.direct import Readable
from lsmkv_tensor.vlog.layout import BLOCK, NO_PARENT, Place, payload_check
from lsmkv_tensor.vlog.pieces import PIECE_BYTES

__all__ = ["Line", "Lines", "Part", "lines_of", "parts_of", "read_part"]

LEAST_PAGES = 4
"""Pages that a line has in the mean, or their places are better sorted first."""

WHOLE_BYTES = 2 << 20
"""Bytes of a line that is read with one call: the kernel needs no hint then. Measured, 32 pages of 64 KiB: warm 212 to 281 us
against 201 to 267 in pieces, which need a hint of 20; cold 1.5 ms either way, and 3.1 in pieces without a hint."""

_PLACES = struct.Struct("<IIIII28xQ")
"""Places, without the parents."""


class Line(NamedTuple):
    """Pages end to end: positions ``start`` to ``stop`` of a call."""

    start: int
    stop: int
    place: Place
    """Of the first."""


class Lines(NamedTuple):
    """The places of a call."""

    lines: list[Line]
    checks: Sequence[int]
    page_bytes: int


class Part(NamedTuple):
    """What is read with one call: pages ``start`` to ``stop``, from ``offset`` on."""

    start: int
    stop: int
    offset: int


def lines_of(values: Sequence[bytes]) -> Lines | None:
    """The lines of pages with these index values, in the order of the call; None if they are not that simple. Pure."""
    n = len(values)
    if n < LEAST_PAGES or not same_width(values, _PLACES.size):
        return None
    segments, generations, blocks, lengths, kinds, checks = zip(*_PLACES.iter_unpack(b"".join(values)), strict=True)
    size = lengths[0]
    if any(kinds) or not size or size % BLOCK or size > PIECE_BYTES or lengths.count(size) != n:
        return None
    step = size // BLOCK
    starts = [0]
    if (
        blocks != tuple(range(blocks[0], blocks[0] + n * step, step))
        or segments.count(segments[0]) != n
        or generations.count(generations[0]) != n
    ):
        homes = list(zip(segments, generations, strict=True))
        starts += [i for i in range(1, n) if blocks[i] - blocks[i - 1] != step or homes[i] != homes[i - 1]]
        if len(starts) * LEAST_PAGES > n:
            return None
    found = [
        Line(start, stop, Place(segments[start], generations[start], blocks[start], size, 0, NO_PARENT, checks[start]))
        for start, stop in zip(starts, [*starts[1:], n], strict=True)
    ]
    return Lines(found, checks, size)


def parts_of(line: Line, spans: int) -> list[Part]:
    """A line, as it is read: ``spans`` is the number of pieces of memory of a page. Pure."""
    size = line.place.length
    pages = line.stop - line.start
    at_once = pages if pages * size <= WHOLE_BYTES else max(PIECE_BYTES // size, 1)
    at_once = max(min(at_once, IOV_MAX // spans), 1)
    return [
        Part(start, min(start + at_once, line.stop), line.place.offset + (start - line.start) * size)
        for start in range(line.start, line.stop, at_once)
    ]


def read_part(
    file: Readable, part: Part, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]], found: Lines
) -> list[int]:  # fmt: skip
    """Read some pages of a line and compare their checks; the positions of those that did not arrive whole. I/O: one read."""
    start, stop, offset = part
    mine = targets[start:stop]
    alone = max(map(len, mine)) == 1
    views = [span for (span,) in mine] if alone else list(chain.from_iterable(mine))
    try:
        if len(views) > IOV_MAX or file.preadv(views, offset) != (stop - start) * found.page_bytes:
            return list(range(start, stop))
    except OSError:
        return list(range(start, stop))
    if alone:
        sums = [xxh3_64_intdigest(view, xxh3_64_intdigest(key)) for view, key in zip(views, keys[start:stop], strict=True)]
    else:
        sums = [payload_check(key, spans) for key, spans in zip(keys[start:stop], mine, strict=True)]
    wanted = found.checks[start:stop]
    if tuple(sums) == wanted:
        return []
    return [start + i for i, (got, check) in enumerate(zip(sums, wanted, strict=True)) if got != check]
