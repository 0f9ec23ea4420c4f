"""A file system that only looks: what the tools that inspect a store are given.

Whoever holds one cannot change the store it looks at, not by mistake either: every change is refused (EROFS). So looking
needs no lock and works beside a live writer.
"""

from __future__ import annotations

import errno
from typing import Literal, NoReturn

from lsmkv.env.fs import File, FileLock, FileSystem

__all__ = ["ReadOnly"]


class ReadOnly:
    """``inner`` without its verbs; see :class:`lsmkv.env.fs.FileSystem`."""

    __slots__ = ("_inner",)

    def __init__(self, inner: FileSystem) -> None:
        self._inner = inner

    def open(self, path: str, mode: Literal["r", "rw", "create"] = "r", *, direct: bool = False) -> File:
        """Open a file for reading; OSError (EROFS) for any other mode. I/O: 1 open."""
        if mode != "r":
            _refuse(path)
        return self._inner.open(path, "r", direct=direct)

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, sorted. I/O: 1 directory scan."""
        return self._inner.listdir(path)

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name. I/O: 1 stat."""
        return self._inner.exists(path)

    def isdir(self, path: str) -> bool:
        """Whether a directory has this name. I/O: 1 stat."""
        return self._inner.isdir(path)

    def size(self, path: str) -> int:
        """Length of a file in bytes. I/O: 1 stat."""
        return self._inner.size(path)

    def free_bytes(self, path: str) -> int:
        """Free space on the file system of ``path``. I/O: 1 statvfs."""
        return self._inner.free_bytes(path)

    def rename(self, src: str, dst: str) -> None:
        """Refused."""
        del dst
        _refuse(src)

    def unlink(self, path: str) -> None:
        """Refused."""
        _refuse(path)

    def link(self, src: str, dst: str) -> None:
        """Refused."""
        del src
        _refuse(dst)

    def mkdir(self, path: str) -> None:
        """Refused."""
        _refuse(path)

    def sync_dir(self, path: str) -> None:
        """Refused: whoever changes nothing has nothing to make durable."""
        _refuse(path)

    def lock(self, path: str) -> FileLock:
        """Refused: locking writes the owner's name."""
        _refuse(path)


def _refuse(path: str) -> NoReturn:
    """Say no."""
    raise OSError(errno.EROFS, "this view of the file system is read-only", path)
