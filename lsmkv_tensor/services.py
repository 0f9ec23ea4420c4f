"""What runs beside the calls of one store: attempts with deadlines, memory that is lent, what was learnt about the disk.

One :class:`Services` per open store, handed to its namespaces. It is made before the store's parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar

from lsmkv.base.columns import U8
from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.posix import PosixFileSystem
from lsmkv_tensor.errors import (
    ClosedError,
    CorruptionError,
    InvalidArgumentError,
    IOFailedError,
    LsmError,
    NoSpaceError,
    PoisonedError,
)
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.runtime.attempts import AttemptPool
from lsmkv_tensor.runtime.breaker import Breaker
from lsmkv_tensor.runtime.calltimes import CallTimes
from lsmkv_tensor.runtime.crew import Crew, threads_for
from lsmkv_tensor.runtime.diskbreakers import DiskBreakers
from lsmkv_tensor.runtime.estimate import LoadEstimate
from lsmkv_tensor.runtime.gathering import gather_pages
from lsmkv_tensor.runtime.health import Health, State
from lsmkv_tensor.runtime.putpieces import Sink, Told, never
from lsmkv_tensor.runtime.putqueue import PIECE_BYTES, Finished, PutQueue
from lsmkv_tensor.runtime.quickasks import QuickAsks
from lsmkv_tensor.runtime.waterfall import Cause, Waterfall
from lsmkv_tensor.runtime.workers import Workers
from lsmkv_tensor.sharing.siblings import Siblings
from lsmkv_tensor.vlog.counters import Counters
from lsmkv_tensor.vlog.queues import ReadQueues
from lsmkv_tensor.vlog.staging import StagingPool

__all__ = ["CLOSE_WAIT_S", "Services"]

CLOSE_WAIT_S = 1.0
"""Real seconds that ``close`` gives reads whose callers have left; one that hangs longer is left behind."""

T = TypeVar("T")
U = TypeVar("U")

QUEUE_FIELDS = ("queued_pages", "queued_bytes", "queue_accepted_pages", "queue_declined_pages", "queue_failed_calls")


class Services:
    """The services of one store. Any thread may call anything."""

    def __init__(self, options: StoreOptions | None = None, siblings: Siblings | None = None) -> None:
        """``siblings``: whom the store follows; None: it is not shared."""
        self.siblings = siblings
        self.options = options if options is not None else StoreOptions()
        self.clock: Clock = self.options.clock if self.options.clock is not None else SystemClock()
        self.attempts = AttemptPool(self.options.clock)
        self.workers = Workers(self.options.scheduler)
        self.staging = StagingPool()
        self.queues = ReadQueues(self.options.fs or PosixFileSystem())
        self.breaker = Breaker(self.clock, self.options.breaker_failures)
        self.disk_breakers = DiskBreakers(self.clock, self.options.breaker_failures)
        self.puts = self._start_puts()
        self._shape: tuple[State, float] = ("ok", self.clock.now())
        self.crew = Crew(threads_for(self.options.read_threads, own_disk=self.options.fs is None) - 1)
        self.loads = LoadEstimate()
        self.waterfall = Waterfall()
        if siblings is not None:
            siblings.on_settled = lambda losses, lagged: self.waterfall.settle(losses, lagged=lagged)
        self.times = CallTimes(("ask", "read", "write"))
        self.quick = QuickAsks(self.waterfall, self.times)
        self.late_pages = 0
        """Pages asked for and not delivered by the deadline."""

    @property
    def hanging_reads(self) -> int:
        """Reads whose callers have left and that have not ended."""
        return self.attempts.left + self.queues.left

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
        self,
        keys: Sequence[bytes],
        size: int,
        views: Sequence[Sequence[memoryview]],
        sink: Sink,
        *,
        what: Any = None,  # noqa: ANN401  # the sink's own
        group: Hashable = None,
        told: Told | None = None,
        ended: Callable[[], bool] = never,
    ) -> int:
        """Copy pages (per page its spans) into the queue, as many of the first as there is room for; how many.

        ``keys``: index keys. The rest as :meth:`PutQueue.offer`.
        """

        def fill(start: int, stop: int, into: U8) -> None:
            """Some of the pages, each to its place."""
            gather_pages(views[start:stop], into)

        assert self.puts is not None
        accepted = self.puts.offer(keys, size, fill, sink, what=what, group=group, told=told, ended=ended)
        self.waterfall.fates.stored(keys[:accepted])
        if accepted < len(keys):
            self.waterfall.fates.note(keys[accepted:], "declined")
        return accepted

    def shielded(
        self, kind: Literal["ask", "read", "write"], counters: Counters, call: Callable[[], T], otherwise: Callable[[], U]
    ) -> T | U:  # fmt: skip
        """What the call returns, or ``otherwise`` if the disk fails or is left alone; the breaker hears of both.

        A full disk is no failure. Without a breaker errors are raised as they come.
        """
        breaker = self.breaker
        if breaker.open or (kind == "write" and breaker.poisoned):
            return otherwise()
        failed, done = _progress(kind, counters)
        began = self.clock.monotonic()
        try:
            result = call()
            self.times.note(kind, self.clock.monotonic() - began)
        except NoSpaceError:
            raise
        except PoisonedError as error:
            breaker.poison(error)
            if not breaker.enabled:
                raise
            return otherwise()
        except (IOFailedError, CorruptionError) as error:
            breaker.failed(kind, error)
            if not breaker.enabled:
                raise
            return otherwise()
        failed_now, done_now = _progress(kind, counters)
        if failed_now > failed:
            breaker.failed(kind, IOFailedError(f"{kind} of pages", "their segments"))
        elif done_now > done or kind == "ask":
            breaker.worked(kind)
        return result

    @contextmanager
    def telling_poison(self) -> Iterator[None]:
        """Have the store reopened if this raises PoisonedError; its caller is told all the same."""
        try:
            yield
        except PoisonedError as error:
            self.breaker.poison(error)
            raise

    def refusal(self) -> Cause:
        """What a page is lost to that was asked for and not looked for."""
        return "breaker" if self.breaker.open else "corrupt"

    def background_failed(self, error: LsmError) -> None:
        """Background work could not be done: the breaker hears of it, if it is the disk's fault."""
        if isinstance(error, PoisonedError):
            self.breaker.poison(error)
        elif isinstance(error, IOFailedError | CorruptionError) and not isinstance(error, NoSpaceError):
            self.breaker.failed("upkeep", error)

    def note_put(self, keys: Iterable[bytes], stored: Iterable[bool]) -> None:
        """These pages were offered; which are stored now."""
        fates, verdicts = self.waterfall.fates, list(zip(keys, stored, strict=True))
        fates.stored(key for key, flag in verdicts if flag)
        declined = [key for key, flag in verdicts if not flag]
        if declined:
            fates.note(declined, "declined")

    def watch_disk(self, recover: Callable[[], Exception | None], try_disk: Callable[[int], Exception | None]) -> None:
        """Have a worker try the disk while the breaker is open; it is started when it is first needed.

        ``try_disk``: what is wrong with one of several disks, by number.
        """

        def step() -> bool:
            """One attempt, if one is due; there is no more until it is woken."""
            self.disk_breakers.attempt(try_disk)
            if self.breaker.attempt(recover) and self.puts is not None:
                self.puts.wake(0.0)
            return False

        def wake(after_s: float) -> None:
            """Have it step after so many seconds."""
            self.workers.ensure("lsmkv-breaker", step).wake(after_s)

        self.breaker.wake = self.disk_breakers.wake = wake

    def health(self, *, closed: bool, poison: Exception | None) -> Health:
        """The store's health; ``poison``: what forbids writing and nobody mends."""
        breaker, reasons = self.breaker, []
        if breaker.open:
            reasons.append(f"the disk is left alone after failures in a row: {breaker.error}")
        if breaker.poisoned or poison is not None:
            reasons.append(f"puts are declined until the store is reopened: {poison or breaker.error}")
        reasons += [f"one of several disks is left alone: {error}" for error in self.disk_breakers.errors().values()]
        if hanging := self.hanging_reads:
            reasons.append(f"{hanging} reads hang")
        if self.puts is not None and self.puts.full:
            reasons.append("the queue of puts is full: more is stored than the disk takes")
        state: State = "closed" if closed else "failing" if breaker.open else "degraded" if reasons else "ok"
        if state != self._shape[0]:
            self._shape = (state, breaker.since if breaker.since is not None and not closed else self.clock.now())
        told = () if closed else tuple(reasons)
        return Health(state, told, self._shape[1], breaker.trips, breaker.attempts, breaker.recoveries)

    def queue_stats(self) -> dict[str, int]:
        """The queue's part of the store's statistics."""
        q = self.puts
        if q is None:
            return dict.fromkeys(QUEUE_FIELDS, 0)
        return dict(zip(QUEUE_FIELDS, (q.pages, q.bytes, q.accepted_pages, q.declined_pages, q.failed_jobs), strict=True))

    def await_room(self, nbytes: int, pages: int, seconds: float) -> bool:
        """Wait until the queue has room for these pages, that long at most; whether it has. True without a queue."""
        return self.puts is None or self.puts.await_room(nbytes, pages, seconds, lambda: self.breaker.declines)

    def await_some_room(self, page_bytes: int, pages: int, seconds: float) -> bool:
        """Wait until there is room for a piece of these pages, that long at most; whether there is."""
        some = min(pages, max(PIECE_BYTES // page_bytes, 1), max(self.options.put_queue_bytes // 4 // page_bytes, 1))
        return self.await_room(some * page_bytes, some, seconds)

    def settle(self, *, whole: bool = False) -> None:
        """Wait until everything accepted so far is written.

        Raises what opened the breaker if it is open, or opens meanwhile, and pages wait (``whole``: if it is open in any case):
        they cannot be written now.
        """
        waits = self.puts is not None and self.puts.holds(()) is not None
        error = self.breaker.poison_error or self.breaker.error
        if error is not None and self.breaker.declines and (waits or whole):
            raise error
        while self.puts is not None and not self.puts.drain(lambda: self.breaker.declines):
            error = self.breaker.poison_error or self.breaker.error
            if error is not None:
                raise error

    def finish(self) -> None:
        """Accept no more puts and write those accepted; calls may still be inside."""
        if self.puts is not None:
            self.puts.shut()
            self.puts.wake(0.0)  # an open breaker let its worker sleep
            with suppress(ClosedError):  # somebody else has what waits dropped
                self.puts.drain()

    def finish_within(self, seconds: float) -> Finished:
        """As :meth:`finish`, but for so many real seconds: what waits then is dropped."""
        return Finished(0, ended=True) if self.puts is None else self.puts.finish(seconds)

    def close(self) -> None:
        """End every thread that can be ended; the store's calls have left."""
        self.workers.stop()
        if self.puts is not None:
            self.puts.close()
        self.attempts.stop(CLOSE_WAIT_S)
        self.queues.close()
        self.crew.stop()
        if self.siblings is not None:
            self.siblings.close()

    def forked(self) -> None:
        """In a forked child: nothing runs here."""
        self.workers.forked()
        self.breaker.forked()
        self.disk_breakers.forked()
        self.waterfall.forked()
        self.times.forked()
        self.quick.forked()
        if self.puts is not None:
            self.puts.forked()
        self.attempts.forked()
        self.queues.forked()
        self.crew.forked()
        self.staging.forked()
        if self.siblings is not None:
            self.siblings.forked()

    def _start_puts(self) -> PutQueue | None:
        """The queue and its worker, if the options want one."""
        options = self.options
        if not options.put_queue_bytes:
            return None
        queue = PutQueue(options.put_queue_bytes, options.put_queue_pages, manual=self.workers.manual)

        def step() -> bool:
            """Write the pages of one call; none while the disk is left alone, and whoever waits for them is told."""
            if not self.breaker.declines:
                return queue.step()
            queue.stir()
            return False

        queue.wake = self.workers.start("lsmkv-put", step).wake
        return queue


def _progress(kind: str, counters: Counters) -> tuple[int, int]:
    """Failures and successes of this kind that were counted so far, those included that cost a caller pages and no exception."""
    return (counters.write_errors, counters.put_pages) if kind == "write" else (counters.read_failures, counters.hits)
