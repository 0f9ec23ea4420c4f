"""A disk in memory that forgets like a real one: :class:`MemoryFileSystem`.

It implements :class:`lsmkv.env.fs.FileSystem` with the semantics POSIX grants and no more: writes are visible at once and
durable after :meth:`File.sync`, names are visible at once and durable after :meth:`FileSystem.sync_dir` of their directory
(a synced file in an unsynced directory is gone after a power cut). :meth:`MemoryFileSystem.crash` gives the disk as it would
be found after one::

    fs = MemoryFileSystem()
    ...                                # run something
    fs = fs.crash(seeded(7))           # and see what is left: some unsynced changes, some not, some torn

It also counts operations, calls a hook before each (to cut the power at every step in turn), fills up like a disk, and
checks the alignment of direct I/O. Everything is guarded by one lock.
"""

from __future__ import annotations

import errno
import posixpath
from collections import Counter
from collections.abc import Callable
from typing import Literal

from lsmkv.env.hurry import HURRY
from lsmkv.env.rng import Rng
from lsmkv.env.sync import RLock
from lsmkv.errors import LockedError
from lsmkv.testing.memdata import BLOCK_BYTES, Blocks, MemoryData
from lsmkv.testing.memfile import MemoryFile
from lsmkv.testing.memtree import Directory, Tree, os_error
from lsmkv.testing.queues import EmulatedQueue

__all__ = ["MemoryFileSystem", "MemoryLock"]


class MemoryLock:
    """An exclusive lock; see :class:`lsmkv.env.fs.FileLock`. A power cut ends it: the disk left over knows no locks."""

    def __init__(self, held: set[MemoryData], data: MemoryData) -> None:
        """Stand in ``held`` until released."""
        self._held = held
        self._data = data
        held.add(data)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._data in self._held:
            self._held.discard(self._data)
            self._held = set()


