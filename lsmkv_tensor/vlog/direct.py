"""Reading a segment without leaving it in the page cache.

A server in a container pays for what the page cache holds of its files. A store opened with ``direct_io="always"`` reads past it:
any memory, any offset, through aligned memory of our own where the caller's is not. One with ``keep_cached=False`` reads through
it and has dropped what was read. Either way a page read twice comes from the device twice.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lsmkv.env.fs import IOV_MAX, Advice, Buffer, File
from lsmkv_tensor.vlog.bounce import all_aligned
from lsmkv_tensor.vlog.layout import BLOCK, padded
from lsmkv_tensor.vlog.staging import StagingPool

__all__ = ["DirectReads", "PassingReads", "Readable"]


class Readable(Protocol):
    """What readers of segments need of a file: an :class:`~lsmkv.env.fs.File`, or one past the page cache."""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``."""
        ...

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill the buffers in order from ``offset``; the number of bytes read (at most IOV_MAX buffers)."""
        ...

    def advise(self, advice: Advice, offset: int = 0, size: int = 0) -> None:
        """Hint to the page cache (size 0: to the end)."""
        ...


class DirectReads:
    """A file opened with O_DIRECT for reading, with the reading methods of any :class:`~lsmkv.env.fs.File`."""

    def __init__(self, file: File, staging: StagingPool) -> None:
        self._file = file
        self._staging = staging

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``. I/O: one read of the blocks around them."""
        found = bytearray(size)
        return bytes(found[: self.preadv([memoryview(found)], offset)])

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill the buffers in order; the number of bytes read. I/O: one read of the blocks around them."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        size = sum(map(len, views))
        if not offset % BLOCK and len(views) <= IOV_MAX and all_aligned(views):
            try:
                return self._file.preadv(views, offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        return self._through(views, size, offset)

    def advise(self, advice: Advice, offset: int = 0, size: int = 0) -> None:
        """Nothing of this file is in the page cache but by accident; that goes. Reading ahead would put it there."""
        if advice == "dontneed":
            self._file.advise(advice, offset, size)

    def _through(self, views: Sequence[memoryview], size: int, offset: int) -> int:
        """Read whole blocks into memory of ours and copy from there."""
        skip = offset % BLOCK
        whole = padded(skip + size)
        buffer = self._staging.take(whole)
        try:
            done = self._file.preadv([buffer.view[:whole]], offset - skip) - skip
            left = done = max(min(done, size), 0)
            at = skip
            for view in views:
                n = min(len(view), left)
                np.frombuffer(view, np.uint8)[:n] = buffer.array[at : at + n]
                at += n
                left -= n
            return done
        finally:
            self._staging.give(buffer)


class PassingReads:
    """A file read through the page cache that leaves nothing there: what was read is dropped at once."""

    def __init__(self, file: File) -> None:
        self._file = file
        self.advise = file.advise

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``. I/O: one read."""
        data = self._file.pread(size, offset)
        self._file.advise("dontneed", offset - offset % BLOCK, padded(size + offset % BLOCK))
        return data

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill the buffers in order; the number of bytes read. I/O: one read."""
        done = self._file.preadv(buffers, offset)
        self._file.advise("dontneed", offset - offset % BLOCK, padded(done + offset % BLOCK))
        return done
