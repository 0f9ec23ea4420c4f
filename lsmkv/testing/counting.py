"""A file system that counts what is asked of it, for tests that hold a promise about I/O against the disk.

::

    disk = CountingFileSystem(MemoryFileSystem())
    ...
    assert disk.calls("read", "*.sst") == 1
    assert disk.bytes("write", "MANIFEST*") < 200

Operations: ``open create read fetch write sync truncate allocate`` of files (``read`` is ``pread``, ``preadv`` and
``preadv_cached``, ``write`` is ``pwritev``; these and ``fetch`` have bytes) and ``rename unlink link mkdir listdir sync_dir
lock`` of the file system. Paths are shell patterns as in :mod:`lsmkv.testing.faults`; a rename or link counts under the path it
leaves. Calls that failed are not counted.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

from lsmkv.env.fs import Advice, Buffer, CachedReads, File, FileLock, FileSystem
from lsmkv.env.sync import Lock

__all__ = ["CountingFileSystem"]


class CountingFileSystem:
    """Passes everything to ``inner`` and remembers how often, and how many bytes. Thread-safe."""

    def __init__(self, inner: FileSystem) -> None:
        self.inner = inner
        self._told: dict[tuple[str, str], tuple[int, int]] = {}
        self._lock = Lock()

    def calls(self, op: str, path: str = "*") -> int:
        """How often an operation was done on paths that match."""
        return sum(calls for calls, _ in self._matching(op, path))

    def bytes(self, op: str, path: str = "*") -> int:
        """How many bytes it moved there."""
        return sum(size for _, size in self._matching(op, path))

    def clear(self) -> None:
        """Count from zero again."""
        with self._lock:
            self._told = {}

    def note(self, op: str, path: str, size: int = 0) -> None:
        """Count one operation."""
        with self._lock:
            calls, total = self._told.get((op, path), (0, 0))
            self._told[op, path] = calls + 1, total + size

    def _matching(self, op: str, pattern: str) -> list[tuple[int, int]]:
        """The counts of an operation, one pair for each path."""
        with self._lock:
            return [
                told
                for (done, path), told in self._told.items()
                if done == op and (fnmatchcase(path, pattern) or fnmatchcase(posixpath.basename(path), pattern))
            ]

    def open(self, path: str, mode: Literal["r", "rw", "create"] = "r", *, direct: bool = False) -> File:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        file = self.inner.open(path, mode, direct=direct)
        self.note("create" if mode == "create" else "open", path)
        return _CountingFile(self, file)

    def rename(self, src: str, dst: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.inner.rename(src, dst)
        self.note("rename", src)

    def unlink(self, path: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.inner.unlink(path)
        self.note("unlink", path)

    def link(self, src: str, dst: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.inner.link(src, dst)
        self.note("link", src)

    def mkdir(self, path: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.inner.mkdir(path)
        self.note("mkdir", path)

    def listdir(self, path: str) -> list[str]:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.note("listdir", path)
        return self.inner.listdir(path)

    def exists(self, path: str) -> bool:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        return self.inner.exists(path)

    def isdir(self, path: str) -> bool:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        return self.inner.isdir(path)

    def size(self, path: str) -> int:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        return self.inner.size(path)

    def sync_dir(self, path: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.inner.sync_dir(path)
        self.note("sync_dir", path)

    def free_bytes(self, path: str) -> int:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        return self.inner.free_bytes(path)

    def lock(self, path: str) -> FileLock:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        lock = self.inner.lock(path)
        self.note("lock", path)
        return lock


class _CountingFile:
    """An open file that tells what it does; see :class:`lsmkv.env.fs.File`."""

    __slots__ = ("_disk", "_inner", "direct", "path")

    def __init__(self, disk: CountingFileSystem, inner: File) -> None:
        self._disk = disk
        self._inner = inner
        self.path = inner.path
        self.direct = inner.direct

    def pread(self, size: int, offset: int) -> bytes:
        """See :class:`lsmkv.env.fs.File`."""
        data = self._inner.pread(size, offset)
        self._disk.note("read", self.path, len(data))
        return data

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """See :class:`lsmkv.env.fs.File`."""
        done = self._inner.preadv(buffers, offset)
        self._disk.note("read", self.path, done)
        return done

    @property
    def tells_cached(self) -> bool:
        """See :class:`lsmkv.env.fs.CachedReads`."""
        return isinstance(self._inner, CachedReads) and self._inner.tells_cached

    def preadv_cached(self, buffers: Sequence[Buffer], offset: int) -> int:
        """See :class:`lsmkv.env.fs.CachedReads`."""
        done = self._inner.preadv_cached(buffers, offset) if isinstance(self._inner, CachedReads) else 0
        self._disk.note("read", self.path, done)
        return done

    def fetch(self, offset: int, size: int) -> None:
        """See :class:`lsmkv.env.fs.CachedReads`."""
        if isinstance(self._inner, CachedReads):
            self._inner.fetch(offset, size)
        self._disk.note("fetch", self.path, size)

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        """See :class:`lsmkv.env.fs.File`."""
        done = self._inner.pwritev(buffers, offset)
        self._disk.note("write", self.path, done)
        return done

    def sync(self) -> None:
        """See :class:`lsmkv.env.fs.File`."""
        self._inner.sync()
        self._disk.note("sync", self.path)

    def truncate(self, size: int) -> None:
        """See :class:`lsmkv.env.fs.File`."""
        self._inner.truncate(size)
        self._disk.note("truncate", self.path)

    def allocate(self, size: int) -> None:
        """See :class:`lsmkv.env.fs.File`."""
        self._inner.allocate(size)
        self._disk.note("allocate", self.path)

    def size(self) -> int:
        """See :class:`lsmkv.env.fs.File`."""
        return self._inner.size()

    def advise(self, advice: Advice, offset: int = 0, size: int = 0) -> None:
        """See :class:`lsmkv.env.fs.File`."""
        self._inner.advise(advice, offset, size)

    def close(self) -> None:
        """See :class:`lsmkv.env.fs.File`."""
        self._inner.close()
