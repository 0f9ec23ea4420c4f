"""Trying a disk: one small file written, made durable, read and removed."""

from __future__ import annotations

from contextlib import suppress
from posixpath import join

from lsmkv.env.fs import FileSystem, read_exact, write_all
from lsmkv_tensor.errors import io_failed

__all__ = ["try_disk"]

_NAME = "TRY"
_TEXT = b"lsmkv tries this disk\n"


def try_disk(fs: FileSystem, directory: str) -> Exception | None:
    """What is wrong with the disk that holds ``directory``; None if it writes, syncs and reads.

    I/O: one create, write, fdatasync, read and unlink of a few bytes.
    """
    path = join(directory, _NAME)
    try:
        with suppress(FileNotFoundError):
            fs.unlink(path)
        file = fs.open(path, "create")
        try:
            write_all(file, [_TEXT], 0)
            file.sync()
            if read_exact(file, len(_TEXT), 0) != _TEXT:
                msg = "read back other bytes than were written"
                raise OSError(msg)
        finally:
            file.close()
            fs.unlink(path)
    except (OSError, EOFError) as error:
        op = "trying the disk"
        return io_failed(op, path, error if isinstance(error, OSError) else OSError(str(error)))
    return None