class MemoryFileSystem:
    """An in-memory disk that can crash.

    Args:
        capacity_bytes: size of the disk in bytes, rounded down to blocks of 4096; None: endless.
        direct: whether files may be opened for direct I/O (if not: OSError EINVAL, as many file systems answer).
        page_cache: whether files tell what was fetched into memory (:class:`lsmkv.env.fs.CachedReads`), and heed who hurries;
            nothing is there at first.
        queues: whether it has queues of reads (:class:`lsmkv.env.fs.QueuedReads`).

    Attributes:
        ops: how often each operation was called, by name.
        on_op: called with ``(operation, path)`` before each operation, outside the lock; it may raise, or call
            :meth:`power_off` or :meth:`crash`.
    """

    def __init__(
        self, *, capacity_bytes: int | None = None, direct: bool = True, page_cache: bool = False, queues: bool = False
    ) -> None:
        self.ops: Counter[str] = Counter()
        self.on_op: Callable[[str, str], None] | None = None
        self._disk = Blocks(None if capacity_bytes is None else capacity_bytes // BLOCK_BYTES)
        self._tree = Tree()
        self._locks: set[MemoryData] = set()
        self._guard = RLock()
        self._direct = direct
        self._page_cache = page_cache
        self._queues = queues
        self._off = False

    # -- what only a disk in memory can do

    def power_off(self) -> None:
        """From now on every operation, on open files too, raises OSError (EIO)."""
        self._off = True

    def crash(self, rng: Rng | None = None) -> MemoryFileSystem:
        """Cut the power; the disk as it is found afterwards.

        Without ``rng`` everything unsynced is lost; with it each unsynced change survives, is lost or is torn by chance.
        This disk is off then, but can be asked again: every call gives another disk, with another outcome per ``rng``.
        """
        with self._guard:
            self.power_off()
            left = MemoryFileSystem(direct=self._direct, page_cache=self._page_cache, queues=self._queues)
            left._disk.capacity = self._disk.capacity
            left._tree = self._tree.after_crash(left._disk, rng)
            return left

    def total_bytes(self, prefix: str = "/") -> int:
        """Bytes of all files whose absolute path begins with ``prefix`` (a file with two names counts once)."""
        with self._guard:
            return sum(len(data.data) for data in self._tree.files(prefix))

    def used_bytes(self) -> int:
        """Disk space in use, in whole blocks: reserved space, and removed files that are still open, included."""
        return self._disk.used * BLOCK_BYTES

    def unsynced_files(self) -> int:
        """How many files have changes that a power cut may lose."""
        with self._guard:
            return sum(1 for data in self._tree.files("/") if data.unsynced)

    # -- what every file system can do

    def open(self, path: str, mode: Literal["r", "rw", "create"] = "r", *, direct: bool = False) -> MemoryFile:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        if self._page_cache and HURRY.on:
            raise os_error(errno.EAGAIN, path)
        self._enter("open", path)
        with self._guard:
            if mode == "create":
                directory, name = self._tree.place(path)
                if name in directory.entries:
                    raise os_error(errno.EEXIST, path)
                data = MemoryData(self._disk)
                self._tree.change((directory, name, data))
            else:
                data = self._tree.file(path)
            if direct and not self._direct:  # after creating the name, as the kernel does it
                raise os_error(errno.EINVAL, path)
            return MemoryFile(
                path, data, mode=mode, direct=direct, guard=self._guard, enter=self._enter, page_cache=self._page_cache
            )

    @property
    def heeds_hurry(self) -> bool:
        """See :class:`lsmkv.env.fs.QueuedReads`."""
        return self._page_cache

    def read_queue(self, depth: int) -> EmulatedQueue | None:
        """See :class:`lsmkv.env.fs.QueuedReads`."""
        return EmulatedQueue(depth) if self._queues else None

    def rename(self, src: str, dst: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`. Directories only replace empty ones."""
        self._enter("rename", src)
        with self._guard:
            source, old = self._tree.place(src)
            target, new = self._tree.place(dst)
            node = source.entries.get(old)
            if node is None:
                raise os_error(errno.ENOENT, src)
            there = target.entries.get(new)
            if there is node:
                return  # two names of one file: POSIX leaves both
            if isinstance(node, Directory) and posixpath.normpath(dst).startswith(posixpath.normpath(src) + "/"):
                raise os_error(errno.EINVAL, dst)
            if there is not None and isinstance(there, Directory) != isinstance(node, Directory):
                raise os_error(errno.EISDIR if isinstance(there, Directory) else errno.ENOTDIR, dst)
            if isinstance(there, Directory) and there.entries:
                raise os_error(errno.ENOTEMPTY, dst)
            self._tree.change((target, new, node), (source, old, None))

    def unlink(self, path: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self._enter("unlink", path)
        with self._guard:
            self._tree.file(path)
            directory, name = self._tree.place(path)
            self._tree.change((directory, name, None))

    def link(self, src: str, dst: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self._enter("link", src)
        with self._guard:
            node = self._tree.find(src)
            if node is None:
                self._tree.file(src)  # raises the error that says why there is none
            directory, name = self._tree.place(dst)
            if name in directory.entries:
                raise os_error(errno.EEXIST, dst)
            if not isinstance(node, MemoryData):
                raise os_error(errno.EPERM, src)
            self._tree.change((directory, name, node))

    def mkdir(self, path: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`. The new names are durable once *their* directories are synced."""
        self._enter("mkdir", path)
        with self._guard:
            where = "/"
            for part in posixpath.normpath(posixpath.join("/", path)).split("/"):
                where = posixpath.join(where, part)
                node = self._tree.find(where)
                if node is None:
                    directory, name = self._tree.place(where)
                    self._tree.change((directory, name, Directory()))
                elif not isinstance(node, Directory):
                    last = where == posixpath.normpath(posixpath.join("/", path))
                    raise os_error(errno.EEXIST if last else errno.ENOTDIR, path)

    def listdir(self, path: str) -> list[str]:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self._enter("listdir", path)
        with self._guard:
            return sorted(self._tree.directory(path).entries)

    def exists(self, path: str) -> bool:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self._enter("exists", path)
        with self._guard:
            return self._tree.find(path) is not None

    def isdir(self, path: str) -> bool:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self._enter("isdir", path)
        with self._guard:
            return isinstance(self._tree.find(path), Directory)

    def size(self, path: str) -> int:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self._enter("stat", path)
        with self._guard:
            return len(self._tree.file(path).data)

    def sync_dir(self, path: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self._enter("sync_dir", path)
        with self._guard:
            self._tree.sync(self._tree.directory(path))

    def free_bytes(self, path: str) -> int:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self._enter("free_bytes", path)
        with self._guard:
            if self._tree.find(path) is None:
                raise os_error(errno.ENOENT, path)
            return self._disk.free() * BLOCK_BYTES

    def lock(self, path: str) -> MemoryLock:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self._enter("lock", path)
        with self._guard:
            if self._tree.find(path) is None:
                directory, name = self._tree.place(path)
                self._tree.change((directory, name, MemoryData(self._disk)))
            data = self._tree.file(path)
            if data in self._locks:
                raise LockedError(posixpath.dirname(path) or path, "a user of the same in-memory disk")
            return MemoryLock(self._locks, data)

    def _enter(self, op: str, path: str) -> None:
        """Count an operation and let the hook have its say; OSError (EIO) when the power is off."""
        self.ops[op] += 1
        if self.on_op is not None and not self._off:
            self.on_op(op, path)
        if self._off:
            raise os_error(errno.EIO, path)
