"""Memory of our own, lent and taken back: where reads land that may be left, and pages wait that are to be written.

Fresh anonymous memory costs a page fault per 4 KiB (0.25 ms a MiB), so a bounded amount is kept for the next borrower. Sizes are
rounded up to powers of two: a few sizes serve all calls.

Where huge pages are wanted, buffers of less than one are cut out of one, all of a size: a device then finds each in one place of
memory, and sixteen calls that read a small page at a time share two megabytes.
"""

from __future__ import annotations

from lsmkv.env.sync import Lock
from lsmkv_tensor.vlog.bounce import HUGE, AlignedBuffer

__all__ = ["KEEP_BYTES", "StagingPool"]

LEAST_BYTES = 64 << 10
KEEP_BYTES = 64 << 20
"""Memory kept while nobody uses it."""


class StagingPool:
    """Aligned buffers by size. Any thread may call anything."""

    def __init__(self, keep_bytes: int = KEEP_BYTES, *, huge: bool = False) -> None:
        """``huge``: as of :class:`~lsmkv_tensor.vlog.bounce.AlignedBuffer`."""
        self._huge = huge
        self._lock = Lock()
        self._free: dict[int, list[AlignedBuffer]] = {}
        self._keep = keep_bytes
        self.kept_bytes = 0
        self.lent_bytes = 0

    def take(self, nbytes: int) -> AlignedBuffer:
        """A buffer of at least so many bytes, whose contents are undefined; :meth:`give` it back. OSError: there is no memory."""
        size = max(1 << (nbytes - 1).bit_length(), LEAST_BYTES) if nbytes > 1 else LEAST_BYTES
        with self._lock:
            self.lent_bytes += size
            free = self._free.get(size)
            if free:
                self.kept_bytes -= size
                return free.pop()
        apart = not self._huge or size >= HUGE
        try:
            made = AlignedBuffer(size if apart else HUGE, huge=self._huge)
        except OSError:
            with self._lock:
                self.lent_bytes -= size
            raise
        if apart:
            return made
        own, *others = made.cut(size)
        with self._lock:
            self.kept_bytes += size * len(others)
            self._free.setdefault(size, []).extend(others)
        return own

    def give(self, buffer: AlignedBuffer) -> None:
        """Take a buffer back that nobody looks at any more."""
        with self._lock:
            self.lent_bytes -= buffer.size
            if self.kept_bytes + buffer.size <= self._keep:
                self.kept_bytes += buffer.size
                self._free.setdefault(buffer.size, []).append(buffer)

    def forked(self) -> None:
        """In a forked child: another lock. The memory is that of no call here."""
        self._lock = Lock()
