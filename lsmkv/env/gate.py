"""A counted gate: every call passes it, close shuts it and waits until the last call has left.

A call that holds the gate may make another call on the same object: the gate counts, it does not exclude. Only close may not be
called from inside a call, by an iterable that it draws from, a callback or a signal handler: it would wait for itself.
"""

from __future__ import annotations

from types import TracebackType

from lsmkv.env.sync import Condition, RLock, current_thread_id
from lsmkv.errors import BusyError, ClosedError

__all__ = ["CallGate"]


class CallGate:
    """``with gate:`` around each call; ClosedError once shut."""

    __slots__ = ("_awaited", "_inside", "_lock", "_open", "_state", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._open = True
        self._inside: list[int] = []  # a thread for each call
        self._awaited = False
        self._lock = RLock()
        self._state = Condition(self._lock)
        """Told when the last call has left, if anybody waits for that; calls take its lock by itself, in half the time."""

    def __enter__(self) -> None:
        """Count a call in."""
        with self._lock:
            if not self._open:
                raise ClosedError(self._what)
            self._inside.append(current_thread_id())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Count it out."""
        with self._lock:
            self._inside.remove(current_thread_id())
            if self._awaited and not self._inside:
                self._state.notify_all()

    def bar(self) -> bool:
        """Let no further call in; whether this was the call that barred it. BusyError, and no change, from inside a call."""
        with self._state:
            if current_thread_id() in self._inside:
                raise BusyError(f"{self._what} was closed from inside another call of the same thread: let that return first")
            first, self._open = self._open, False
            return first

    def drain(self) -> None:
        """Wait until the calls inside have left."""
        with self._lock:
            self._awaited = True
            while self._inside:
                self._state.wait()

    def forked(self) -> None:
        """In a forked child: shut for good, whoever was inside when the fork came. Takes no lock."""
        self._lock = RLock()
        self._state = Condition(self._lock)
        self._open = False
        self._inside = []

    def shut(self) -> bool:
        """Let no further call in and wait for those inside; whether this was the call that shut it. Raises as :meth:`bar`."""
        first = self.bar()
        self.drain()
        return first
