"""Queues of reads, lent to one call at a time.

A call that leaves at its deadline leaves its queue too, with the memory that the device may still write to. Neither is used by
anybody until the last of its reads has ended; then the next call that looks has both. How many may have been left is bounded.
"""

from __future__ import annotations

from contextlib import suppress

from lsmkv.env.fs import FileSystem, QueuedReads, ReadQueue
from lsmkv.env.sync import Lock
from lsmkv_tensor.vlog.bounce import AlignedBuffer
from lsmkv_tensor.vlog.staging import StagingPool

__all__ = ["DEPTH", "MAX_LEFT", "ReadQueues"]

DEPTH = 16
"""Reads of a call under way at a time."""

MAX_QUEUES = 16
"""Queues kept while nobody uses them."""

KEEP_BYTES = 16 << 20
"""Memory kept while nobody uses it."""

MAX_LEFT = 8
"""Calls whose reads go on after they left, beyond which none begins any."""


class ReadQueues:
    """The queues of one store. Any thread may call anything."""

    def __init__(self, fs: FileSystem) -> None:
        self._fs = fs if isinstance(fs, QueuedReads) else None
        self.staging = StagingPool(KEEP_BYTES, huge=True)
        """Memory that reads land in."""
        self._lock = Lock()
        self._idle: list[ReadQueue] = []
        self._hanging: list[tuple[ReadQueue, AlignedBuffer]] = []

    @property
    def left(self) -> int:
        """Calls that left and whose reads have not ended."""
        if self._hanging:
            self._reap()
        return len(self._hanging)

    @property
    def usable(self) -> bool:
        """Whether there were queues to be had so far."""
        return self._fs is not None

    @property
    def heeds_hurry(self) -> bool:
        """Whether a thread in a hurry gets an answer at once, whatever the device does."""
        fs = self._fs
        return fs is not None and fs.heeds_hurry

    def take(self) -> ReadQueue | None:
        """A queue; :meth:`give` it back or :meth:`leave` it. None: there is none, or too many were left."""
        fs = self._fs  # another thread may find meanwhile that there are none
        if fs is None or self.left >= MAX_LEFT:
            return None
        with self._lock:
            if self._idle:
                return self._idle.pop()
        queue = fs.read_queue(DEPTH)
        if queue is None and not self._hanging:
            self._fs = None
        return queue

    def give(self, queue: ReadQueue) -> None:
        """Take back a queue whose reads have ended."""
        with self._lock:
            if len(self._idle) < MAX_QUEUES:
                self._idle.append(queue)
                return
        queue.close()

    def leave(self, queue: ReadQueue, memory: AlignedBuffer) -> None:
        """Its caller goes, with reads under way that write to this memory."""
        with self._lock:
            self._hanging.append((queue, memory))

    def _reap(self) -> None:
        """Take back what has ended since."""
        with self._lock:
            for queue, _ in self._hanging:
                with suppress(OSError):  # the kernel does not say: they have not ended
                    queue.ended(0, 0.0)
            ended = [left for left in self._hanging if not left[0].waiting]
            self._hanging = [left for left in self._hanging if left[0].waiting]
        for queue, memory in ended:
            self.staging.give(memory)
            self.give(queue)

    def take_back(self, queue: ReadQueue, memory: AlignedBuffer | None) -> None:
        """A call is over: take both back, or leave them to its reads that are still under way. Without memory there are none."""
        if memory is not None and queue.waiting:
            self.leave(queue, memory)
            return
        if memory is not None:
            self.staging.give(memory)
        self.give(queue)

    def close(self) -> None:
        """Let go of every queue; reads under way end whenever the disk lets them, in memory that is nobody's then."""
        self._reap()
        with self._lock:
            idle, self._idle = self._idle, []
        for queue in idle:
            queue.close()

    def forked(self) -> None:
        """In a forked child: the queues are the parent's. Takes no lock."""
        self._lock = Lock()
        self._fs = None
        self._idle, self._hanging = [], []
        self.staging.forked()
