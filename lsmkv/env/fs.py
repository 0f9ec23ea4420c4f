"""The file-system seam: everything the project does to a disk goes through these protocols.

Paths are plain strings. Every method raises :class:`OSError` as the operating system would; callers translate it
(:func:`lsmkv.errors.io_failed`). All I/O is positional; like the system calls, ``preadv`` may return fewer bytes at the
end of the file and ``pwritev`` may write fewer than asked: use :func:`read_exact` and :func:`write_all`.
A file closes its descriptor when :meth:`File.close` is called or when its last user drops it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from posixpath import dirname
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

__all__ = [
    "IOV_MAX",
    "Advice",
    "Begin",
    "Buffer",
    "CachedReads",
    "Ended",
    "File",
    "FileLock",
    "FileSystem",
    "QueuedReads",
    "ReadQueue",
    "make_durable_dir",
    "read_exact",
    "write_all",
    "write_sized",
]

Buffer: TypeAlias = bytes | bytearray | memoryview | NDArray[Any]
"""Anything with contiguous bytes; read targets must be writable."""

Advice: TypeAlias = Literal["random", "sequential", "willneed", "dontneed"]

IOV_MAX = 1024
"""Most buffers one gathered or scattered system call may carry (Linux)."""


@runtime_checkable
class File(Protocol):
    """An open regular file."""

    @property
    def path(self) -> str:
        """The path it was opened with."""
        ...

    @property
    def direct(self) -> bool:
        """Whether I/O bypasses the page cache (buffers, offsets and sizes must then be multiples of 4096)."""
        ...

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``."""
        ...

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill the buffers in order from ``offset``; the number of bytes read (at most IOV_MAX buffers)."""
        ...

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write the buffers in order at ``offset``; the number of bytes written, possibly fewer than given."""
        ...

    def sync(self) -> None:
        """Make the contents (and the size) durable: fdatasync."""
        ...

    def truncate(self, size: int) -> None:
        """Cut or extend to ``size`` bytes."""
        ...

    def allocate(self, size: int) -> None:
        """Reserve disk blocks for the first ``size`` bytes and extend the file to it: posix_fallocate."""
        ...

    def size(self) -> int:
        """Length in bytes."""
        ...

    def advise(self, advice: Advice, offset: int = 0, size: int = 0) -> None:
        """Hint to the page cache (size 0: to the end); never fails where unsupported."""
        ...

    def close(self) -> None:
        """Release the descriptor; a second call does nothing."""
        ...


