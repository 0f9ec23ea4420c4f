"""Replaying logs: what was committed and is not in tables, as one prefix of the commit order.

Logs are synced oldest first, so whatever a crash took, it took from the end of the order: when a log is shorter than its
successor says, or is missing, or begins after a hole in the sequence numbers, then nothing behind that point was ever durable
and all of it is dropped, with a report. Should a later log prove that it *had* been synced (a durable mark), no crash
explains the hole and it is corruption.

Logs correspond to memtables: those below the manifest's floor are in tables as a whole, those above it not at all. So
nothing is filtered by sequence number here.

A follower, which reads on in logs that are being written, takes them by the same rules (:class:`Chain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import join
from typing import NamedTuple, Protocol

from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError
from lsmkv.wal.batch import WalBatch
from lsmkv.wal.reader import read_wal

__all__ = ["Chain", "Dropped", "Log", "Replayed", "replay"]


class Dropped(NamedTuple):
    """What was not replayed of a log."""

    file: str
    bytes: int
    what: str
    """How much, and why."""

    def __str__(self) -> str:
        """One sentence."""
        return f"{self.file}: {self.what}"


class Log(Protocol):
    """What the order of logs is judged by; see :class:`lsmkv.wal.reader.WalContents`."""

    @property
    def number(self) -> int:
        """Its number."""
        ...

    @property
    def previous(self) -> tuple[int, int] | None:
        """(number, length) of the log before."""
        ...

    @property
    def valid_length(self) -> int:
        """Bytes of header and intact frames; 0 without a header."""
        ...

    @property
    def first_seq(self) -> int | None:
        """Sequence number of its first entry."""
        ...

    @property
    def last_seq(self) -> int | None:
        """Sequence number of its last entry."""
        ...

    @property
    def durable(self) -> int:
        """Bytes known to have been on disk."""
        ...


class Chain:
    """Logs taken one by one, oldest first, as long as there is no hole before them."""

    __slots__ = ("_before", "_last_seq", "broken")

    def __init__(self, last_seq: int) -> None:
        """``last_seq``: the newest sequence number in tables."""
        self._last_seq = last_seq
        self._before: Log | None = None
        self.broken: str | None = None
        """What is missing; None while nothing is."""

    def takes(self, path: str, log: Log) -> bool:
        """Whether ``log`` (at ``path``) follows those taken so far.

        Not if it has no header: it was begun and never written to, nothing was committed in it. Raises CorruptionError for
        what no crash explains: a log behind a hole that was durable, so that all before it had been, too.
        """
        if not log.valid_length:
            return False
        self.broken = self.broken or _hole(path, log, self._before, self._last_seq)
        if self.broken is not None:
            if log.durable:
                what = f"{self.broken}; yet {log.durable} bytes of this log were durable, so all before it were"
                raise CorruptionError(path, 0, what)
            return False
        self._last_seq = log.last_seq if log.last_seq is not None else self._last_seq
        self._before = log
        return True


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
    logs = [join(directory, f"{number:06d}.wal") for number in numbers]
    contents = [(path, read_wal(fs, path)) for path in logs]
    batches: list[WalBatch] = []
    dropped: list[Dropped] = []
    chain = Chain(last_seq)
    for path, log in contents:
        if chain.takes(path, log):
            batches += log.batches
            lost, after, why = log.dropped_bytes, f" after byte {log.valid_length}", log.dropped_why
        elif not log.valid_length:
            lost, after, why = log.dropped_bytes, "", log.dropped_why or "the log was never begun"
        else:
            lost, after, why = log.valid_length + log.dropped_bytes, "", chain.broken
        if why is not None:
            dropped.append(Dropped(path, lost, f"dropped {lost} bytes{after}: {why}"))
    read = sum(log.valid_length + log.dropped_bytes for _, log in contents)
    return Replayed(batches, tuple(dropped), read)


def _hole(path: str, log: Log, before: Log | None, last_seq: int) -> str | None:
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
    first = log.first_seq
    if first is not None and first > last_seq + 1:
        return f"it begins at sequence number {first}, the data before it ends at {last_seq}"
    if first is not None and before is not None and first <= last_seq:
        what = f"begins at sequence number {first}, but the log before it goes up to {last_seq}"
        raise CorruptionError(path, 0, what)
    return None
