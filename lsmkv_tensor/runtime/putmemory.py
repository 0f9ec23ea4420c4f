"""The memory of the queue of puts: one stretch of address space, used from its beginning, and made ready before it is needed.

Fresh anonymous memory costs more than the copy into it: on two cores 2.1 GB/s with the page faults, 7 without. So the same memory
is used again and again, the lowest addresses first (what few pages use stays little memory, in the processor's cache too), and a
thread has the kernel bring in what a growing queue will need next (MADV_POPULATE_WRITE, without the interpreter): 32 MiB more
than was in use at once so far, the limit at most. Not more, and only on an idle processor: on a virtual machine whose host has
to find the memory first it took up to 3 ms a MiB.

Huge pages are asked for. A copy into them is as fast as into small ones, but a direct write out of them is not: the disk is given
few long stretches where small pages are thousands (64 MiB, 8 at a time: 1.73 GB/s, small ones 1.33). Getting one takes 1.4 ms,
and 5 where the kernel has to move others out of the way, which is one more reason to have them made ready.

A page lies in one piece and begins at a multiple of 4096 bytes, as O_DIRECT wants it; the pages of one call lie end to end where
there is room. Where there is none (a reader holds what was written, holes are too small), memory comes from the system.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from bisect import bisect_left
from contextlib import suppress
from threading import Thread, get_native_id
from typing import NamedTuple

import numpy as np

from lsmkv.base.columns import U8
from lsmkv.env.sync import Lock, start_thread

__all__ = ["Loan", "PutMemory"]

ALIGNMENT = 4096
SLICE_BYTES = 2 << 20
"""Memory that is made ready at a time: a huge page."""
AHEAD_BYTES = 32 << 20
"""So much more than was ever in use at once is made ready."""
IDLE = 19
"""The niceness of the thread that does it: it must not keep a processor from those who copy and write now (a worker that was
woken began 5 ms later beside it)."""
_POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE of Linux 5.14; older kernels refuse it, and pages come when they are touched."""
_WIPE_ON_FORK = 18
"""MADV_WIPEONFORK of Linux 4.14: a child has zeros there. Not MADV_DONTFORK: it has other memory there then, and unmaps that when
it drops the store that it inherited."""


class Loan(NamedTuple):
    """Memory for pages of equal size."""

    pages: list[memoryview]
    runs: list[tuple[U8, int]]
    """The same memory in stretches: the bytes of each from its first page on, and how many pages it has."""
    extents: list[tuple[int, int]]
    """Where it lies in the common memory."""


