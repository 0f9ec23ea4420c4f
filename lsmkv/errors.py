"""Every exception of the project, as one tree.

::

    LsmError
    |-- CorruptionError(file, offset, what)   bytes on disk are not what was written
    |-- IOFailedError(op, path)               the operating system refused or failed
    |   |-- NoSpaceError                      disk or quota full (ENOSPC, EDQUOT); writing may work again later
    |   `-- PoisonedError(first cause)        an earlier failure makes further writes unsafe: reopen
    |-- LockedError(path)                     another process (or this one) has the directory open for writing
    |-- ClosedError(what)                     the handle was closed
    |-- ReadOnlyError(path, what)             a follower was asked to write
    |-- InvalidArgumentError                  the caller passed something meaningless (also a ValueError)
    |-- FormatTooNewError(path, found, known) written by a newer version of this library
    `-- BusyError(reason)                     the call would have to wait longer than allowed

A missing key is not an error: it is ``None``.
"""

from __future__ import annotations

import errno

__all__ = [
    "BusyError",
    "ClosedError",
    "CorruptionError",
    "FormatTooNewError",
    "IOFailedError",
    "InvalidArgumentError",
    "LockedError",
    "LsmError",
    "NoSpaceError",
    "PoisonedError",
    "ReadOnlyError",
    "io_failed",
]


class LsmError(Exception):
    """Root of every error raised on purpose by ``lsmkv`` and ``lsmkv_tensor``."""


class CorruptionError(LsmError):
    """Bytes on disk are not what was written.

    Attributes: ``file`` (path), ``offset`` (bytes from the start of the file, -1 if unknown), ``what`` (what is wrong).
    """

    def __init__(self, file: str, offset: int, what: str) -> None:
        """Name the file, the byte offset in it and what is wrong there."""
        super().__init__(f"{file}: corrupt at byte {offset}: {what}" if offset >= 0 else f"{file}: corrupt: {what}")
        self.file = file
        self.offset = offset
        self.what = what


class IOFailedError(LsmError):
    """A system call failed. Attributes: ``op`` (what was attempted), ``path``, ``errno`` (or None)."""

    def __init__(self, op: str, path: str, cause: BaseException | None = None) -> None:
        """Name the operation, the path and the cause."""
        super().__init__(f"{op} failed on {path}" + (f": {cause}" if cause is not None else ""))
        self.op = op
        self.path = path
        self.errno: int | None = getattr(cause, "errno", None)


class NoSpaceError(IOFailedError):
    """The disk or the quota is full. What was stored before is intact; free space and try again."""


class PoisonedError(IOFailedError):
    """An earlier failure left it unknown what is on disk: writes are refused, reads go on, reopening recovers.

    Attribute: ``first`` (the error that started it).
    """

    def __init__(self, path: str, first: BaseException) -> None:
        """Name the store and the failure that poisoned it."""
        super().__init__("write refused after an earlier failure (reopen to recover)", path, first)
        self.first = first


class LockedError(LsmError):
    """The directory is already open for writing. Attributes: ``path``, ``owner`` (a description, may be empty)."""

    def __init__(self, path: str, owner: str = "") -> None:
        """Name the directory and, when known, who holds it."""
        who = f" by {owner}" if owner else ""
        what = "a directory has one writer at a time; lsmkv.open(path, read_only=True) reads it meanwhile"
        super().__init__(f"{path} is already open for writing{who}: {what}")
        self.path = path
        self.owner = owner


class ClosedError(LsmError):
    """The object was closed (or belongs to a parent process) and can no longer be used."""

    def __init__(self, what: str) -> None:
        """Name what is closed."""
        super().__init__(f"{what} is closed")


class ReadOnlyError(LsmError):
    """A store opened with ``read_only=True`` was asked to write. Attributes: ``path``, ``what`` (the method)."""

    def __init__(self, path: str, what: str) -> None:
        """Name the store and what was asked of it."""
        super().__init__(f"{what}: {path} was opened read-only; open it without read_only=True to write")
        self.path = path
        self.what = what


class InvalidArgumentError(LsmError, ValueError):
    """An argument is meaningless; the message names it, the value and what is allowed."""


class FormatTooNewError(LsmError):
    """A file was written by a newer format than this library knows."""

    def __init__(self, path: str, found: int, known: int) -> None:
        """Name the file, its format version and the newest one understood here."""
        super().__init__(f"{path} has format version {found}, this library knows up to {known}: upgrade lsmkv")
        self.path = path
        self.found = found
        self.known = known


class BusyError(LsmError):
    """A call would have to wait longer than allowed, or for itself. Attribute: ``reason``."""

    def __init__(self, reason: str) -> None:
        """Say what the call is waiting for."""
        super().__init__(f"store is busy: {reason}")
        self.reason = reason


def io_failed(op: str, path: str, cause: OSError) -> IOFailedError:
    """Wrap an :class:`OSError` in the error that says what the caller can do about it."""
    kind = NoSpaceError if cause.errno in (errno.ENOSPC, errno.EDQUOT) else IOFailedError
    return kind(op, path, cause)
