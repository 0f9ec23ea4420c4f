"""The status file: what a live writer last said of itself, for onlookers in other processes (format: docs/format/status.md).

It exists while a store is open. Each status replaces the one before in place, by one unsynced write of some KiB: nothing
grows, nothing has to be durable, and no name in the directory changes. The second line is the checksum of the first, so an
onlooker who meets a half-written status sees that it is one and looks again. The store itself never reads the file, and a
failure to write it is counted and otherwise ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from posixpath import join

from xxhash import xxh3_64_hexdigest

from lsmkv.env.fs import File, FileSystem, write_all

__all__ = ["LIMIT_BYTES", "STATUS", "StatusFile", "read_status"]

STATUS = "STATUS"

LIMIT_BYTES = 64 << 10
"""A status that would be larger is not written: about a hundred levels."""

LOOKS = 5
"""Times a reader looks at a status that is being replaced before giving up."""


class StatusFile:
    """The status of one directory, as its writer keeps it. Not thread-safe; never raises OSError."""

    __slots__ = ("_directory", "_file", "_fs", "failures")

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._fs = fs
        self._directory = directory
        self._file: File | None = None
        self.failures = 0
        """Statuses that could not be written."""

    def write(self, told: Mapping[str, object]) -> bool:
        """Replace the status; whether that worked. I/O: one write, not synced; the first one opens the file."""
        body = json.dumps(told, separators=(",", ":")).encode()
        data = b"%s\n%s\n" % (body, xxh3_64_hexdigest(body).encode())
        if len(data) > LIMIT_BYTES:
            self.failures += 1
            return False
        try:
            if self._file is None:
                path = join(self._directory, STATUS)
                self._file = self._fs.open(path, "rw" if self._fs.exists(path) else "create")
            write_all(self._file, [data], 0)
        except OSError:
            self.failures += 1
            return False
        return True

    def remove(self) -> None:
        """The writer leaves. I/O: one unlink, if there was a status."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
                self._fs.unlink(join(self._directory, STATUS))
            except OSError:
                self.failures += 1


def read_status(fs: FileSystem, directory: str) -> dict[str, object] | None:
    """The last status of a store; None if there is none, or none in one piece. OSError. I/O: one open, one read or a few."""
    path = join(directory, STATUS)
    for _ in range(LOOKS):
        try:
            file = fs.open(path)
        except FileNotFoundError:
            return None
        try:
            data = file.pread(LIMIT_BYTES, 0)
        finally:
            file.close()
        body, _, rest = data.partition(b"\n")
        if rest[:17] == xxh3_64_hexdigest(body).encode() + b"\n":
            told = json.loads(body)
            return told if isinstance(told, dict) else None
    return None
