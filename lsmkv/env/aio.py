"""Reads that wait in the kernel instead of in a thread: Linux's native AIO, by its system calls.

A thread hands over any number of direct reads with one call and is told which have ended, waiting no longer than it wants. Asked
not to wait, the kernel also refuses at once a read that would hold up the thread that hands it over. Measured, 2 MiB that no
cache holds: one direct read 1.3 to 1.4 ms, four at once the same, but each can be looked at while the next is under way.

Where there is no such thing (other systems and processors, containers that forbid the calls) :func:`open_queue` says None.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Sequence
from typing import Any, Final

from lsmkv.env.fs import Begin, Ended

__all__ = ["PosixReadQueue", "cached_bytes", "open_queue"]

_CALLS: Final = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}.get(platform.machine())
"""Numbers of io_setup, io_destroy, io_getevents and io_submit."""
_CACHESTAT: Final = 451
_USABLE: Final = sys.platform == "linux" and _CALLS is not None and sys.byteorder == "little"

_REQUEST: Final = struct.Struct("<QIIHhIQQqQII")
"""struct iocb: data, key, flags, opcode (0: read), priority, descriptor, address, bytes, offset, and three that are 0."""
_EVENT: Final = struct.Struct("<QQqq")
"""struct io_event: data, request, result, and one that is 0."""
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)


def _call(*types: Any, waits: bool = False) -> Any:  # noqa: ANN401  # a ctypes function
    """The C library's ``syscall`` for arguments of these types.

    Only what waits lets go of the interpreter: beside a thread that never does, getting it back takes 5 ms.
    """
    function = (ctypes.CDLL if waits else ctypes.PyDLL)(None, use_errno=True)["syscall"]
    function.argtypes = (ctypes.c_long, *types)
    function.restype = ctypes.c_long
    return function


class _Range(ctypes.Structure):
    """struct cachestat_range."""

    _fields_ = (("offset", ctypes.c_uint64), ("size", ctypes.c_uint64))


class _Time(ctypes.Structure):
    """struct timespec."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


if _USABLE:
    _setup = _call(ctypes.c_uint, ctypes.c_void_p)
    _destroy = _call(ctypes.c_ulong)
    _submit = _call(ctypes.c_ulong, ctypes.c_long, ctypes.c_void_p)
    _events = _call(ctypes.c_ulong, ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, waits=True)
    _stat = _call(ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)


def cached_bytes(descriptor: int, offset: int, size: int) -> int | None:
    """How many of these bytes, in whole pages, the page cache holds; None if the system cannot tell. I/O: 1 cachestat."""
    if not _USABLE:
        return None
    asked, found = _Range(offset, size), (ctypes.c_uint64 * 5)()
    if _stat(_CACHESTAT, descriptor, ctypes.byref(asked), found, 0):
        return None
    return int(found[0]) * 4096


def open_queue(depth: int) -> PosixReadQueue | None:
    """A queue of at most ``depth`` reads at a time; None if the system has none to give. I/O: 1 io_setup."""
    if not _USABLE or not _NOWAIT:
        return None
    assert _CALLS is not None
    context = ctypes.c_ulong(0)
    if _setup(_CALLS[0], depth, ctypes.byref(context)):
        return None
    return PosixReadQueue(context.value, depth)


class PosixReadQueue:
    """See :class:`lsmkv.env.fs.ReadQueue`. Of one thread at a time."""

    def __init__(self, context: int, depth: int) -> None:
        """Own the kernel's context of this number."""
        self._context = context
        self._process = os.getpid()
        self._requests = ctypes.create_string_buffer(_REQUEST.size * depth)
        self._base = ctypes.addressof(self._requests)
        self._pointers = (ctypes.c_uint64 * depth)(*[self._base + slot * _REQUEST.size for slot in range(depth)])
        """To each request."""
        self._places = ctypes.addressof(self._pointers)
        self._limit = _Time()
        self._limit_at = ctypes.addressof(self._limit)
        self._events = ctypes.create_string_buffer(_EVENT.size * depth)
        self._free = list(range(depth))
        self._kept: dict[int, tuple[int, object]] = {}
        """Of each read under way its tag, and what must stay as it is until it has ended."""

    @property
    def waiting(self) -> int:
        """Reads that have not ended."""
        return len(self._kept)

    def begin(self, reads: Sequence[Begin]) -> int:
        """Hand over reads of direct files; how many of the first were taken. OSError. I/O: 1 io_submit."""
        assert _CALLS is not None
        slots = []
        for tag, file, memory, offset in reads[: len(self._free)]:
            slot = self._free.pop()
            address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            descriptor = file.descriptor  # type: ignore[attr-defined]  # files of the same file system
            request = (slot, 0, _NOWAIT, 0, 0, descriptor, address, len(memory), offset, 0, 0, 0)
            _REQUEST.pack_into(self._requests, slot * _REQUEST.size, *request)
            self._kept[slot] = tag, (file, memory)
            slots.append(slot)
        if not slots:
            return 0
        if len(slots) == 1:
            taken: int = _submit(_CALLS[3], self._context, 1, self._places + slots[0] * 8)
        else:
            places = (ctypes.c_uint64 * len(slots))(*[self._pointers[slot] for slot in slots])
            taken = _submit(_CALLS[3], self._context, len(slots), ctypes.addressof(places))
        if taken == len(slots):
            return len(slots)
        error = ctypes.get_errno()
        for slot in slots[max(taken, 0) :]:
            del self._kept[slot]
            self._free.append(slot)
        if taken < 0 and error not in (errno.EAGAIN, errno.EINTR):
            raise OSError(error, os.strerror(error))
        return max(taken, 0)

    def ended(self, least: int, seconds: float | None) -> list[Ended]:
        """The reads that have ended; waits for so many, and so long at most (None: as long as it takes). I/O: 1 io_getevents."""
        assert _CALLS is not None
        least = min(least, len(self._kept))
        if not self._kept:
            return []
        limit = None
        if seconds is not None:
            limit = self._limit_at
            self._limit.seconds, self._limit.nanoseconds = int(seconds), int(seconds % 1 * 1e9)
        n = int(_events(_CALLS[2], self._context, least, len(self._kept), self._events, limit))
        if n < 0:
            if (error := ctypes.get_errno()) == errno.EINTR:
                return []
            raise OSError(error, os.strerror(error))
        found = []
        for slot, _, result, _ in _EVENT.iter_unpack(memoryview(self._events)[: n * _EVENT.size]):
            tag, _ = self._kept.pop(slot)
            self._free.append(slot)
            found.append((tag, result))
        return found

    def close(self) -> None:
        """Give the context back, unless reads are under way: that would wait for them. I/O: 1 io_destroy."""
        context, self._context = self._context, 0
        if context and not self._kept and self._process == os.getpid():  # a child has no contexts
            assert _CALLS is not None
            _destroy(_CALLS[1], context)

    def __del__(self) -> None:
        """Close when the last user drops it."""
        self.close()
