"""What runs beside the calls of one store: attempts with deadlines, memory that is lent, what was learnt about the disk.

One :class:`Services` per open store, handed to its namespaces. It is made before the store's parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from lsmkv.env.clock import Clock, SystemClock
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.runtime.attempts import AttemptPool
from lsmkv_tensor.runtime.estimate import LoadEstimate
from lsmkv_tensor.runtime.putqueue import Lent, PutQueue, Write
from lsmkv_tensor.runtime.workers import Workers
from lsmkv_tensor.vlog.hurried import gather
from lsmkv_tensor.vlog.staging import KEEP_BYTES, StagingPool

__all__ = ["CLOSE_WAIT_S", "Services"]

CLOSE_WAIT_S = 1.0
"""Real seconds that ``close`` gives reads whose callers have left; one that hangs longer is left behind."""

QUEUE_FIELDS = ("queued_pages", "queued_bytes", "queue_accepted_pages", "queue_declined_pages", "queue_failed_calls")


class Services:
    """The services of one store. Any thread may call anything."""

    def __init__(self, options: StoreOptions | None = None) -> None:
        self.options = options if options is not None else StoreOptions()
        self.clock: Clock = self.options.clock if self.options.clock is not None else SystemClock()
        self.attempts = AttemptPool(self.options.clock)
        self.workers = Workers(self.options.scheduler)
        self.staging = StagingPool(max(KEEP_BYTES, self.options.put_queue_bytes))
        self.puts = self._start_puts()
        self.loads = LoadEstimate()
        self.late_pages = 0
        """Pages asked for and not delivered by the deadline."""

    def until(self, deadline_s: float | None) -> float | None:
        """The moment by which a call must be back: ``deadline_s`` from now, else the store's ``io_timeout_s``; None: never.

        InvalidArgumentError for what is no number of seconds.
        """
        if deadline_s is None:
            deadline_s = self.options.io_timeout_s
            return None if deadline_s is None else self.attempts.until(deadline_s)
        if isinstance(deadline_s, bool) or not isinstance(deadline_s, int | float) or not 0 <= deadline_s < math.inf:
            msg = f"deadline_s = {deadline_s!r}: must be a number of seconds of at least 0, or None for the store's io_timeout_s"
            raise InvalidArgumentError(msg)
        return self.attempts.until(deadline_s)

    def queue_for(self, wait: bool | None) -> PutQueue | None:
        """The queue that a put goes through, None if it writes before it returns.

        ``wait``: as the caller says; None: as the store was opened. InvalidArgumentError for False without a queue.
        """
        if wait is not None and not isinstance(wait, bool):
            msg = f"wait = {wait!r}: must be True, False or None"
            raise InvalidArgumentError(msg)
        if wait is False and self.puts is None:
            msg = "wait=False needs a queue: open the store with StoreOptions(put_queue_bytes=...)"
            raise InvalidArgumentError(msg)
        return None if wait else self.puts

    def offer(
        self, keys: Sequence[bytes], size: int, views: Sequence[Sequence[memoryview]], write: Callable[[int], Write]
    ) -> int:  # fmt: skip
        """Copy pages (per page its spans) into the queue, as many of the first as there is room for; how many.

        ``keys``: index keys. ``write(n)`` gives what stores the first n of them.
        """

        def copy(n: int) -> Lent:
            """The first n pages, end to end in aligned memory."""
            buffer = self.staging.take(n * size)
            gather([span for page in views[:n] for span in page], buffer.array)
            return buffer.view, partial(self.staging.give, buffer)

        assert self.puts is not None
        return self.puts.offer(keys, size, copy, write)

    def queue_stats(self) -> dict[str, int]:
        """The queue's part of the store's statistics."""
        q = self.puts
        if q is None:
            return dict.fromkeys(QUEUE_FIELDS, 0)
        return dict(zip(QUEUE_FIELDS, (q.pages, q.bytes, q.accepted_pages, q.declined_pages, q.failed_jobs), strict=True))

    def settle(self) -> None:
        """Wait until everything accepted so far is written."""
        if self.puts is not None:
            self.puts.drain()

    def finish(self) -> None:
        """Accept no more puts and write those accepted; calls may still be inside."""
        if self.puts is not None:
            self.puts.shut()
            self.puts.drain()

    def close(self) -> None:
        """End every thread that can be ended; the store's calls have left."""
        self.workers.stop()
        self.attempts.stop(CLOSE_WAIT_S)

    def forked(self) -> None:
        """In a forked child: nothing runs here."""
        self.workers.forked()
        if self.puts is not None:
            self.puts.forked()
        self.attempts.forked()
        self.staging.forked()

    def _start_puts(self) -> PutQueue | None:
        """The queue and its worker, if the options want one."""
        options = self.options
        if not options.put_queue_bytes:
            return None
        queue = PutQueue(options.put_queue_bytes, options.put_queue_pages, manual=self.workers.manual)
        queue.wake = self.workers.start("lsmkv-put", queue.step).wake
        return queue
