"""Checking a page store offline: its index, every frame and page of its segments, and that each place in the index is true.

Beside a live writer pages move and segments are recycled; what looks wrong is looked up again and reported only if the index
still says the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import join

import lsmkv
from lsmkv.env.fs import FileSystem
from lsmkv.observe.readonly import ReadOnly
from lsmkv.observe.verify import Problem, VerifyReport
from lsmkv.observe.verify import verify as verify_engine
from lsmkv_tensor.cli.survey import follow_index, segments_of
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.vlog.disks import known_disks, segment_home
from lsmkv_tensor.vlog.layout import Place, SegmentHeader
from lsmkv_tensor.vlog.reserved import RESERVED
from lsmkv_tensor.vlog.scan import Problem as Damage
from lsmkv_tensor.vlog.scan import SegmentScan, scan_segment
from lsmkv_tensor.vlog.segment import FREE, Segment
from lsmkv_tensor.vlog.stamp import Stamp, read_stamp

__all__ = ["verify"]

Suspect = tuple[bytes, bytes, Problem]
"""Index key, index value, and what is wrong with it."""


def verify(fs: FileSystem, path: str) -> VerifyReport:
    """Check the page store at ``path`` without changing it.

    Damage is reported, not raised. InvalidArgumentError if there is no store, FormatTooNewError, IOFailedError.

    I/O: reads every file once, logs twice.
    """
    fs = ReadOnly(fs)
    stamp = read_stamp(fs, path)
    if stamp is None:
        msg = f"{path} is no page store (no STORE file there)"
        raise InvalidArgumentError(msg)
    index = verify_engine(join(path, "index"), fs)
    if not index.ok:
        return index
    with follow_index(fs, path) as follower, follower.snapshot() as now:
        segments = segments_of(now, path)
        homes = known_disks(now, path)
        scans = {n: _scan(fs, homes, stamp, s) for n, s in segments.items() if s.state != FREE}
        suspects = list(_false_places(path, homes, now, segments, scans))
    problems: list[Problem] = []
    warnings = list(index.warnings)
    for number, scan in scans.items():
        for found in scan.problems:
            problem = Problem(_file(homes, number), *found)
            if found.offset < segments[number].tail:
                problems.append(problem)
            else:
                warnings.append(f"{problem} (beyond what was committed)")
    if suspects or problems:
        problems, suspects = _still_true(fs, path, homes, segments, problems, suspects)
    return VerifyReport(
        path=path,
        files=index.files + len(scans) + 1,
        bytes=index.bytes + sum(s.tail for n, s in segments.items() if n in scans),
        entries=index.entries,
        problems=(*problems, *(problem for _, _, problem in suspects)),
        warnings=tuple(warnings),
    )


def _file(homes: dict[int, str], number: int) -> str:
    """Path of a segment."""
    return join(segment_home(homes, number), f"{number:06d}.seg")


def _scan(fs: FileSystem, homes: dict[int, str], stamp: Stamp, segment: Segment) -> SegmentScan:
    """What a segment file holds; a missing file is a problem like any other."""
    file = _file(homes, segment.number)
    if not fs.exists(file):
        missing = Damage(-1, "missing, although the index names it")
        return SegmentScan(None, (), sealed=False, problems=(missing,))
    expected = SegmentHeader(segment.number, segment.generation, stamp.segment_bytes, stamp.store_id)
    return scan_segment(fs, file, expected=expected)


def _false_places(
    path: str, homes: dict[int, str], index: lsmkv.Snapshot, segments: dict[int, Segment], scans: dict[int, SegmentScan]
) -> Iterator[Suspect]:
    """Index entries whose page is not where they say."""
    pages = {
        (number, at, entry.key): (entry.length, entry.check)
        for number, scan in scans.items()
        for frame in scan.frames
        for entry, at in frame.payloads()
    }
    for key, value in index.scan(start=RESERVED + b"\xff"):
        place = Place.unpack(value)
        if place is None:
            yield key, value, Problem(join(path, "index"), -1, f"the place of page {key.hex()} has {len(value)} bytes")
            continue
        segment = segments.get(place.segment)
        if segment is None or segment.generation != place.generation:
            what = f"page {key.hex()} is said to be in generation {place.generation}, which is gone"
            yield key, value, Problem(_file(homes, place.segment), place.offset, what)
        elif pages.get((place.segment, place.offset, key)) != (place.length, place.check):
            what = f"page {key.hex()} is not here, although the index says so"
            yield key, value, Problem(_file(homes, place.segment), place.offset, what)


def _still_true(
    fs: FileSystem, path: str, homes: dict[int, str], before: dict[int, Segment], problems: list[Problem], suspects: list[Suspect]
) -> tuple[list[Problem], list[Suspect]]:
    """What remains after a second look at the index."""
    with follow_index(fs, path) as follower, follower.snapshot() as index:
        now = segments_of(index, path)
        current = dict(index.scan(start=RESERVED + b"\xff")) if suspects else {}
    same = {n for n, s in before.items() if n in now and now[n].generation == s.generation}
    files = {_file(homes, n) for n in same}
    return [p for p in problems if p.file in files], [s for s in suspects if current.get(s[0]) == s[1]]
