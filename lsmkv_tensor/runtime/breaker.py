"""A breaker for a disk that fails: after some failures in a row nobody is sent to it any more, until it is found well again.

::

    closed --failures in a row--> open --back-off, the disk is tried--> closed (the first failure opens it again)
                                  ^                       |
                                  `---- still failing ----'   back-off doubles, up to MAX_BACKOFF_S

While it is open, asking is a miss and putting is declined, at once: a server in front of a dying disk computes instead of
waiting. A *poisoned* store (a failed sync: what is on disk is unknown) goes on reading and declines what is put, until it was
reopened.

Failures are counted by kind: reads that are answered from memory must not hide writes that fail.
"""

from __future__ import annotations

from collections.abc import Callable

from lsmkv.env.clock import Clock
from lsmkv.env.sync import Lock

__all__ = ["FIRST_BACKOFF_S", "MAX_BACKOFF_S", "Breaker"]

FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 60.0


class Breaker:
    """Whether calls may go to the disk. Any thread may call anything; :meth:`attempt` belongs to one worker."""

    def __init__(self, clock: Clock, failures: int) -> None:
        self._clock = clock
        self._limit = failures
        self._lock = Lock()
        self._counts: dict[str, int] = {}
        self._due = 0.0
        self._backoff = FIRST_BACKOFF_S
        self.wake: Callable[[float], None] = _nobody
        """Called with the seconds after which :meth:`attempt` should be called."""
        self.open = False
        self.poisoned = False
        self.error: Exception | None = None
        """What opened it; None while it is closed."""
        self.poison_error: Exception | None = None
        """What writers are told while the store is poisoned."""
        self.since: float | None = None
        """Wall time at which it opened; None while it is closed."""
        self.trips = 0
        """Times that it opened, or that the store was poisoned."""
        self.attempts = 0
        """Times that the disk was tried."""
        self.recoveries = 0

    @property
    def enabled(self) -> bool:
        """Whether it ever opens."""
        return self._limit > 0

    @property
    def declines(self) -> bool:
        """Whether puts are declined."""
        return self.open or self.poisoned

    def worked(self, kind: str) -> None:
        """An operation of this kind reached the disk and was done."""
        if self._counts.get(kind) or self._backoff > FIRST_BACKOFF_S:
            with self._lock:
                self._counts[kind] = 0
                self._backoff = FIRST_BACKOFF_S

    def failed(self, kind: str, error: Exception) -> None:
        """An operation of this kind failed."""
        with self._lock:
            count = self._counts[kind] = self._counts.get(kind, 0) + 1
            if not self.enabled or count < self._limit or self.open:
                return
            self.open = True
            after_s = self._begin(error)
        self.wake(after_s)

    def poison(self, error: Exception) -> None:
        """Nothing can be written until the store was reopened; that is tried at once."""
        with self._lock:
            if not self.enabled or self.poisoned:
                return
            self.poisoned = True
            self.poison_error = error
            self._begin(error)
            self._due = self._clock.monotonic()
        self.wake(0.0)

    def attempt(self, recover: Callable[[], Exception | None]) -> bool:
        """If the back-off has passed, try the disk: ``recover`` returns what is still wrong. Whether it is closed now."""
        if not self.declines:
            return True
        wait = self._due - self._clock.monotonic()
        if wait > 0:
            self.wake(wait)
            return False
        self.attempts += 1
        error = recover()
        with self._lock:
            if error is None:
                self.open = self.poisoned = False
                self.error = self.since = self.poison_error = None
                self.recoveries += 1
                self._counts = dict.fromkeys(self._counts, self._limit - 1)  # the next failure opens it again
                return True
            self.error = error
            self._backoff = min(2 * self._backoff, MAX_BACKOFF_S)
            self._due = self._clock.monotonic() + self._backoff
            after_s = self._backoff
        self.wake(after_s)
        return False

    def release(self) -> None:
        """Send everybody to the disk once more, whatever it does: the store is closing."""
        with self._lock:
            self._limit = 0
            self.open = self.poisoned = False

    def forked(self) -> None:
        """In a forked child: another lock."""
        self._lock = Lock()

    def _begin(self, error: Exception) -> float:
        """It is open, or the store poisoned, from now on; the back-off to begin with."""
        self.error = error
        self.trips += 1
        if self.since is None:
            self.since = self._clock.now()
        self._due = self._clock.monotonic() + self._backoff
        return self._backoff


def _nobody(after_s: float) -> None:
    """There is no worker to be woken."""
    del after_s
