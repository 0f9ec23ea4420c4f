"""Counting again what lives in each segment: one scan of the index against the records that are kept with every change.

The records are exact as long as the index is; damage that a repair of the index has cut out, or a bug, may make them differ.
Counts that are too high keep dead bytes from being reclaimed, counts that are too low have live pages moved for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from lsmkv import DB, WriteBatch
from lsmkv_tensor.vlog.layout import INDEX_KEY_BYTES, PLACE_COLUMNS, padded
from lsmkv_tensor.vlog.reserved import RESERVED
from lsmkv_tensor.vlog.segment import FREE, Segment

__all__ = ["PAGES_FROM", "Difference", "differences", "write_counts"]

PAGES_FROM = RESERVED + b"\xff"
"""Where the places of pages begin in the index."""

CHUNK = 1 << 14
"""Entries counted at a time."""


class Difference(NamedTuple):
    """A segment whose record is not what the index adds up to."""

    segment: int
    recorded_pages: int
    recorded_bytes: int
    pages: int
    """Pages that the index names in the segment's present generation."""
    bytes: int
    """Bytes these take, padding included."""


def differences(entries: Iterable[tuple[bytes, bytes]], segments: Mapping[int, Segment]) -> list[Difference]:
    """Where the records of ``segments`` and the index entries of pages (from :data:`PAGES_FROM` on) disagree. Pure."""
    pages, nbytes = dict.fromkeys(segments, 0), dict.fromkeys(segments, 0)
    generations = {n: s.generation for n, s in segments.items() if s.state != FREE}
    for columns in _columns(entries):
        for number in np.unique(columns["segment"]).tolist():
            mine = columns[columns["segment"] == number]
            mine = mine[mine["generation"] == generations[number]] if number in generations else mine[:0]
            if len(mine):
                pages[number] += len(mine)
                nbytes[number] += sum(map(padded, mine["length"].tolist()))
    return [
        Difference(n, s.pages, s.live_bytes, pages[n], nbytes[n])
        for n, s in sorted(segments.items())
        if (s.pages, s.live_bytes) != (pages[n], nbytes[n])
    ]


def write_counts(db: DB, segments: Mapping[int, Segment], found: Iterable[Difference]) -> None:
    """Write the counted numbers into the records, all or nothing, durably. Errors as the engine's ``write``. I/O: one commit."""
    batch = WriteBatch()
    for one in found:
        segment = segments[one.segment]
        segment.pages, segment.live_bytes = one.pages, one.bytes
        batch.put(segment.key, segment.record())
    db.write(batch, sync=True)


def _columns(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[np.ndarray]:
    """The places among these entries, some at a time."""
    values: list[bytes] = []
    for key, value in entries:
        if len(key) == INDEX_KEY_BYTES and len(value) == PLACE_COLUMNS.itemsize:
            values.append(value)
        if len(values) == CHUNK:
            yield np.frombuffer(b"".join(values), PLACE_COLUMNS)
            values.clear()
    if values:
        yield np.frombuffer(b"".join(values), PLACE_COLUMNS)
