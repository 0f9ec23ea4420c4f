"""A counted gate: every call passes it, close shuts it and waits until the last call has left.

A call that holds the gate may make another call on the same object: the gate counts, it does not exclude.
"""

from __future__ import annotations

from types import TracebackType

from lsmkv.env.sync import Condition
from lsmkv.errors import ClosedError

__all__ = ["CallGate"]


class CallGate:
    """``with gate:`` around each call; ClosedError once shut."""

    __slots__ = ("_inside", "_open", "_state", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._open = True
        self._inside = 0
        self._state = Condition()

    def __enter__(self) -> None:
        """Count a call in."""
        with self._state:
            if not self._open:
                raise ClosedError(self._what)
            self._inside += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Count it out."""
        with self._state:
            self._inside -= 1
            if not self._inside:
                self._state.notify_all()

    def bar(self) -> bool:
        """Let no further call in; whether this was the call that barred it."""
        with self._state:
            first, self._open = self._open, False
            return first

    def drain(self) -> None:
        """Wait until the calls inside have left."""
        with self._state:
            while self._inside:
                self._state.wait()

    def forked(self) -> None:
        """In a forked child: shut for good, whoever was inside when the fork came. Takes no lock."""
        self._state = Condition()
        self._open = False
        self._inside = 0

    def shut(self) -> bool:
        """Let no further call in and wait for those inside; whether this was the call that shut it."""
        first = self.bar()
        self.drain()
        return first
