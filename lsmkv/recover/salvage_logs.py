"""The commits that damaged logs still give: one prefix of the commit order, as in replaying, without giving up.

Replaying (:mod:`lsmkv.recover.replay`) refuses a log in which something known durable is damaged. Here everything up to the
damage is kept and everything behind it is given up, in this log and in all later ones: commits behind a hole may rest on
commits that are gone. Frames are believed by their own checksums, so a log whose file header is lost gives its frames all the
same. Sequence numbers tell what follows what: they are dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import join

from lsmkv.base.frames import FILE_HEADER_BYTES, FileHeader, Frame, parse_file_header, read_whole, scan
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError
from lsmkv.live.batches import range_deletes
from lsmkv.recover.repair_report import Loss
from lsmkv.version.rangedeletes import RangeDelete
from lsmkv.wal.batch import WalBatch, decode_batch
from lsmkv.wal.writer import MAGIC, VERSION

__all__ = ["SalvagedLogs", "live_chain", "salvage_logs"]


@dataclass(frozen=True, slots=True)
class SalvagedLogs:
    """What the logs still give."""

    batches: tuple[WalBatch, ...]
    """In commit order, sequence numbers dense."""
    losses: tuple[Loss, ...]
    """One for each log of which something was given up."""
    first_seq: int
    """Sequence number of the first entry in the logs; 0: they hold none."""
    deletes: tuple[RangeDelete, ...] = ()
    """The range deletes in them, and in the commits that were passed over: what they removed must not come back."""


def live_chain(fs: FileSystem, path: str, numbers: Sequence[int]) -> list[int]:
    """Of all logs (ascending), those from the last one on that names no predecessor.

    Opening begins such a log only when all earlier ones are in tables. I/O: reads every log.
    """
    for i in reversed(range(len(numbers))):
        header = _header(read_whole(fs, log := _log(path, numbers[i])), log, numbers[i])
        if header is not None and header.previous is None:
            return list(numbers[i:])
    return list(numbers)


def salvage_logs(fs: FileSystem, path: str, numbers: Sequence[int], after: int, *, adjoining: bool) -> SalvagedLogs:
    """The prefix of commits in the logs ``numbers`` (ascending) of the directory ``path``.

    ``after``: the last sequence number in tables; commits up to it are passed over. ``adjoining``: the first commit that is
    taken must follow it. Raises FormatTooNewError, IOFailedError.

    I/O: reads every log once.
    """
    batches: list[WalBatch] = []
    losses: list[Loss] = []
    deletes: list[RangeDelete] = []
    broken: str | None = None
    last, first = after if adjoining else None, 0
    for number in numbers:
        log = _log(path, number)
        data = read_whole(fs, log)
        _header(data, log, number)  # one of a later format is refused, a damaged one is not needed
        found = scan(data, number)
        why = found.why if found.end < len(data) else None
        lost = 0
        end = FILE_HEADER_BYTES
        for frame in found.frames:
            batch = _batch(frame, log)
            if broken is None and batch is None:
                broken = f"its frame at byte {frame.offset} makes no sense"
            elif broken is None and batch is not None and not batches and batch.first_seq + len(batch.keys) - 1 <= after:
                end = frame.end
                deletes += range_deletes(batch)
                continue
            elif broken is None and batch is not None and last is not None and batch.first_seq != last + 1:
                broken = f"it goes on at sequence number {batch.first_seq}, the commits before it end at {last}"
            if broken is not None or batch is None:
                lost += frame.entries
                continue
            batches.append(batch)
            deletes += range_deletes(batch)
            first = first or batch.first_seq
            last, end = batch.first_seq + len(batch.keys) - 1, frame.end
        if broken is None and why is not None:
            broken = why
        if broken is not None and end < len(data):
            what = f"gave up {len(data) - end} bytes from byte {end} on: {broken}"
            losses.append(Loss(log, what, ((None, None),), lost if why is None else None))
            broken = f"it comes behind a hole ({log.rpartition('/')[2]})"
    return SalvagedLogs(tuple(batches), tuple(losses), first, tuple(deletes))


def _log(path: str, number: int) -> str:
    """Where a log lives."""
    return join(path, f"{number:06d}.wal")


def _header(data: bytes, log: str, number: int) -> FileHeader | None:
    """The file header, if it is intact and this log's."""
    try:
        header = parse_file_header(data, log, MAGIC, VERSION)
    except CorruptionError:
        return None
    return header if header.number == number else None


def _batch(frame: Frame, log: str) -> WalBatch | None:
    """The batch in a frame, if it makes sense."""
    try:
        return decode_batch(frame, log)
    except CorruptionError:
        return None
