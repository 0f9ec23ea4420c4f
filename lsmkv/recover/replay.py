"""Replaying logs: what was committed and is not in tables, as one prefix of the commit order.

Logs are synced oldest first, so whatever a crash took, it took from the end of the order: when a log is shorter than its
successor says, or is missing, or begins after a hole in the sequence numbers, then nothing behind that point was ever durable
and all of it is dropped, with a report. Should a later log prove that it *had* been synced (a durable mark), no crash
explains the hole and it is corruption.

Logs correspond to memtables: those below the manifest's floor are in tables as a whole, those above it not at all. So
nothing is filtered by sequence number here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import join
from typing import NamedTuple

from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError
from lsmkv.wal.batch import WalBatch
from lsmkv.wal.reader import WalContents, read_wal

__all__ = ["Dropped", "Replayed", "replay"]


class Dropped(NamedTuple):
    """What was not replayed of a log."""

    file: str
    bytes: int
    what: str
    """How much, and why."""

    def __str__(self) -> str:
        """One sentence."""
        return f"{self.file}: {self.what}"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the logs held."""

    batches: list[WalBatch]
    """In commit order, sequence numbers contiguous."""
    dropped: tuple[Dropped, ...]
    """One for each log of which something was dropped."""
    read_bytes: int
    """Of all logs together."""

    @property
    def report(self) -> tuple[str, ...]:
        """One sentence for each of ``dropped``."""
        return tuple(map(str, self.dropped))

    @property
    def dropped_bytes(self) -> int:
        """Of all logs together."""
        return sum(one.bytes for one in self.dropped)


def replay(fs: FileSystem, directory: str, numbers: Sequence[int], last_seq: int) -> Replayed:
    """Read the logs ``numbers`` (ascending: all those at or above the manifest's floor).

    ``last_seq`` is the newest sequence number in tables. Raises CorruptionError for damage that no crash explains,
    FormatTooNewError, IOFailedError.

    I/O: reads every log once; changes nothing.
    """
    logs = [(join(directory, f"{number:06d}.wal"), number) for number in numbers]
    contents = [(path, read_wal(fs, path)) for path, _ in logs]
    batches: list[WalBatch] = []
    dropped: list[Dropped] = []
    broken: str | None = None
    before: WalContents | None = None
    for path, log in contents:
        if not log.valid_length:  # begun and never written to: nothing was committed in it and nothing follows it
            what = f"dropped {log.dropped_bytes} bytes: {log.dropped_why or 'the log was never begun'}"
            dropped.append(Dropped(path, log.dropped_bytes, what))
            continue
        broken = broken or _hole(path, log, before, last_seq)
        if broken is not None:
            dropped.append(_drop(path, log, broken))
            continue
        batches += log.batches
        if log.batches:
            last_seq = log.batches[-1].first_seq + len(log.batches[-1].keys) - 1
        if log.dropped_why is not None:
            what = f"dropped {log.dropped_bytes} bytes after byte {log.valid_length}: {log.dropped_why}"
            dropped.append(Dropped(path, log.dropped_bytes, what))
        before = log
    read = sum(log.valid_length + log.dropped_bytes for _, log in contents)
    return Replayed(batches, tuple(dropped), read)


def _hole(path: str, log: WalContents, before: WalContents | None, last_seq: int) -> str | None:
    """What is missing between the logs read so far and ``log``; None if nothing is."""
    if before is not None:
        if log.previous is None:
            return f"it does not follow {before.number:06d}.wal"
        number, length = log.previous
        if number != before.number:
            return f"log {number:06d}.wal before it is missing"
        if length > before.valid_length:
            return f"{number:06d}.wal before it had {length} bytes, {before.valid_length} are left"
        if length < before.valid_length:
            what = f"{number:06d}.wal had {length} bytes when this log was begun, but now has {before.valid_length}"
            raise CorruptionError(path, 0, what)
    if log.batches and log.batches[0].first_seq > last_seq + 1:
        return f"it begins at sequence number {log.batches[0].first_seq}, the data before it ends at {last_seq}"
    if log.batches and before is not None and log.batches[0].first_seq <= last_seq:
        what = f"begins at sequence number {log.batches[0].first_seq}, but the log before it goes up to {last_seq}"
        raise CorruptionError(path, 0, what)
    return None


def _drop(path: str, log: WalContents, broken: str) -> Dropped:
    """Give up a log behind a hole. It is corruption if it was ever synced: then all before it was too."""
    if log.durable:
        raise CorruptionError(path, 0, f"{broken}; yet {log.durable} bytes of this log were durable, so all before it were")
    size = log.valid_length + log.dropped_bytes
    return Dropped(path, size, f"dropped {size} bytes: {broken}")
