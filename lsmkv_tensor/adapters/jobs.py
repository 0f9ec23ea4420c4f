"""Transfers of an engine that must not wait: handed over, done by threads of ours, their results fetched later.

Loads go before stores. Where more pages wait to be stored than allowed, a store is refused at once: the engine pins memory for
each job until it is told the result. The end is bounded too: a server that shuts down is killed some seconds later, whatever
still waits; what could not be done by then is dropped, told, and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

from lsmkv.env.process import watch_forks
from lsmkv.env.sync import Condition, RLock, start_thread

__all__ = ["DroppedError", "Jobs", "LeftError", "Stopped"]

T = TypeVar("T")
Kind: TypeAlias = Literal["load", "store"]


def _nothing() -> None:
    """Nobody is told that the time is over."""


ENDING_S = 1.0
"""Real seconds that a job under way is given to end once the queues are empty; a disk may hang."""


class DroppedError(Exception):
    """A job was not begun before the end; what its ``failed`` is called with."""

    def __init__(self) -> None:
        super().__init__("dropped at shutdown: the time for it was over")


class LeftError(Exception):
    """A job left its thread instead of failing (``sys.exit``, a task's cancellation); what its ``failed`` is called with."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"the job left with {error!r}")


class Stopped(NamedTuple):
    """How it ended."""

    dropped_pages: int
    """Of jobs that were never begun."""
    ended: bool
    """Whether every thread has: else one is inside a call that hangs, and goes on using what its job was given."""


class _Job(NamedTuple, Generic[T]):
    """One transfer."""

    pages: int
    work: Callable[[], T]
    failed: Callable[[Exception], T]


class Jobs(Generic[T]):
    """A queue of loads, a queue of stores, and the threads that empty them. Any thread may call anything."""

    def __init__(self, name: str, *, threads: int = 2, max_store_pages: int = 4096) -> None:
        """``max_store_pages``: pages that may wait to be stored. The threads start with the first job."""
        self._name = name
        self._limit = threads
        self._max_store_pages = max_store_pages
        lock = RLock()
        self._changed = Condition(lock)
        """For who waits until all is done."""
        self._more = Condition(lock)
        """For threads with nothing to do: each job wakes one, as two that wake for it hinder each other."""
        self._queues: dict[Kind, deque[_Job[T]]] = {"load": deque(), "store": deque()}
        self._results: deque[T] = deque()
        self._threads = 0
        self._idle = 0
        self._stopping = False
        watch_forks(self)

    def forked(self) -> None:
        """In a forked child: no thread is here, what waits is the parent's, and nothing is taken. Takes no lock."""
        self._more = Condition(lock := RLock())
        self._changed = Condition(lock)
        self._queues = {"load": deque(), "store": deque()}
        self._results = deque()
        self._threads = self._idle = 0
        self._stopping = True

    def submit(self, kind: Kind, pages: int, work: Callable[[], T], failed: Callable[[Exception], T]) -> bool:
        """Have it done; False if too much waits already, or nothing is done any more: then neither is called.

        ``failed(error)`` is the result if ``work`` raises.
        """
        with self._changed:
            if self._stopping or (kind == "store" and not self._has_room(pages)):
                return False
            queue = self._queues[kind]
            queue.append(_Job(pages, work, failed))
            if self._idle < sum(map(len, self._queues.values())) and self._threads < self._limit:
                try:
                    start_thread(f"{self._name}-{self._threads + 1}", self._run)
                    self._threads += 1
                except RuntimeError:  # the machine has no more threads: those that there are do it
                    if not self._threads:
                        queue.pop()
                        return False
            self._more.notify()
            return True

    def has_room(self, pages: int) -> bool:
        """Whether a store of so many pages would be taken now."""
        with self._changed:
            return not self._stopping and self._has_room(pages)

    @property
    def storing(self) -> bool:
        """Whether a store waits: what comes now is not the next."""
        return bool(self._queues["store"])

    def report(self, result: T) -> None:
        """A result of something that no thread has to do."""
        self._results.append(result)

    def finished(self) -> list[T]:
        """The results since the last call."""
        found = []
        while self._results:
            found.append(self._results.popleft())
        return found

    @property
    def pending(self) -> bool:
        """Whether anything is waiting, under way, or not fetched."""
        with self._changed:
            return bool(self._results) or not self._quiet()

    def wait_idle(self) -> None:
        """Wait until everything submitted is done."""
        with self._changed:
            self._changed.wait_for(self._quiet)

    def stop(self, within_s: float | None = None, late: Callable[[], None] = _nothing) -> Stopped:
        """Do what was submitted, and end the threads.

        ``within_s``: real seconds after which no job is begun any more: those that wait are dropped, and ``failed`` is called for
        each with a :class:`DroppedError`. Then ``late`` is called, which may cut short what jobs under way wait for, and
        these are given a second more to end. None: as long as it takes.
        """
        dropped: list[_Job[T]] = []
        with self._changed:
            self._stopping = True
            self._more.notify_all()
            ended = self._changed.wait_for(lambda: not self._threads, within_s)
            if not ended:
                for queue in self._queues.values():
                    dropped += queue
                    queue.clear()
        if not ended:
            late()
            with self._changed:
                ended = self._changed.wait_for(lambda: not self._threads, ENDING_S)
        for job in dropped:
            self._results.append(job.failed(DroppedError()))
        return Stopped(sum(job.pages for job in dropped), ended)

    def _has_room(self, pages: int) -> bool:
        """Whether so many pages may wait to be stored beside those that do (lock held)."""
        waiting = sum(job.pages for job in self._queues["store"])
        return not waiting or waiting + pages <= self._max_store_pages

    def _quiet(self) -> bool:
        """Whether nothing waits and nothing is under way (lock held)."""
        return not any(self._queues.values()) and self._idle == self._threads

    def _run(self) -> None:
        """A thread."""
        while (job := self._next()) is not None:
            try:
                result = job.work()
            except BaseException as error:  # noqa: BLE001 - the engine is told; nothing ends a thread that wait_idle waits for
                result = job.failed(error if isinstance(error, Exception) else LeftError(error))
            self._results.append(result)
            del job, result

    def _next(self) -> _Job[T] | None:
        """The next job; None at the end."""
        with self._changed:
            self._idle += 1
            self._changed.notify_all()
            self._more.wait_for(lambda: self._stopping or any(self._queues.values()))
            self._idle -= 1
            for queue in self._queues.values():
                if queue:
                    return queue.popleft()
            self._threads -= 1
            self._changed.notify_all()
            return None
