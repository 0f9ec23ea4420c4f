"""The real disk: :class:`lsmkv.env.fs.FileSystem` over Linux system calls.

One method is one system call wherever the system allows it, so that an ``I/O:`` line in a docstring can be read as
``strace`` would print it. Descriptors are opened close-on-exec: a server's child processes never inherit our files.

Not done here: retries, translation of errors, and alignment of direct I/O. The kernel refuses what is misaligned (EINVAL)
and callers decide. Closing a file while another thread reads from it is the caller's bug: readers keep a reference, and the
descriptor closes when the last one is dropped.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final, Literal

from lsmkv.env.aio import cached_bytes, open_queue
from lsmkv.env.fs import Advice, Buffer, FileLock, FileSystem, ReadQueue
from lsmkv.env.hurry import HURRY
from lsmkv.env.lock import lock_file

__all__ = ["PosixFile", "PosixFileSystem", "absolute", "anchored"]

_FLAGS: Final[dict[str, int]] = {
    "r": os.O_RDONLY | os.O_CLOEXEC,
    "rw": os.O_RDWR | os.O_CLOEXEC,
    "create": os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
}

_DIRECT: Final = getattr(os, "O_DIRECT", 0)  # absent on macOS, where direct files are refused

_ADVICE: Final[dict[str, int]] = (
    {name: getattr(os, f"POSIX_FADV_{name.upper()}") for name in ("random", "sequential", "willneed", "dontneed")}
    if hasattr(os, "posix_fadvise")
    else {}
)

_CLOSED: Final = (1 << 31) - 1
"""The descriptor of a closed file: the kernel answers EBADF (to -1 some functions of ``os`` raise ValueError instead)."""

_NOT_CACHED: Final = frozenset({errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""What a read that must not wait is answered: the bytes are not in memory, or this file system cannot tell."""

_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)