class PutMemory:
    """Memory for about so many bytes of pages. Any thread may call anything."""

    def __init__(self, limit_bytes: int, *, ready: bool = True) -> None:
        """``ready``: have a thread make memory ready ahead of need."""
        self._lock = Lock()
        self._limit = _padded(limit_bytes)
        self._array: U8 | None = None
        self._view = memoryview(b"")
        self._free: list[tuple[int, int]] = []
        self._grows = ready and _madvise is not None
        self._ready = 0
        self._thread: Thread | None = None
        self._peak = 0
        self.lent_bytes = 0
        """Bytes that are in use, rounded up."""

    def take(self, pages: int, size: int) -> Loan | None:
        """Memory for so many pages of ``size`` bytes, whose contents are undefined; :meth:`give` it back. None: there is none."""
        stride, left = _padded(size), pages
        with self._lock:
            if self._array is None:
                self._reserve()
            extents: list[tuple[int, int]] = []
            at = 0
            while left and at < len(self._free):
                start, stop = self._free[at]
                n = min((stop - start) // stride, left)
                if not n:
                    at += 1
                    continue
                extents.append((start, start + n * stride))
                left -= n
                if start + n * stride < stop:
                    self._free[at] = (start + n * stride, stop)
                else:
                    del self._free[at]
            self.lent_bytes += pages * stride
            self._peak = max(self._peak, self.lent_bytes)
            if self._grows and self._thread is None and self._ready < self._aim():
                self._start()
        try:
            return self._loan(extents, left, stride, size)
        except (OSError, MemoryError, OverflowError):  # the system has none for those that found no place
            with self._lock:
                self.lent_bytes -= pages * stride
                for start, stop in extents:
                    self._put_back(start, stop)
            return None

    def give(self, loan: Loan) -> None:
        """Take back memory that nobody looks at any more."""
        with self._lock:
            self.lent_bytes -= sum(len(array) for array, _ in loan.runs)
            for start, stop in loan.extents:
                self._put_back(start, stop)

    def close(self) -> None:
        """End the thread, if there is one."""
        with self._lock:
            self._grows, thread = False, self._thread
        if thread is not None:
            thread.join()

    def forked(self) -> None:
        """In a forked child: what is in the memory is the parent's. Takes no lock."""
        self._lock = Lock()
        self._grows = False
        self._free = []

    # helpers

    def _reserve(self) -> None:
        """Have address space: twice the limit, as pages may lie apart; it takes memory only where it is used."""
        try:
            memory = mmap.mmap(-1, 2 * self._limit + SLICE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            with suppress(OSError):  # a child has no queue: copying pages on its behalf would cost the parent
                memory.madvise(_WIPE_ON_FORK)
            with suppress(OSError, AttributeError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        except (OSError, ValueError):  # more than the machine has: as it comes
            self._grows = False
            self._array = np.empty(0, np.uint8)
            return
        whole = np.frombuffer(memory, np.uint8)
        first = -int(whole.__array_interface__["data"][0]) % SLICE_BYTES
        self._array = whole[first : first + 2 * self._limit]
        self._view = memoryview(memory)[first : first + 2 * self._limit]
        self._free = [(0, len(self._array))]

    def _loan(self, extents: list[tuple[int, int]], left: int, stride: int, size: int) -> Loan:
        """The pages of these stretches, and of memory of their own for those that found no place."""
        assert self._array is not None
        pages: list[memoryview] = []
        runs: list[tuple[U8, int]] = []
        places = [(self._view, self._array, start, stop) for start, stop in extents]
        if left:
            own = memoryview(mmap.mmap(-1, left * stride))
            places.append((own, np.frombuffer(own, np.uint8), 0, left * stride))
        for view, array, start, stop in places:
            pages += [view[at : at + size] for at in range(start, stop, stride)]
            runs.append((array[start:stop], (stop - start) // stride))
        return Loan(pages, runs, extents)

    def _put_back(self, start: int, stop: int) -> None:
        """Join a stretch with its neighbours (lock held)."""
        at = bisect_left(self._free, (start, stop))
        if at < len(self._free) and self._free[at][0] == stop:
            stop = self._free.pop(at)[1]
        if at and self._free[at - 1][1] == start:
            start = self._free.pop(at - 1)[0]
            at -= 1
        self._free.insert(at, (start, stop))

    def _aim(self) -> int:
        """Bytes that should be ready."""
        return min(self._limit, self._peak + AHEAD_BYTES)

    def _start(self) -> None:
        """Have a thread make memory ready, or nobody (lock held)."""
        try:
            self._thread = start_thread("lsmkv-put-memory", self._grow)
        except RuntimeError:  # the machine has no more threads: pages come when they are touched
            self._grows = False

    def _grow(self) -> None:
        """Make memory ready, slice by slice."""
        assert self._array is not None
        if sys.platform == "linux":  # elsewhere the number of a thread may be that of some process
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, get_native_id(), IDLE)
        address: int = self._array.__array_interface__["data"][0]
        while True:
            with self._lock:
                at, n = self._ready, min(SLICE_BYTES, self._aim() - self._ready)
                if n <= 0 or not self._grows:
                    self._thread = None
                    return
                self._ready += n
            assert _madvise is not None
            if _madvise(address + at, n, _POPULATE_WRITE):
                self._grows = False


def _padded(n: int) -> int:
    """Rounded up to whole pages of memory."""
    return -(-n // ALIGNMENT) * ALIGNMENT


def _found_madvise() -> ctypes._NamedFuncPointer | None:
    """The C library's function, called without the interpreter (Python's own keeps it); None where there is none."""
    try:
        function = ctypes.CDLL(None).madvise
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


_madvise = _found_madvise()
