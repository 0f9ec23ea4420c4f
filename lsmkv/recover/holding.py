"""Holding a store while it is looked at or repaired, without passing for its writer.

Locking writes the owner's name into LOCK, and onlookers (``lsmkv top``) read from it who had the store open last. A repair is
nobody's writer, so it puts the text back before it lets go. To look only, a disk that cannot be written is no obstacle.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from posixpath import join

from lsmkv.env.fs import FileSystem, write_all

__all__ = ["held"]

LOCK = "LOCK"

TEXT_BYTES = 4096
"""Most that is kept of the text."""

REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
"""What a disk, or a directory, that may only be read answers."""


@contextmanager
def held(fs: FileSystem, path: str, *, only_look: bool) -> Iterator[str | None]:
    """Keep everybody else out of the store at ``path``; yields why that was not possible, which only a look survives.

    Raises LockedError while somebody has it open, OSError. I/O: two reads and two writes of LOCK.
    """
    lock_path = join(path, LOCK)
    before = _text(fs, lock_path)
    if only_look and before is None:
        yield None  # whoever opens a store makes the file
        return
    try:
        lock = fs.lock(lock_path)
    except OSError as error:
        if not only_look or error.errno not in REFUSED:
            raise
        yield f"{lock_path} cannot be locked ({error.strerror}): if somebody has the store open, this may be true no more"
        return
    try:
        yield None
    finally:
        with suppress(OSError):  # it is for people
            _write(fs, lock_path, before or b"")
        lock.release()


def _text(fs: FileSystem, path: str) -> bytes | None:
    """Who had it open last; None if nobody ever had."""
    if not fs.exists(path) or fs.isdir(path):
        return None
    try:
        file = fs.open(path)
    except OSError:
        return b""
    try:
        return file.pread(TEXT_BYTES, 0)
    finally:
        file.close()


def _write(fs: FileSystem, path: str, text: bytes) -> None:
    """Put it back."""
    file = fs.open(path, "rw")
    try:
        file.truncate(0)
        write_all(file, [text], 0)
    finally:
        file.close()