_CANNOT_ALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What file systems without preallocation answer to ``posix_fallocate``."""


class PosixFile:
    """An open descriptor; see :class:`lsmkv.env.fs.File`. Any method of a closed file raises OSError (EBADF)."""

    __slots__ = ("_fd", "direct", "path")

    def __init__(self, fd: int, path: str, *, direct: bool) -> None:
        """Own the descriptor ``fd``, which was opened from ``path``."""
        self._fd = fd
        self.path = path
        self.direct = direct

    @property
    def descriptor(self) -> int:
        """The number by which this process knows the file; below 0: it is closed."""
        return self._fd

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; in a hurry from memory or BlockingIOError. I/O: 1 read."""
        if HURRY.on:
            own = bytearray(size)
            done = self.preadv_cached([own], offset)
            if done < size:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), self.path)
            return bytes(own)
        return os.pread(self._fd, size, offset)

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill the buffers from ``offset``; bytes read. I/O: 1 scattered read."""
        return os.preadv(self._fd, buffers, offset)

    @property
    def tells_cached(self) -> bool:
        """Whether its file system can read what is in memory and nothing else. I/O: 1 read of nothing that is not in memory."""
        if not _NOWAIT or not hasattr(os, "sendfile"):
            return False
        try:
            os.preadv(self._fd, [bytearray(1)], 0, _NOWAIT)
        except OSError as error:
            return error.errno == errno.EAGAIN
        return True

    def preadv_cached(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill the buffers with what is in memory; bytes read. I/O: 1 scattered read that does not wait."""
        try:
            return os.preadv(self._fd, buffers, offset, _NOWAIT)
        except OSError as error:
            if error.errno not in _NOT_CACHED:
                raise
            return 0

    def fetch(self, offset: int, size: int) -> None:
        """Have these bytes in the page cache: they are sent to the null device, which takes references. I/O: 1 sendfile."""
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            while size > 0 and (done := os.sendfile(null, self._fd, offset, size)):
                offset += done
                size -= done
        finally:
            os.close(null)

    def holds(self, offset: int, size: int) -> bool | None:
        """Whether the page cache holds all of these bytes; None if the kernel (before 6.5) does not tell. I/O: 1 cachestat."""
        found = cached_bytes(self._fd, offset, size)
        return None if found is None else found >= size

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write the buffers at ``offset``; bytes written. I/O: 1 gathered write."""
        return os.pwritev(self._fd, buffers, offset)

    def sync(self) -> None:
        """Make contents and size durable. I/O: 1 fdatasync."""
        os.fdatasync(self._fd)

    def truncate(self, size: int) -> None:
        """Cut or extend to ``size`` bytes. I/O: 1 ftruncate."""
        os.ftruncate(self._fd, size)

    def allocate(self, size: int) -> None:
        """Reserve blocks for the first ``size`` bytes (only extend the file where the system cannot). I/O: 1 fallocate."""
        if size <= 0:
            return  # posix_fallocate calls a length of zero an error
        try:
            os.posix_fallocate(self._fd, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise
            if self.size() < size:
                os.ftruncate(self._fd, size)

    def size(self) -> int:
        """Length in bytes. I/O: 1 fstat."""
        return os.fstat(self._fd).st_size

    def advise(self, advice: Advice, offset: int = 0, size: int = 0) -> None:
        """Hint to the page cache; whatever the system thinks of it. I/O: 1 fadvise."""
        if advice in _ADVICE:
            try:
                os.posix_fadvise(self._fd, offset, size, _ADVICE[advice])
            except OSError:
                return  # a hint that is not taken changes nothing

    def close(self) -> None:
        """Release the descriptor; a second call does nothing. I/O: 1 close."""
        fd, self._fd = self._fd, _CLOSED
        if fd != _CLOSED:
            os.close(fd)

    def __del__(self) -> None:
        """Close when the last user drops the file."""
        fd = getattr(self, "_fd", _CLOSED)  # the constructor may not have run
        if fd != _CLOSED:
            self._fd = _CLOSED
            try:
                os.close(fd)
            except OSError:
                return  # nobody is left to be told


def absolute(path: str) -> str:
    """``path`` as it is meant now, wherever this process goes. Dots stay: behind a link only the kernel knows what they mean."""
    return os.path.join(os.getcwd(), path)


def anchored(path: str, fs: FileSystem | None) -> str:
    """:func:`absolute` if ``fs`` is the machine's (None: it is), as it was given on any other, whose names are its own.

    A store is opened once and uses its name for as long as it is open, and the program may change its directory meanwhile.
    """
    if fs is not None and not isinstance(fs, PosixFileSystem):
        return path
    try:
        return absolute(path)
    except FileNotFoundError:  # the working directory is gone: who opens the path meets that
        return path


class PosixFileSystem:
    """The operating system's files; see :class:`lsmkv.env.fs.FileSystem`. Holds no state: one is as good as another."""

    __slots__ = ()

    @property
    def bare(self) -> bool:
        """Whether another process finds the same bytes under the same names. A subclass must say so: it may change them."""
        return type(self) is PosixFileSystem

    @property
    def heeds_hurry(self) -> bool:
        """Whether its files do; a subclass whose files do not says so."""
        return bool(_NOWAIT)

    def read_queue(self, depth: int) -> ReadQueue | None:
        """A queue of direct reads of its files; None where the system has none. I/O: 1 io_setup."""
        return open_queue(depth)

    def open(self, path: str, mode: Literal["r", "rw", "create"] = "r", *, direct: bool = False) -> PosixFile:
        """Open a file. ``direct`` bypasses the page cache; OSError (EINVAL) where the file system refuses that. I/O: 1 open.

        Names may have to be read from the device: BlockingIOError in a hurry.
        """
        if HURRY.on:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
        flags = _FLAGS[mode]
        if direct:
            if not _DIRECT:
                raise OSError(errno.EINVAL, "direct I/O is not available on this system", path)
            flags |= _DIRECT
        return PosixFile(os.open(path, flags, 0o644), path, direct=direct)

    def rename(self, src: str, dst: str) -> None:
        """Atomically replace ``dst``. I/O: 1 rename."""
        os.replace(src, dst)

    def unlink(self, path: str) -> None:
        """Remove a file. I/O: 1 unlink."""
        os.unlink(path)

    def link(self, src: str, dst: str) -> None:
        """A second name for a file; FileExistsError if ``dst`` is there. I/O: 1 link."""
        os.link(src, dst)

    def mkdir(self, path: str) -> None:
        """Create a directory and its parents. I/O: 1 mkdir per missing level."""
        os.makedirs(path, exist_ok=True)

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, sorted. I/O: 1 directory scan."""
        return sorted(os.listdir(path))

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name. I/O: 1 stat."""
        return os.path.exists(path)

    def isdir(self, path: str) -> bool:
        """Whether a directory has this name. I/O: 1 stat."""
        return os.path.isdir(path)

    def size(self, path: str) -> int:
        """Length of a file in bytes. I/O: 1 stat."""
        return os.stat(path).st_size

    def sync_dir(self, path: str) -> None:
        """Make the names in a directory durable. I/O: 1 fsync."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: str) -> int:
        """Space left for us on the file system of ``path``. I/O: 1 statvfs."""
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize

    def lock(self, path: str) -> FileLock:
        """Lock the file ``path``; see :func:`lsmkv.env.lock.lock_file`. I/O: 1 open, 1 flock, 1 write."""
        return lock_file(path)
