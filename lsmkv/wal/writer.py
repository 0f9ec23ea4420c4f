"""Writing one log: frames go out in a gathered write, a failed write is taken back, a failed sync ends it.

Somebody may be reading the log meanwhile (:mod:`lsmkv.wal.tail`) and must not believe what is taken back later. A write
that falls short leaves no whole frame if it holds one. Of several frames the first would be whole; so the header of the
first goes out last, and without it nothing behind it can be found.

The file begins with its number and the (number, length) of the log before it; the layout of frames is
:mod:`lsmkv.base.frames`, that of payloads :mod:`lsmkv.wal.batch`. A log is created by its writer and never opened for
appending again: recovery puts what it found into tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from posixpath import dirname

from lsmkv.base.counters import WorkCounters
from lsmkv.base.frames import FILE_HEADER_BYTES, FRAME_HEADER_BYTES, pack_file_header
from lsmkv.env.fs import IOV_MAX, Buffer, File, FileSystem, write_all, write_sized
from lsmkv.errors import ClosedError, PoisonedError, io_failed
from lsmkv.wal.batch import WalBatch, encode_batch

__all__ = ["MAGIC", "VERSION", "WalBatch", "WalWriter"]

MAGIC = b"lsmkvWAL"
VERSION = 2
"""Newest format this library writes and knows. Version 1 had no range deletes."""

COPY_BYTES = 64 << 10
"""Up to this size many buffers of a write are joined: one copy costs less than the bookkeeping of a gathered write."""

FEW_BUFFERS = 4
"""So many are handed over as they are."""


class WalWriter:
    """The log that is being written. One appending thread at a time; ``sync`` may run beside it."""

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        *,
        number: int,
        previous: tuple[int, int] | None = None,
        counts: WorkCounters | None = None,
    ) -> None:
        """Create the file (its name becomes durable with the first sync).

        ``previous`` is the (number, length) of the log that was written before, None after opening. ``counts`` is what it
        counts its work in.
        Raises IOFailedError, NoSpaceError; the file is then removed again.

        I/O: creates a file, one write.
        """
        self._fs = fs
        self._closed = False
        self._name_durable = False
        self.number = number
        self.path = path
        self.length = FILE_HEADER_BYTES
        """Bytes of header and acknowledged frames: the offset of the next frame."""
        self.durable = 0
        """Bytes known to be on disk; 0 before the first sync."""
        self.failed: PoisonedError | None = None
        file: File | None = None
        try:
            file = fs.open(path, "create")
            write_all(file, [pack_file_header(MAGIC, VERSION, number, previous)], 0)
        except OSError as error:
            if file is not None:
                _remove(fs, file)
            raise io_failed("create", path, error) from error
        self._file = file
        self._counts = counts if counts is not None else WorkCounters()
        self._counts.tasks += 1
        self._counts.writes += 1
        self._counts.written_bytes += FILE_HEADER_BYTES

    def append(self, batches: Sequence[WalBatch]) -> None:
        """Hand the batches to the kernel, one frame each (an empty batch has none).

        All or nothing: after IOFailedError or NoSpaceError the log is as before and may be used again. Raises
        PoisonedError, now and from now on, if what was written could not be taken back.

        I/O: one gathered write (one more per 1,024 buffers of large values); a further one of 48 bytes for several batches.
        """
        if self.failed is not None or self._closed:
            raise self._refused()
        buffers: list[Buffer] = []
        end = self.length
        for batch in batches:
            if len(batch.keys):
                parts, size = encode_batch(batch, self.number, end, self.durable)
                buffers += parts
                end += size
        if end == self.length:
            return
        try:
            if len(batches) == 1:
                self._write(buffers, end - self.length, self.length)
            else:
                self._write_head_last(buffers, end - self.length)
        except OSError as error:
            self._take_back(error)
            raise io_failed("append", self.path, error) from error
        counts = self._counts
        counts.writes += -(-len(buffers) // IOV_MAX) if end - self.length > COPY_BYTES else 1
        counts.writes += len(batches) > 1
        counts.written_bytes += end - self.length
        self.length = end

    def sync(self) -> None:
        """Make everything appended so far durable, the file's name included.

        Raises PoisonedError, now and from now on, if the kernel cannot say that it did.

        I/O: one fdatasync, and one of the directory the first time; nothing if nothing is new.
        """
        if self.failed is not None or self._closed:
            raise self._refused()
        upto = self.length
        if upto == self.durable:
            return
        try:
            self._file.sync()
            self._counts.syncs += 1
            if not self._name_durable:
                self._fs.sync_dir(dirname(self.path) or ".")
                self._name_durable = True
        except OSError as error:
            raise self._poison(error) from error
        self.durable = upto

    def close(self) -> None:
        """Release the file without syncing it; a second call does nothing."""
        self._closed = True
        self._file.close()

    def _refused(self) -> ClosedError | PoisonedError:
        """Why the log takes no more frames."""
        return PoisonedError(self.path, self.failed.first) if self.failed is not None else ClosedError(self.path)

    def _write(self, buffers: list[Buffer], size: int, offset: int) -> None:
        """Write at ``offset``, continuing after short writes."""
        if size <= COPY_BYTES and len(buffers) > FEW_BUFFERS:
            buffers = [b"".join(buffers)]
        write_sized(self._file, buffers, size, offset)

    def _write_head_last(self, buffers: list[Buffer], size: int) -> None:
        """Write several frames at the end, the header of the first one when all the rest is there."""
        first = memoryview(buffers[0])
        rest = [first[FRAME_HEADER_BYTES:], *buffers[1:]]
        self._write(rest, size - FRAME_HEADER_BYTES, self.length + FRAME_HEADER_BYTES)
        self._write([first[:FRAME_HEADER_BYTES]], FRAME_HEADER_BYTES, self.length)

    def _take_back(self, cause: OSError) -> None:
        """Cut the file to its last good frame, durably: what was refused must not come back after a power cut."""
        try:
            self._file.truncate(self.length)
            self._file.sync()
        except OSError:
            raise self._poison(cause) from cause

    def _poison(self, cause: OSError) -> PoisonedError:
        """Write no more: it is unknown what is on disk."""
        self.failed = PoisonedError(self.path, cause)
        return self.failed


def _remove(fs: FileSystem, file: File) -> None:
    """Close and unlink a log that could not be begun."""
    file.close()
    try:
        fs.unlink(file.path)
    except OSError:
        return  # an empty log with a number of its own is harmless: the next opening reads nothing from it
