"""Calls that an engine waits for only so long: what the disk does not let be done by then goes on on a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lsmkv.env.clock import Clock
from lsmkv_tensor.runtime.attempts import AttemptPool

__all__ = ["InTime"]

END_S = 1.0
"""Seconds that a thread gets to end whose work is done."""

T = TypeVar("T")


class InTime:
    """Does a thing on a thread of its own, each time another. Any thread may call anything."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: list[AttemptPool] = []

    def call(self, work: Callable[[], T], seconds: float) -> tuple[T] | None:
        """What it returns, alone in a tuple; None if that takes longer: it goes on. Its errors are raised if they come in time.

        It must not touch memory of the caller's.
        """
        pool = AttemptPool(self._clock)

        def worked() -> tuple[T]:
            """Tells a result that is None from none."""
            return (work(),)

        found, late = None, False
        try:
            found = pool.one(worked, pool.until(seconds))
            if pool.refused:  # the machine has no more threads
                found = worked()
            late = found is None
        finally:
            pool.stop(0.0 if late else END_S)
        if late:
            self._left.append(pool)
        return found

    def wait(self, seconds: float) -> bool:
        """Wait so many seconds (real ones) for each thing that goes on; whether all of them have ended."""
        self._left = [pool for pool in self._left if pool.stop(seconds)]
        return not self._left
