"""The scheduler seam: who runs background work, and when. Implementations live in :mod:`lsmkv.maintain.scheduler`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Scheduler", "Worker"]


class Worker(Protocol):
    """One registered piece of background work."""

    def wake(self, after_s: float = 0.0) -> None:
        """There may be work, now or ``after_s`` seconds from now: run ``step`` then until it returns False.

        A manual scheduler does nothing.
        """
        ...

    def stop(self) -> None:
        """Run no further step; returns when none is running. A second call does nothing."""
        ...


class Scheduler(Protocol):
    """Runs steps of background work."""

    @property
    def manual(self) -> bool:
        """True: nothing runs by itself; the owner calls its own step function."""
        ...

    def start(self, name: str, step: Callable[[], bool]) -> Worker:
        """Register work. ``step`` does one bounded unit and returns whether there may be more."""
        ...
