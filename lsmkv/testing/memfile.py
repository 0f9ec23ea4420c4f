"""An open file of the in-memory disk."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from lsmkv.env.fs import IOV_MAX, Advice, Buffer
from lsmkv.env.hurry import HURRY
from lsmkv.env.sync import RLock
from lsmkv.testing.memdata import BLOCK_BYTES, MemoryData
from lsmkv.testing.memtree import os_error

__all__ = ["MemoryFile"]


class MemoryFile:
    """See :class:`lsmkv.env.fs.File`. After a power cut every method but ``close`` and ``advise`` raises OSError (EIO)."""

    def __init__(
        self,
        path: str,
        data: MemoryData,
        *,
        mode: Literal["r", "rw", "create"],
        direct: bool,
        guard: RLock,
        enter: Callable[[str, str], None],
        page_cache: bool = False,
    ) -> None:
        """Open ``data``; ``enter(op, path)`` is the disk's say before every operation."""
        self.path = path
        self.direct = direct
        self._data: MemoryData | None = data
        self._writable = mode != "r"
        self._guard = guard
        self._enter = enter
        self._page_cache = page_cache
        data.opens += 1

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; never from a direct file, as the memory returned is not aligned.

        With a page cache they are in it then; in a hurry they must be.
        """
        hurried = self._page_cache and HURRY.on
        data = self._begin("pread_cached" if hurried else "pread")
        if self.direct:
            raise os_error(errno.EINVAL, self.path)
        with self._guard:
            if hurried and not self._in_cache(data, offset, size):
                raise os_error(errno.EAGAIN, self.path)
            if self._page_cache:
                data.cached.update(range(offset // BLOCK_BYTES, -(-(offset + size) // BLOCK_BYTES)))
            return bytes(data.data[offset : offset + size])

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill the buffers from ``offset``; bytes read. With a page cache they are in it then, but for those of a direct file."""
        data = self._begin("preadv")
        views = self._views(buffers, offset)
        at = offset
        with self._guard:
            if self._page_cache and not self.direct:
                data.cached.update(range(offset // BLOCK_BYTES, -(-(offset + sum(map(len, views))) // BLOCK_BYTES)))
            for view in views:
                piece = data.data[at : at + len(view)]
                view[: len(piece)] = piece
                at += len(piece)
                if len(piece) < len(view):
                    break
        return at - offset

    @property
    def tells_cached(self) -> bool:
        """As the disk was made."""
        return self._page_cache

    def preadv_cached(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill the buffers from ``offset`` with what was fetched since it was last let go of; bytes read."""
        data = self._begin("preadv_cached")
        at = offset
        with self._guard:
            for view in self._views(buffers, offset):
                stop = at
                while stop < at + len(view) and stop // BLOCK_BYTES in data.cached:
                    stop = min((stop // BLOCK_BYTES + 1) * BLOCK_BYTES, at + len(view), len(data.data))
                    if stop == len(data.data):
                        break
                view[: stop - at] = data.data[at:stop]
                short = stop - at < len(view)
                at = stop
                if short:
                    break
        return at - offset

    def holds(self, offset: int, size: int) -> bool | None:
        """Whether :meth:`preadv_cached` would find all of these bytes."""
        data = self._begin("holds")
        with self._guard:
            return self._in_cache(data, offset, size)

    @staticmethod
    def _in_cache(data: MemoryData, offset: int, size: int) -> bool:
        """Whether the bytes that there are of these were fetched since they were last let go of."""
        return data.cached.issuperset(range(offset // BLOCK_BYTES, -(-min(offset + size, len(data.data)) // BLOCK_BYTES)))

    def fetch(self, offset: int, size: int) -> None:
        """Have :meth:`preadv_cached` find these bytes."""
        data = self._begin("fetch")
        with self._guard:
            data.cached.update(range(offset // BLOCK_BYTES, -(-(offset + size) // BLOCK_BYTES)))

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write the buffers at ``offset``; bytes written, fewer when the disk fills up, OSError (ENOSPC) when it is full."""
        data = self._begin("pwritev", writing=True)
        whole = b"".join(self._views(buffers, offset))
        with self._guard:
            done = data.write(offset, whole)
        if whole and not done:
            raise os_error(errno.ENOSPC, self.path)
        return done

    def sync(self) -> None:
        """Make the contents durable (not the name)."""
        data = self._begin("sync")
        with self._guard:
            data.sync()

    def forsake(self) -> None:
        """What a sync that fails does to the contents: what was written stays visible, and no later sync makes it durable."""
        with self._guard:
            if self._data is not None:
                self._data.forsake()

    def truncate(self, size: int) -> None:
        """Cut, or extend by a hole that costs no space."""
        data = self._begin("truncate", writing=True, refused=errno.EINVAL)
        with self._guard:
            data.resize(size)

    def allocate(self, size: int) -> None:
        """Charge the first ``size`` bytes at once; OSError (ENOSPC) with nothing changed if the disk is too full."""
        data = self._begin("allocate", writing=size > 0)
        with self._guard:
            if not data.reserve(size):
                raise os_error(errno.ENOSPC, self.path)

    def size(self) -> int:
        """Length in bytes."""
        return len(self._begin("size").data)

    def advise(self, advice: Advice, offset: int = 0, size: int = 0) -> None:
        """With "dontneed", have :meth:`preadv_cached` find nothing there; memory needs no other hints."""
        data = self._data
        if advice == "dontneed" and data is not None:
            with self._guard:
                data.cached -= set(range(offset // BLOCK_BYTES, (offset + (size or len(data.data))) // BLOCK_BYTES + 1))

    def close(self) -> None:
        """Let go of the contents; a second call does nothing."""
        with self._guard:
            data, self._data = self._data, None
            if data is not None:
                data.opens -= 1
                data.release()

    def __del__(self) -> None:
        """Close when the last user drops the file."""
        if getattr(self, "_data", None) is not None:
            self.close()

    def _begin(self, op: str, *, writing: bool = False, refused: int = errno.EBADF) -> MemoryData:
        """The contents, unless the power is off, the file is closed, or it is not open for writing."""
        self._enter(op, self.path)
        data = self._data
        if data is None:
            raise os_error(errno.EBADF, self.path)
        if writing and not self._writable:
            raise os_error(refused, self.path)
        return data

    def _views(self, buffers: Sequence[Buffer], offset: int) -> list[memoryview]:
        """The buffers as bytes, checked as the kernel would."""
        if len(buffers) > IOV_MAX or offset < 0:
            raise os_error(errno.EINVAL, self.path)
        views = [memoryview(buffer).cast("B") if memoryview(buffer).nbytes else memoryview(bytearray()) for buffer in buffers]
        if self.direct and (offset % BLOCK_BYTES or not all(map(_aligned, views))):
            raise os_error(errno.EINVAL, self.path)
        return views


def _aligned(view: memoryview) -> bool:
    """Whether address and length suit direct I/O."""
    address: int = np.frombuffer(view, np.uint8).__array_interface__["data"][0] if len(view) else 0
    return address % BLOCK_BYTES == 0 and len(view) % BLOCK_BYTES == 0
