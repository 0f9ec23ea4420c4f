"""Keeping the index inside its share of the capacity.

The share must hold the index's files and, for a moment, what a flush and a compaction write beside them. With S bytes on
disk now and A bytes appended since, that is at most ``2 * S + 4 * A``: the appended bytes once in the log, once in the
table flushed from it, and everything once more in the output of a merge. Only when this estimate leaves the share is the
directory measured; only when the measured index still does not fit is it compacted, and then pages must go.
"""

from __future__ import annotations

from contextlib import suppress
from posixpath import join

from lsmkv import DB
from lsmkv.env.fs import FileSystem
from lsmkv_tensor.errors import io_failed

__all__ = ["IndexShare"]

_ENTRY_OVERHEAD = 64
"""Bytes a log frame or a table adds to an entry, generously."""
MAX_ENTRIES = 256
"""Entries asked room for at a time, at most."""


class IndexShare:
    """Watches the size of one index. Used under the commit lock."""

    def __init__(self, fs: FileSystem, directory: str, db: DB, limit_bytes: int) -> None:
        self._fs = fs
        self._directory = directory
        self._db = db
        self.limit_bytes = limit_bytes
        self._measured = self.disk_bytes()
        self._appended = 0

    def disk_bytes(self) -> int:
        """Bytes of the index's files. IOFailedError. I/O: one listing, one stat a file."""
        total = 0
        try:
            for name in self._fs.listdir(self._directory):
                with suppress(FileNotFoundError):
                    total += self._fs.size(join(self._directory, name))
        except OSError as error:
            op = "measuring the index"
            raise io_failed(op, self._directory, error) from error
        return total

    def entries_at_once(self, nbytes: int) -> int:
        """Entries of so many bytes that may be asked for together, between 1 and MAX_ENTRIES.

        They need a sixteenth of the share: asking for more at once would evict more than is needed.
        """
        return min(max(self.limit_bytes // (16 * 4 * (nbytes + _ENTRY_OVERHEAD)), 1), MAX_ENTRIES)

    def room(self, nbytes: int, entries: int) -> bool:
        """Whether so much may be written; if not, the index no longer fits and pages must be evicted. IOFailedError.

        I/O: usually none; else a listing, and if need be a flush and a compaction.
        """
        new = nbytes + _ENTRY_OVERHEAD * entries
        for relieve in (None, self._db.flush, self._db.compact):
            if self._fits(new):
                return True
            if relieve is not None:
                relieve()
            self._measured = self.disk_bytes()
            self._appended = 0
        return self._fits(new)

    def count(self, nbytes: int, entries: int) -> None:
        """Count what is about to be written, after making what room there is. I/O: as :meth:`room`."""
        self.room(nbytes, entries)
        self._appended += nbytes + _ENTRY_OVERHEAD * entries

    def _fits(self, new: int) -> bool:
        """The estimate of the module docstring against the share, with so many bytes appended."""
        return 2 * self._measured + 4 * (self._appended + new) <= self.limit_bytes
