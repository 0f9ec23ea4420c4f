"""A store of several disks leaves a disk alone whose reads fail in a row; the pages of the others go on.

Each disk has a breaker of its own for the reads of its pages: after so many failures in a row they are misses at once, without
the disk, and a worker tries it after a back-off. Failures of the index, and of writes, are the store's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lsmkv.env.clock import Clock
from lsmkv.env.sync import Lock
from lsmkv_tensor.runtime.breaker import Breaker

__all__ = ["DiskBreakers"]


class DiskBreakers:
    """The breakers of one store's disks, by number. Any thread may call anything; :meth:`attempt` belongs to one worker."""

    def __init__(self, clock: Clock, failures: int) -> None:
        self._clock = clock
        self._failures = failures
        self._lock = Lock()
        self._breakers: dict[int, Breaker] = {}
        self.wake: Callable[[float], None] = _nobody
        """Called with the seconds after which :meth:`attempt` should be called."""

    def alone(self, disk: int) -> bool:
        """Whether this disk is left alone now."""
        breaker = self._breakers.get(disk)
        return breaker is not None and breaker.open

    def errors(self) -> dict[int, Exception | None]:
        """The disks that are left alone, and what the last failure of each was."""
        return {disk: breaker.error for disk, breaker in list(self._breakers.items()) if breaker.open}

    def note(self, disks: Iterable[int], failed: dict[int, Exception]) -> None:
        """A call read from these disks; which of them failed it, and how."""
        for disk in disks:
            error = failed.get(disk)
            if error is not None:
                self._of(disk).failed("read", error)
            elif disk in self._breakers:
                self._breakers[disk].worked("read")

    def attempt(self, try_disk: Callable[[int], Exception | None]) -> None:
        """Try the disks whose back-off has passed."""
        for disk in self.errors():
            self._breakers[disk].attempt(lambda disk=disk: try_disk(disk))  # type: ignore[misc]  # bound in the loop

    def forked(self) -> None:
        """In a forked child: other locks."""
        self._lock = Lock()
        for breaker in self._breakers.values():
            breaker.forked()

    def _of(self, disk: int) -> Breaker:
        """The breaker of a disk, made when it first fails."""
        with self._lock:
            breaker = self._breakers.get(disk)
            if breaker is None:
                breaker = self._breakers[disk] = Breaker(self._clock, self._failures)
                breaker.wake = self.wake
            return breaker


def _nobody(after_s: float) -> None:
    """There is no worker to be woken."""
    del after_s
