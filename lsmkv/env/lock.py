"""One writer per directory: an exclusive ``flock`` on a lock file, and a registry of the locks this process holds.

The kernel decides. A lock lives with the open file description, so it ends with the process however that ends, and a
dead owner is no obstacle. What stands *in* the file (process, host, boot id) only feeds the message of
:class:`~lsmkv.errors.LockedError`. The registry covers file systems that emulate ``flock`` by per-process record locks
(NFS), where a second lock by the same process would succeed.

``fork`` shares the open file description between parent and child: unlocking in the child would unlock the parent, merely
*keeping* the descriptor would hold the lock after the parent's death. So the child closes its copies, unlocks nothing, and
its :class:`PosixLock` objects are released ones.

The lock file is never removed: unlinking it would let a second process lock a new file of the same name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
from pathlib import Path
from typing import Final

from lsmkv.errors import LockedError

__all__ = ["PosixLock", "boot_id", "lock_file"]

_OWNER_BYTES: Final = 4096
"""Most that is read of a lock file when looking for the owner's description."""

_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"

_held: dict[tuple[int, int], PosixLock] = {}
"""Locks of this process by (device, inode) of the lock file."""

_guard = threading.Lock()


class PosixLock:
    """An exclusive lock on an open lock file; see :class:`lsmkv.env.fs.FileLock`."""

    __slots__ = ("_fd", "_identity", "path")

    def __init__(self, fd: int, path: str, identity: tuple[int, int]) -> None:
        """Own the locked descriptor ``fd`` of ``path``, whose device and inode are ``identity``."""
        self._fd = fd
        self._identity = identity
        self.path = path

    def release(self) -> None:
        """Give the lock back; a second call does nothing. I/O: 1 flock, 1 close."""
        with _guard:
            fd, self._fd = self._fd, -1
            if fd < 0:
                return
            _held.pop(self._identity, None)
            try:
                # Explicitly: between fork and exec a child of another thread still holds a copy of the descriptor.
                fcntl.flock(fd, fcntl.LOCK_UN)
            finally:
                os.close(fd)

    def forget(self) -> None:
        """Close the descriptor without unlocking (in a forked child: the lock is the parent's)."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def lock_file(path: str) -> PosixLock:
    """Lock ``path`` exclusively, creating it, and write who we are into it.

    Raises :class:`~lsmkv.errors.LockedError` when this or another process holds it, naming the owner; OSError when the
    file cannot be opened or its file system cannot lock.

    I/O: 1 open, 1 flock, 2 stats, 1 write.
    """
    with _guard:
        while True:
            _refuse_if_held(path)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                identity = _take(fd, path)
                if identity is None:
                    os.close(fd)
                    continue  # the file was replaced between open and flock: lock the one that has the name now
                _write_owner(fd)
            except BaseException:
                os.close(fd)
                raise
            lock = PosixLock(fd, path, identity)
            _held[identity] = lock
            return lock


def _refuse_if_held(path: str) -> None:
    """Raise LockedError if this process holds the file: before opening it, as closing a copy would drop a record lock."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return
    if (stat.st_dev, stat.st_ino) in _held:
        raise LockedError(os.path.dirname(path) or path, f"this process ({os.getpid()})")


def _take(fd: int, path: str) -> tuple[int, int] | None:
    """Lock ``fd``: its (device, inode), or None if ``path`` names another file by now."""
    stat = os.fstat(fd)
    identity = (stat.st_dev, stat.st_ino)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise LockedError(os.path.dirname(path) or path, _read_owner(fd)) from None
        raise
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return None
    return identity if (named.st_dev, named.st_ino) == identity else None


def boot_id() -> str:
    """What tells this boot of this machine from others; empty where the system does not say."""
    try:
        return Path(_BOOT_ID).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _write_owner(fd: int) -> None:
    """Describe this process in the lock file. A full disk must not keep anyone from opening: the text is only for messages."""
    text = f"pid {os.getpid()}\nhost {socket.gethostname()}\nboot {boot_id()}\n"
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, text.encode(), 0)
    except OSError:
        return


def _read_owner(fd: int) -> str:
    """The owner as a phrase for a message; empty if the file does not tell."""
    try:
        text = os.pread(fd, _OWNER_BYTES, 0).decode("utf-8", "replace")
    except OSError:
        return ""
    facts = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    if "pid" not in facts:
        return ""
    owner = f"process {facts['pid']}"
    if facts.get("host"):
        owner += f" on {facts['host']}"
    boot = facts.get("boot", "")
    if boot and boot != boot_id():
        return f"{owner} (another boot or machine)"
    if boot and facts.get("host") == socket.gethostname() and facts["pid"].isdecimal() and not _runs(int(facts["pid"])):
        return f"a process that did not leave its name ({owner}, the last one that did, has ended)"
    return owner


def _runs(pid: int) -> bool:
    """Whether a process of this machine runs; True if that cannot be told."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's, but there
        return True
    return True


def _forget_in_child() -> None:
    """Drop the parent's locks in a forked child; the guard may have been held by a thread that does not exist here."""
    global _guard  # noqa: PLW0603 - a lock held at the moment of the fork would never be released in the child
    _guard = threading.Lock()
    locks = list(_held.values())
    _held.clear()
    for lock in locks:
        lock.forget()


os.register_at_fork(after_in_child=_forget_in_child)
