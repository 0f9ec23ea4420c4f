"""What was read of a store's manifest and logs, and reading on in them; the order of reading is argued in :mod:`lsmkv.follow`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from lsmkv.base.filenames import parse_name
from lsmkv.env.fs import FileSystem
from lsmkv.errors import io_failed
from lsmkv.live.batches import apply_batch, range_deletes
from lsmkv.live.core import wal_path
from lsmkv.memtable import Memtable
from lsmkv.recover.replay import Chain
from lsmkv.version.rangedeletes import RangeDelete
from lsmkv.version.tail import ManifestTail
from lsmkv.wal.batch import WalBatch
from lsmkv.wal.tail import LogTail

__all__ = ["Trail", "UnsettledError"]


class UnsettledError(Exception):
    """A log that the manifest still needs was gone when it was to be opened. Never leaves this package."""


class Part(NamedTuple):
    """A memtable of what was read of a log, and the range deletes in the log that are older than its entries."""

    mem: Memtable
    ranges: tuple[RangeDelete, ...]


class Trail:
    """Manifest and logs as far as they were read, a memtable for each log. One thread at a time.

    After any error it is unknown how far it got: begin a new one.
    """

    __slots__ = ("_begun", "_fs", "_logs", "_new_mem", "_parts", "_path", "manifest")

    def __init__(self, fs: FileSystem, path: str, new_mem: Callable[[], Memtable]) -> None:
        """Nothing is read yet; ``new_mem`` makes an empty memtable."""
        self._fs = fs
        self._path = path
        self._new_mem = new_mem
        self._logs: dict[int, LogTail] = {}
        self._parts: dict[int, list[Part]] = {}
        self._begun = False
        self.manifest = ManifestTail(fs, path)

    def look(self) -> None:
        """Read what is new, logs before the manifest.

        Raises UnsettledError, CorruptionError, FormatTooNewError, IOFailedError.

        I/O: one listing, one look at each log and at the manifest.
        """
        if not self._begun:
            self.manifest.look()  # for its floor: logs below it are not worth reading
            self._begun = True
        missed = self._read_logs()
        self.manifest.look()
        floor = self.manifest.state.wal_floor
        for number in [n for n in self._logs if n < floor]:
            self._drop(number)
        if any(number >= floor for number in missed):
            raise UnsettledError

    def _read_logs(self) -> set[int]:
        """Read on in every log; the numbers of those that are not there any more."""
        for number in [n for n, log in self._logs.items() if not log.valid_length]:
            self._drop(number)  # never begun: its writer may give the number to another file
        listed = list(self._listed())
        missed = self._logs.keys() - listed
        for number in sorted(listed):
            log = self._logs.get(number)
            if log is None:
                log = self._open(number)
                if log is None:
                    missed.add(number)
                    continue
            log.look()
        return missed

    def _open(self, number: int) -> LogTail | None:
        """A log that was not read before; None if it is gone."""
        path = wal_path(self._path, number)
        try:
            log = self._logs[number] = LogTail(self._fs, path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise io_failed("open", path, error) from error
        return log

    def _listed(self) -> Iterator[int]:
        """The logs in the directory that are not below the floor."""
        try:
            names = self._fs.listdir(self._path)
        except OSError as error:
            raise io_failed("list", self._path, error) from error
        floor = self.manifest.state.wal_floor
        for name in names:
            if name.endswith(".wal"):  # most names are tables
                file = parse_name(name)
                if file is not None and file.number >= floor:
                    yield file.number

    def _drop(self, number: int) -> None:
        """Forget a log and its memtable."""
        self._logs.pop(number).close()
        self._parts.pop(number, None)

    def logs(self) -> list[LogTail]:
        """The logs to be shown, oldest first: up to the first hole (:class:`lsmkv.recover.replay.Chain`)."""
        chain = Chain(self.manifest.state.last_seq)
        logs = (self._logs[number] for number in sorted(self._logs))
        return [log for log in logs if chain.takes(log.path, log)]

    def parts(self, number: int) -> list[Part]:
        """The memtables of a log with the range deletes that each begins with, oldest first; mostly there is one."""
        return self._parts.setdefault(number, [Part(self._new_mem(), ())])

    def apply(self, number: int, batch: WalBatch, *, keep_versions: bool) -> None:
        """Put a batch of a log into its newest memtable.

        A range delete begins a memtable that no reader has seen: nothing that comes after it shows before it does. So does the
        first batch of a log: before that sorted data may have been loaded, which is in tables that readers do not see yet.
        """
        parts = self.parts(number)
        mem, ranges = parts[-1]
        if batch.ranges or not mem.entries:
            if not mem.entries:
                parts.pop()
            parts.append(Part(self._new_mem(), (*(() if mem.entries else ranges), *range_deletes(batch))))
        apply_batch(parts[-1].mem, batch, keep_versions=keep_versions)

    def close(self) -> None:
        """Close the logs."""
        for number in list(self._logs):
            self._drop(number)
