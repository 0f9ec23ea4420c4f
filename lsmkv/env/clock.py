"""The clock seam: monotonic time for intervals, wall time for humans, and waiting."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock", "clock_face", "cpu_s", "thread_cpu_s", "zone_s"]


class Clock(Protocol):
    """What the engine asks of time; seconds everywhere."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...

    def now(self) -> float:
        """Wall time in seconds since 1970 (for messages and records only)."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


def clock_face(at_s: float, zone_s: int = 0) -> str:
    """``13:04:59`` for a wall time, ``zone_s`` seconds ahead of universal time."""
    return time.strftime("%H:%M:%S", time.gmtime(at_s + zone_s))


def zone_s() -> int:
    """How far the machine's local time is ahead of universal time now, in seconds."""
    return time.localtime().tm_gmtoff


def cpu_s() -> float:
    """Seconds of processor time that this process has used: for experiments beside other work."""
    return time.process_time()


def thread_cpu_s() -> float:
    """Seconds of processor time that the calling thread has used: what a piece of background work costs."""
    return time.thread_time()


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    """See :class:`Clock`; the system's own, as a lookup of a microsecond asks twice."""

    def now(self) -> float:
        """See :class:`Clock`."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """See :class:`Clock`."""
        time.sleep(seconds)
