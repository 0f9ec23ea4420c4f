"""The time of a trace, for a store that is driven faster than the requests came."""

from __future__ import annotations

from lsmkv.env.clock import Clock

__all__ = ["TraceClock"]


class TraceClock:
    """A clock that goes as another one does and is put forward to when each request came; never back."""

    def __init__(self, real: Clock) -> None:
        self._real = real
        self._began = real.monotonic()
        self._ahead = 0.0

    def reach(self, at_s: float) -> None:
        """So many seconds of the trace have passed; nothing changes if more have already."""
        self._ahead = max(self._ahead, at_s - (self._real.monotonic() - self._began))

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return self._real.monotonic() + self._ahead

    def now(self) -> float:
        """See :class:`Clock`."""
        return self._real.now() + self._ahead

    def sleep(self, seconds: float) -> None:
        """See :class:`Clock`: whoever waits does so in real time."""
        self._real.sleep(seconds)
