"""Who runs background work: the caller (:class:`ManualScheduler`) or a thread per worker (:class:`ThreadedScheduler`).

A *step* does one bounded unit of work and returns whether there may be more. Under the manual scheduler nothing ever runs by
itself, so a test is single-threaded and a seed replays bit for bit; the owner calls the same step function. Under the
threaded one a worker sleeps until woken and then runs steps until one returns False. A wake during a step is never lost: it
makes the worker look once more.

Steps handle their own errors. One that escapes is a bug in the step: it is kept as ``worker.error`` and that worker stops,
because running a broken step again would spin.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lsmkv.env.background import at_work
from lsmkv.env.sync import Condition, current_thread_id, start_thread

__all__ = ["ManualScheduler", "ManualWorker", "ThreadedScheduler", "ThreadedWorker"]


class ManualWorker:
    """A worker that never runs by itself; its owner calls the step."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """Remember the name, for messages."""
        self.name = name

    def wake(self, after_s: float = 0.0) -> None:
        """Do nothing: the owner decides when to step."""

    def stop(self) -> None:
        """Do nothing: no step runs behind the owner's back."""


class ManualScheduler:
    """Runs nothing; see :class:`lsmkv.env.scheduling.Scheduler`."""

    __slots__ = ()

    @property
    def manual(self) -> bool:
        """True."""
        return True

    def start(self, name: str, step: Callable[[], bool]) -> ManualWorker:
        """A worker whose ``wake`` does nothing; ``step`` stays with its owner."""
        del step
        return ManualWorker(name)


class ThreadedWorker:
    """A daemon thread that runs steps when woken. Attribute ``error``: what escaped from a step and ended it, or None."""

    def __init__(self, name: str, step: Callable[[], bool]) -> None:
        """Start the thread ``name``; it sleeps until the first :meth:`wake`."""
        self.name = name
        self.error: BaseException | None = None
        self._step = step
        self._changed = Condition()
        self._awake = False
        self._due: float | None = None
        self._stopping = False
        self._thread: threading.Thread = start_thread(name, self._run)

    def wake(self, after_s: float = 0.0) -> None:
        """Run steps, soon or ``after_s`` seconds from now (the earliest request counts), until one returns False.

        Cheap, never blocks on a step; may be called from the step itself.
        """
        if self._awake:
            return  # not taken up yet: the step to come sees all that happened before this call
        with self._changed:
            if after_s > 0:
                due = time.monotonic() + after_s
                self._due = due if self._due is None else min(self._due, due)
            else:
                self._awake = True
            self._changed.notify()

    def stop(self) -> None:
        """Run no further step and wait for the running one (not when called from within it). A second call does nothing."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident != current_thread_id():
            self._thread.join()

    def _run(self) -> None:
        """The thread: sleep, step, sleep."""
        try:
            while self._wait():
                with at_work():
                    while not self._stopping and self._step():
                        pass
        except BaseException as error:  # noqa: BLE001 - kept for the owner; a thread's own traceback reaches nobody
            self.error = error

    def _wait(self) -> bool:
        """Sleep until woken, or until a delayed wake is due (True), or until stopped (False)."""
        with self._changed:
            while not self._awake and not self._stopping:
                left = None if self._due is None else self._due - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            self._awake = False
            self._due = None
            return not self._stopping


class ThreadedScheduler:
    """One daemon thread per worker; see :class:`lsmkv.env.scheduling.Scheduler`."""

    __slots__ = ()

    @property
    def manual(self) -> bool:
        """False."""
        return False

    def start(self, name: str, step: Callable[[], bool]) -> ThreadedWorker:
        """Register work under a name that shows in thread lists."""
        return ThreadedWorker(name, step)
