"""The segment files of a store: creating, opening, removing, and a bounded set of open readers.

Reads go through the page cache (a direct write invalidates the cached range, so the two agree) unless the store is opened to read
past it; writes bypass it where the file system lets them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable
from contextlib import suppress
from itertools import count
from posixpath import join
from typing import NamedTuple

from lsmkv.env.fs import CachedReads, File, FileSystem, QueuedReads
from lsmkv.env.sync import Lock
from lsmkv_tensor.errors import IOFailedError, io_failed
from lsmkv_tensor.vlog.direct import DirectReads, PassingReads, Readable
from lsmkv_tensor.vlog.disks import DISK_SHIFT, Disks
from lsmkv_tensor.vlog.staging import StagingPool

__all__ = ["MAX_OPEN", "IoModes", "Opened", "SegmentFiles"]

MAX_OPEN = 128
"""Segment files held open for reading; the least recently used is let go (it closes when its last reader drops it). Each is open
twice where it is also read past the page cache."""

_SUFFIX = ".seg"


class IoModes(NamedTuple):
    """How the segments of a store are read and written."""

    direct_writes: bool
    """With O_DIRECT."""
    direct_reads: bool = False
    """With O_DIRECT."""
    keep_cached: bool = True
    """What went through the page cache may stay there."""

    @classmethod
    def chosen(cls, direct_io: str, works: bool, keep_cached: bool) -> IoModes:
        """What the options ask for, where the file system may not take O_DIRECT."""
        return cls(works and direct_io != "off", works and direct_io == "always", keep_cached)


class Opened(NamedTuple):
    """A segment that is open for reading."""

    file: Readable
    """The way it is read by whoever has time."""
    cached: CachedReads | None
    """The same file for reads that never wait for the device; None if its file system has none, or it is not to be cached."""
    direct: File | None
    """For aligned reads past the page cache; None if they are not wanted, or not to be had."""


class SegmentFiles:
    """Files ``{number:06d}.seg`` of ``segment_bytes`` each, on one disk or several."""

    def __init__(self, fs: FileSystem, disks: Disks, segment_bytes: int, modes: IoModes) -> None:
        self._fs = fs
        self._modes = modes
        self._staging = StagingPool()
        self.disks = disks
        self.segment_bytes = segment_bytes
        self._readers: OrderedDict[int, Opened] = OrderedDict()
        self._forgotten = 0
        """How often a segment was let go of: what was being opened then may be the file that went."""
        self._lock = Lock()
        self._tells_cached = True
        self._writer: tuple[int, File] | None = None
        self._new_names = {home for disk, home in disks.homes.items() if disk not in disks.failed}
        """Directories with names that may not be durable; whoever had the store before may have ended before it synced them."""

    @property
    def modes(self) -> IoModes:
        """How segments are read and written."""
        return self._modes

    def path(self, number: int) -> str:
        """Path of a segment."""
        return join(self.disks.home(number), f"{number:06d}{_SUFFIX}")

    def on_disk(self) -> dict[int, int]:
        """Number -> length in bytes of every segment file there is. Anything else in their directories is removed.

        A disk that cannot be listed is given up; OSError if that is the first. I/O: a listing a disk, one stat a file.
        """
        found: dict[int, int] = {}
        for disk, home in self.disks.homes.items():
            if disk in self.disks.failed:
                continue
            try:
                found |= self._on_disk(disk, home)
            except OSError:
                if not disk or not self.disks.give_up(disk << DISK_SHIFT):
                    raise
        return found

    def _on_disk(self, disk: int, home: str) -> dict[int, int]:
        """:meth:`on_disk` for one disk."""
        found: dict[int, int] = {}
        for name in self._fs.listdir(home):
            stem = name.removesuffix(_SUFFIX)
            path = join(home, name)
            ours = name.endswith(_SUFFIX) and stem.isdigit() and name == f"{int(stem):06d}{_SUFFIX}"
            if ours and int(stem) >> DISK_SHIFT == disk:
                found[int(stem)] = self._fs.size(path)
            elif not self._fs.isdir(path):
                self._fs.unlink(path)
        return found

    def new_numbers(self, used: Container[int]) -> list[int]:
        """A number for a new segment on each disk that works, the one with the most free space first. I/O: a question a disk."""
        ways = []
        for disk, home in self.disks.homes.items():
            if disk not in self.disks.failed:
                base = disk << DISK_SHIFT
                n = next(n for n in count(1) if base + n not in used)
                ways.append((-(self._free(home) // self.segment_bytes), n, base + n))
        return [number for _, _, number in sorted(ways)]

    def create(self, number: int) -> None:
        """A new file with all its blocks reserved. NoSpaceError or IOFailedError; nothing is left behind then.

        Its name is durable after :meth:`sync_names`. I/O: one create, one fallocate.
        """
        path = self.path(number)
        try:
            file = self._fs.open(path, "create")
            try:
                file.allocate(self.segment_bytes)
            finally:
                file.close()
            self._new_names.add(self.disks.home(number))
        except OSError as error:
            self._forget_file(number)
            op = "allocating a segment"
            raise io_failed(op, path, error) from error

    def sync_names(self) -> None:
        """Make the names of new files durable. OSError.

        I/O: a directory sync a disk after files were made there, and once after opening.
        """
        while self._new_names:
            home = self._new_names.pop()
            try:
                self._fs.sync_dir(home)
            except OSError:
                self._new_names.add(home)
                raise

    def restore_length(self, number: int) -> None:
        """Reserve all blocks of a file that a crash left short. Errors as :meth:`create`. I/O: one fallocate."""
        path = self.path(number)
        try:
            file = self._fs.open(path, "rw")
            try:
                file.allocate(self.segment_bytes)
            finally:
                file.close()
        except OSError as error:
            op = "extending a segment"
            raise io_failed(op, path, error) from error

    def unlink(self, number: int) -> None:
        """Remove a file; nothing happens if it is gone (one that a power cut brings back has no record). I/O: one unlink."""
        self.forget(number)
        path = self.path(number)
        try:
            self._fs.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            op = "removing a segment"
            raise io_failed(op, path, error) from error
        finally:
            self.forget(number)  # whoever looks for pages that are gone may have opened it since

    def free_bytes(self) -> int:
        """Free space of the disk that has the most; without an answer, as if there were plenty. I/O: one question a disk."""
        return max(self._free(home) for disk, home in self.disks.homes.items() if disk not in self.disks.failed)

    def _free(self, home: str) -> int:
        """Free space of one disk."""
        try:
            return self._fs.free_bytes(home)
        except OSError:
            return 1 << 62

    def reader(self, number: int) -> Readable:
        """The file to read a segment from. OSError if it cannot be opened. I/O: at most two opens."""
        found = self.peek(number)
        return (self._open(number) if found is None else found).file

    def peek(self, number: int) -> Opened | None:
        """A segment, if it is open. I/O: none."""
        with self._lock:
            found = self._readers.get(number)
            if found is not None:
                self._readers.move_to_end(number)
            return found

    def opened(self, numbers: Iterable[int]) -> dict[int, Opened]:
        """Segments, opened if they are not; those that cannot be opened are left out. I/O: at most two opens each."""
        found: dict[int, Opened] = {}
        for number in numbers:
            with suppress(OSError):  # whoever reads it in earnest will tell of it
                found[number] = self.peek(number) or self._open(number)
        return found

    def _open(self, number: int) -> Opened:
        """Open a segment, and have it found, unless its file may have gone meanwhile. OSError.

        Whoever reads by a deadline holds no segment, and may leave an opening that hangs: it must not be found when the number
        has another file.
        """
        path, forgotten = self.path(number), self._forgotten
        file = self._open_reader(path)
        cached = None
        if self._modes.keep_cached and not self._modes.direct_reads and isinstance(file, CachedReads):
            cached = file if file.tells_cached else None
        direct: File | None = None
        if self._modes.direct_writes and isinstance(self._fs, QueuedReads):
            with suppress(OSError):
                direct = self._fs.open(path, "r", direct=True)
        opened = Opened(file, cached, direct)
        with self._lock:
            if self._forgotten != forgotten:
                return opened
            opened = self._readers.setdefault(number, opened)
            while len(self._readers) > MAX_OPEN:
                self._readers.popitem(last=False)
        return opened

    @property
    def may_tell_cached(self) -> bool:
        """Whether :meth:`cached_reader` is worth asking: no file of this store has said no, and what is read may stay cached."""
        return self._tells_cached and self._modes.keep_cached and not self._modes.direct_reads

    def cached_reader(self, number: int) -> CachedReads | None:
        """The same file for reads that never wait for the device; None if its file system has none.

        Errors, I/O: as :meth:`reader`.
        """
        opened = self.peek(number) or self._open(number)
        if opened.cached is None:
            self._tells_cached = False
        return opened.cached

    def _open_reader(self, path: str) -> Readable:
        """A segment opened the way it is to be read."""
        if self._modes.direct_reads:
            return DirectReads(self._fs.open(path, "r", direct=True), self._staging)
        file = self._fs.open(path, "r")
        return file if self._modes.keep_cached else PassingReads(file)

    def writer(self, number: int) -> File:
        """The file to write a segment through; one is open at a time. OSError. I/O: at most one open."""
        writer = self._writer
        if writer is None or writer[0] != number:
            writer = self._writer = (number, self._fs.open(self.path(number), "rw", direct=self._modes.direct_writes))
        return writer[1]

    def close_writer(self) -> None:
        """Let go of the file being written (it closes when a sync still running on it has ended)."""
        self._writer = None

    def forget(self, number: int) -> None:
        """Let go of every handle on a segment."""
        with self._lock:
            self._forgotten += 1
            self._readers.pop(number, None)
        if self._writer is not None and self._writer[0] == number:
            self.close_writer()

    def synced(self, file: File) -> None:
        """What was written through this file is durable: it need not stay in the page cache if the store is to keep out of it."""
        if not (self._modes.keep_cached or file.direct):
            file.advise("dontneed")

    def drop_cached(self, number: int) -> None:
        """Tell the page cache that a segment's old contents will not be read again."""
        try:
            self.reader(number).advise("dontneed")
        except OSError:
            return

    def read_failure(self, disk: int) -> IOFailedError:
        """What is said of a disk from which pages could not be read."""
        return IOFailedError("reading pages", self.disks.homes[disk])

    def close(self) -> None:
        """Let go of everything."""
        self.close_writer()
        with self._lock:
            self._readers.clear()

    def _forget_file(self, number: int) -> None:
        """Remove what a failed creation left, if it can be removed; else the next opening does."""
        with suppress(OSError):
            self._fs.unlink(self.path(number))
        self.forget(number)
