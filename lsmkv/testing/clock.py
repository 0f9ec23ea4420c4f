"""A clock that moves only when told to: nothing that waits in a test takes real time."""

from __future__ import annotations

from lsmkv.env.sync import Lock

__all__ = ["ManualClock"]


class ManualClock:
    """Seconds under the test's control; see :class:`lsmkv.env.clock.Clock`. ``slept`` lists what callers waited for."""

    def __init__(self, start: float = 0.0, *, wall: float = 1_700_000_000.0) -> None:
        """Show ``start`` as monotonic and ``wall`` as wall time, both in seconds."""
        self.slept: list[float] = []
        self._monotonic = start
        self._offset = wall - start
        self._lock = Lock()

    def monotonic(self) -> float:
        """Seconds; moves only by :meth:`advance` and :meth:`sleep`."""
        return self._monotonic

    def now(self) -> float:
        """Wall time in seconds since 1970, moving along."""
        return self._monotonic + self._offset

    def sleep(self, seconds: float) -> None:
        """Advance by ``seconds`` and return at once."""
        self.slept.append(seconds)
        self.advance(max(seconds, 0.0))

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` (>= 0) pass."""
        assert seconds >= 0, "time does not go back"
        with self._lock:
            self._monotonic += seconds
