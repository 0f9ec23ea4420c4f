"""The named background workers of a store: who runs them, and how they end.

By default each is a thread; under a manual scheduler nothing runs by itself and :meth:`Workers.step` does one unit. A worker's
step does bounded work, so that stopping waits for one step at most.
"""

from __future__ import annotations

from collections.abc import Callable

from lsmkv.env.scheduling import Scheduler, Worker
from lsmkv.env.sync import Lock
from lsmkv.maintain.scheduler import ManualWorker, ThreadedScheduler

__all__ = ["Workers"]


class Workers:
    """The workers of one store."""

    def __init__(self, scheduler: Scheduler | None) -> None:
        self._scheduler: Scheduler = scheduler if scheduler is not None else ThreadedScheduler()
        self._lock = Lock()
        self._stopped = False
        self._steps: dict[str, Callable[[], bool]] = {}
        self._workers: dict[str, Worker] = {}

    @property
    def manual(self) -> bool:
        """Whether nothing runs by itself."""
        return self._scheduler.manual

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, as thread lists show them."""
        return tuple(self._workers)

    def start(self, name: str, step: Callable[[], bool]) -> Worker:
        """Register work: ``step`` does one bounded unit, handles its own errors, and returns whether there may be more."""
        self._steps[name] = step
        worker = self._workers[name] = self._scheduler.start(name, step)
        return worker

    def ensure(self, name: str, step: Callable[[], bool]) -> Worker:
        """The worker of this name, started now if it was not; one that does nothing once they were stopped."""
        with self._lock:
            worker = self._workers.get(name)
            if worker is None and self._stopped:
                return ManualWorker(name)
            return worker if worker is not None else self.start(name, step)

    def step(self) -> bool:
        """Do one unit of every worker, here; whether there may be more. For owners of a manual scheduler."""
        more = [step() for step in list(self._steps.values())]
        return any(more)

    def stop(self) -> None:
        """No further step; returns when none is running. A second call does nothing."""
        with self._lock:
            self._stopped = True
            workers = list(self._workers.values())
        for worker in workers:
            worker.stop()

    def forked(self) -> None:
        """In a forked child: there are no threads here."""
        self._lock = Lock()
        self._stopped = True
        self._workers = {}
        self._steps = {}
