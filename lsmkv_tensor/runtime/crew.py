"""A few threads that help a call with its own parts, and are gone from it when it returns.

Reading and checking pages leaves the GIL alone most of the time, so two threads bring a batch in little more than half the time.
The caller always works itself and waits for no thread to begin: whoever is idle takes the next part. So a crew whose
threads all hang on a disk slows nobody else down, and a call of one part never meets another thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Generic, TypeVar

from lsmkv.env.sync import Lock, start_thread
from lsmkv_tensor.runtime.process import cpu_count

__all__ = ["Crew", "threads_for"]

STOP_WAIT_S = 1.0
"""Seconds that :meth:`Crew.stop` gives an idle thread to end."""

MOST_THREADS = 4
"""Threads that read for one call unless told otherwise: more of them only wait for the same memory or disk."""

T = TypeVar("T")


def threads_for(wanted: int | None, *, own_disk: bool) -> int:
    """Threads for one call, its own included: so many, or what suits this machine.

    ``own_disk``: the files are this machine's. Another file system is most often a test's, and wants its calls in order.
    """
    if wanted is not None:
        return wanted
    return min(cpu_count(), MOST_THREADS) if own_disk else 1


class _Job(Generic[T]):
    """The parts of one call and what came of them. ``helpers`` is changed under the crew's lock."""

    __slots__ = ("closed", "done", "error", "helpers", "parts", "results", "turns")

    def __init__(self, parts: Sequence[Callable[[], T]]) -> None:
        self.parts = parts
        self.results: list[T | None] = [None] * len(parts)
        self.turns = count()  # taking a number is one step of the interpreter
        self.error: BaseException | None = None
        self.helpers = 0
        self.closed = False
        self.done = Lock()

    def work(self) -> None:
        """Do parts until none is left or one has failed."""
        total = len(self.parts)
        while self.error is None and (i := next(self.turns)) < total:
            try:
                self.results[i] = self.parts[i]()
            except BaseException as error:  # noqa: BLE001 - raised again in the call whose part it was
                self.error = error


class _Helper:
    """An idle or busy thread: its wake-up call, and what it is called for."""

    __slots__ = ("job", "wake")

    def __init__(self) -> None:
        self.wake = Lock()
        self.wake.acquire()  # released by whoever has a job
        self.job: _Job[object] | None = None


class Crew:
    """At most ``helpers`` threads, started when they are first needed. Any thread may call anything."""

    def __init__(self, helpers: int) -> None:
        self._most = helpers
        self._lock = Lock()
        self._idle: list[_Helper] = []
        self._threads = 0
        self._stopping = False

    @property
    def size(self) -> int:
        """Threads that may work on one call, the caller's own included."""
        return self._most + 1

    def run(self, parts: Sequence[Callable[[], T]]) -> list[T]:
        """What the parts return, in their order; they run side by side, and none runs any more when this returns.

        The first error of a part is raised; parts not begun are then left out.
        """
        job = _Job(parts)
        try:
            if len(parts) > 1 and self._most:
                self._call(job, len(parts) - 1)
            job.work()
        except BaseException as error:  # noqa: BLE001 - an interrupt between two parts: no further one is begun
            job.error = job.error or error
        self._wait(job)
        if job.error is not None:
            raise job.error
        return job.results  # type: ignore[return-value]  # every part has been done

    def stop(self) -> None:
        """End every thread that is idle; one that hangs ends when its read does."""
        with self._lock:
            self._stopping = True
            idle, self._idle = self._idle, []
        for helper in idle:
            helper.wake.release()

    def forked(self) -> None:
        """In a forked child: no threads are here, and none is started. Takes no lock."""
        self._lock = Lock()
        self._idle = []
        self._most = 0

    def _call(self, job: _Job[T], wanted: int) -> None:
        """Have up to so many threads join."""
        with self._lock:
            while wanted and not self._stopping:
                if self._idle:
                    helper = self._idle.pop()
                elif self._threads < self._most:
                    helper = _Helper()
                    try:
                        start_thread("lsmkv-crew", lambda helper=helper: self._live(helper))  # type: ignore[misc]  # bound now
                    except RuntimeError:  # the machine has no more threads: the caller does without
                        return
                    self._threads += 1
                else:
                    return
                helper.job = job  # type: ignore[assignment]  # a helper never looks at what parts return
                helper.wake.release()
                wanted -= 1

    def _wait(self, job: _Job[T]) -> None:
        """Until no helper works on the job, and none will; no interrupt shortens it: they write to the caller's memory."""
        while True:
            with self._lock:
                job.closed = True
                if not job.helpers:
                    return
                job.done.acquire(blocking=False)
            try:
                job.done.acquire()
            except BaseException as error:  # noqa: BLE001 - kept, and raised when the memory is the caller's again
                job.error = job.error or error

    def _live(self, helper: _Helper) -> None:
        """A thread: wait for a job, work on it, be idle again."""
        while True:
            helper.wake.acquire()
            with self._lock:
                job, helper.job = helper.job, None
                if job is not None and not job.closed:
                    job.helpers += 1
                else:
                    job = None
            if job is not None:
                job.work()
            with self._lock:
                if job is not None:
                    job.helpers -= 1
                    if not job.helpers and job.done.locked():
                        job.done.release()
                    job = None  # an idle thread keeps no caller's memory alive
                if self._stopping:
                    self._threads -= 1
                    return
                self._idle.append(helper)