@runtime_checkable
class CachedReads(Protocol):
    """What a file may offer besides: to read what the page cache holds and nothing else, so that no device holds anybody up."""

    @property
    def tells_cached(self) -> bool:
        """Whether its file system can do that."""
        ...

    def preadv_cached(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill the buffers from ``offset`` as far as the page cache holds the bytes; how many that were, 0 if none."""
        ...

    def fetch(self, offset: int, size: int) -> None:
        """Have these bytes in the page cache: waits for the device, and copies them nowhere."""
        ...

    def holds(self, offset: int, size: int) -> bool | None:
        """Whether the page cache holds all of these bytes, without having it read any; None if that cannot be told."""
        ...


Begin: TypeAlias = tuple[int, File, memoryview, int]
"""A read to begin: the caller's number for it, a direct file, the memory to fill (aligned as its device wants it), the offset."""

Ended: TypeAlias = tuple[int, int]
"""A read that has ended: its number, and how many bytes it brought; below 0 it failed, and that is the negative errno."""


class ReadQueue(Protocol):
    """Reads under way, of one thread at a time: begun without waiting for the device, and waited for only so long."""

    @property
    def waiting(self) -> int:
        """Reads that have not ended; their memory is the device's until they have."""
        ...

    def begin(self, reads: Sequence[Begin]) -> int:
        """Begin these reads, as far as there is room; how many of the first. OSError if it takes none of this kind."""
        ...

    def ended(self, least: int, seconds: float | None) -> list[Ended]:
        """The reads that have ended since; waits for so many, and so long at most. It may come back sooner, with fewer."""
        ...

    def close(self) -> None:
        """Give it back; reads still under way go on, and nobody is told of them."""
        ...


@runtime_checkable
class QueuedReads(Protocol):
    """What a file system may offer besides: queues of reads, and files that heed :data:`lsmkv.env.hurry.HURRY`."""

    @property
    def heeds_hurry(self) -> bool:
        """Whether opening and ``pread`` raise BlockingIOError at once, instead of waiting, in a thread that hurries."""
        ...

    def read_queue(self, depth: int) -> ReadQueue | None:
        """A queue for at most so many reads at a time; None if there is none to be had."""
        ...


class FileLock(Protocol):
    """An exclusive lock on a directory, held until released or until the process dies."""

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        ...


class FileSystem(Protocol):
    """What the engine asks of a disk."""

    def open(self, path: str, mode: Literal["r", "rw", "create"] = "r", *, direct: bool = False) -> File:
        """Open a file: existing to read, existing to read and write, or new (FileExistsError if it is there)."""
        ...

    def rename(self, src: str, dst: str) -> None:
        """Atomically replace ``dst``; durable after :meth:`sync_dir`."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a file; FileNotFoundError if absent."""
        ...

    def link(self, src: str, dst: str) -> None:
        """A second name for an immutable file (may raise OSError where unsupported)."""
        ...

    def mkdir(self, path: str) -> None:
        """Create a directory and its parents; nothing happens if it exists."""
        ...

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, sorted."""
        ...

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""
        ...

    def isdir(self, path: str) -> bool:
        """Whether a directory has this name."""
        ...

    def size(self, path: str) -> int:
        """Length of a file in bytes."""
        ...

    def sync_dir(self, path: str) -> None:
        """Make the names in a directory durable."""
        ...

    def free_bytes(self, path: str) -> int:
        """Free space available to us on the file system of ``path``."""
        ...

    def lock(self, path: str) -> FileLock:
        """Lock the file ``path`` exclusively, creating it; LockedError if this or another process holds it."""
        ...


class Readable(Protocol):
    """What can be read at a place; ``pread`` is that of :class:`File`."""

    @property
    def path(self) -> str:
        """The name it was opened by."""
        ...

    @property
    def pread(self) -> Callable[[int, int], bytes]:
        """Up to so many bytes from an offset."""
        ...


def read_exact(file: Readable, size: int, offset: int) -> bytes:
    """Exactly ``size`` bytes, or EOFError naming how many there were.

    I/O: one read system call (more only when the kernel returns early).
    """
    data = file.pread(size, offset)
    while len(data) < size:
        more = file.pread(size - len(data), offset + len(data))
        if not more:
            msg = f"{file.path}: wanted {size} bytes at {offset}, found {len(data)}"
            raise EOFError(msg)
        data += more
    return data


def write_all(file: File, buffers: Sequence[Buffer], offset: int) -> int:
    """Write every byte of the buffers at ``offset``; the number of bytes written.

    Splits at IOV_MAX and continues after short writes. On error the file may hold a prefix of the data.

    I/O: one gathered write per IOV_MAX buffers.
    """
    views = [memoryview(b).cast("B") for b in buffers if memoryview(b).nbytes]
    start = offset
    while views:
        done = file.pwritev(views[:IOV_MAX], offset)
        offset += done
        taken = 0
        while taken < len(views) and done >= len(views[taken]):
            done -= len(views[taken])
            taken += 1
        views = views[taken:]
        if done:
            views[0] = views[0][done:]
    return offset - start


def write_sized(file: File, buffers: Sequence[Buffer], size: int, offset: int) -> None:
    """As :func:`write_all`, of buffers of bytes that are ``size`` bytes together: none of them is looked at first.

    I/O: as :func:`write_all`.
    """
    done = file.pwritev(buffers, offset) if len(buffers) <= IOV_MAX else 0
    if done == size:
        return
    left = list(buffers)
    at = 0
    while left and at + len(left[0]) <= done:
        at += len(left.pop(0))
    left[0] = memoryview(left[0])[done - at :]
    write_all(file, left, offset + done)


def make_durable_dir(fs: FileSystem, path: str) -> None:
    """Create a directory, and its parents as needed, so that a power cut cannot take it away again.

    I/O: nothing if it exists; else one directory sync per directory that gained a name.
    """
    missing: list[str] = []
    at = path.rstrip("/") or "/"
    while not fs.exists(at):
        missing.append(at)
        at = dirname(at) or "."
    if not missing and not fs.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
    fs.mkdir(path)
    for made in reversed(missing):
        fs.sync_dir(dirname(made) or ".")
