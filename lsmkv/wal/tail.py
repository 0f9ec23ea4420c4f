"""Reading on in a log that somebody else is writing: each look gives the batches that are new.

A frame that checks out was handed to the kernel with everything before it, and its writer never takes one back
(:mod:`lsmkv.wal.writer`). One that does not check out may be half written: it is left for the next look, at no more cost than
reading its header again, and it may stay like that for ever if its writer was killed. The file stays open, so a log that is
unlinked meanwhile is read to its end.
"""

from __future__ import annotations

from collections import deque

from lsmkv.base.frames import FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_MAGIC, scan
from lsmkv.env.fs import File, FileSystem, read_exact
from lsmkv.errors import CorruptionError, io_failed
from lsmkv.wal.batch import WalBatch
from lsmkv.wal.reader import decode_batches, header_of, number_of

__all__ = ["LogTail"]


class LogTail:
    """One log as far as it was read. One thread at a time."""

    __slots__ = ("_file", "_idle", "durable", "first_seq", "fresh", "last_seq", "number", "path", "previous", "valid_length")

    def __init__(self, fs: FileSystem, path: str) -> None:
        """Open the log at ``path`` (named ``{number}.wal``). OSError as the file system says. I/O: opens the file."""
        self._file: File = fs.open(path)
        self._idle: tuple[int, bytes] = (0, b"")  # size, and bytes behind the last intact frame, of a look that found nothing
        self.path = path
        self.number = number_of(path)
        self.previous: tuple[int, int] | None = None
        """(number, length) of the log before; None if this is the first after an opening, or has no header yet."""
        self.valid_length = 0
        """Bytes of header and intact frames; 0 while there is no header."""
        self.durable = 0
        """Highest durable mark seen; see :mod:`lsmkv.base.frames`."""
        self.first_seq: int | None = None
        self.last_seq: int | None = None
        """Sequence numbers of its first and last entry; None while it has none."""
        self.fresh: deque[WalBatch] = deque()
        """Batches that nobody has taken yet, in commit order."""

    def look(self) -> None:
        """Put what was written since the last look into ``fresh``.

        Raises CorruptionError as :func:`lsmkv.wal.reader.read_wal` (but the writer may have been at it: open the log anew
        before believing it), FormatTooNewError, IOFailedError.

        I/O: one size; one read of a header if there is something new, one of everything new if that is intact.
        """
        try:
            data, size = self._news()
        except EOFError:
            return  # half a frame that its writer has just taken back
        except OSError as error:
            raise io_failed("read", self.path, error) from error
        if not data:
            return
        origin = self.valid_length
        found = scan(data, self.number, origin)
        if not origin:
            header = header_of(data[:FILE_HEADER_BYTES], self.path, self.number, found.durable)
            if header is None:
                return
            self.previous = header.previous
        batches = decode_batches(found, self.path, self.last_seq)
        self.durable = max(self.durable, found.durable)
        self.valid_length = found.end
        self.fresh.extend(batches)
        if batches:
            self.first_seq = batches[0].first_seq if self.first_seq is None else self.first_seq
            self.last_seq = batches[-1].first_seq + len(batches[-1].keys) - 1
        elif origin and (found.overhang or not data.startswith(FRAME_MAGIC)):
            self._idle = size, data[:FRAME_HEADER_BYTES]

    def _news(self) -> tuple[bytes, int]:
        """What lies behind the intact frames, empty if it was looked at before, and the size of the file."""
        file, at = self._file, self.valid_length
        size = file.size()
        if size <= at:
            if size < at:
                raise CorruptionError(self.path, size, f"{at} bytes of intact frames were read here, {size} are left")
            return b"", size
        if at and self._idle[0] == size and self._idle[1] == file.pread(FRAME_HEADER_BYTES, at):
            return b"", size
        return read_exact(file, size - at, at), size

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()
