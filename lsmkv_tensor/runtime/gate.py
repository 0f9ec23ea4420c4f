"""The gate of a store: as :class:`lsmkv.env.gate.CallGate`, and it can be held shut for a moment while the store is reopened."""

from __future__ import annotations

from lsmkv.env.gate import CallGate
from lsmkv.env.sync import current_thread_id
from lsmkv.errors import BusyError, ClosedError, PoisonedError

__all__ = ["StoreGate"]


class StoreGate(CallGate):
    """``with gate:`` around each call; ClosedError once shut. Calls that come while it is paused wait."""

    __slots__ = ("_broken", "_paused", "lets_in")

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self._paused = False
        self._broken: PoisonedError | None = None
        self.lets_in = True
        """Whether a call would be let in at once, as far as can be seen without waiting."""

    @property
    def broken(self) -> PoisonedError | None:
        """Raised by every call: the store could not be reopened."""
        return self._broken

    @broken.setter
    def broken(self, error: PoisonedError | None) -> None:
        """Have every call raise this, or none."""
        with self._lock:
            self._broken = error
            self._look()

    @property
    def what(self) -> str:
        """The name it was made with."""
        return self._what

    @property
    def is_shut(self) -> bool:
        """Whether no call is let in any more."""
        return not self._open

    def __enter__(self) -> None:
        """Count a call in, after a pause if there is one (a call from inside another does not wait for itself)."""
        with self._lock:
            while self._paused and self._open and current_thread_id() not in self._inside:
                self._state.wait()
            if not self._open:
                raise ClosedError(self._what)
            if self._broken is not None:
                raise self._broken
            self._inside.append(current_thread_id())

    def bar(self) -> bool:
        """See :meth:`CallGate.bar`."""
        try:
            return super().bar()
        finally:
            with self._lock:
                self._look()

    def check_outside(self) -> None:
        """BusyError from inside a call of the same thread: closing there would wait for itself."""
        with self._state:
            if current_thread_id() in self._inside:
                raise BusyError(f"{self._what} was closed from inside another call of the same thread: let that return first")

    def pause(self, wait_s: float) -> bool:
        """Let no call in until :meth:`resume`, once those inside have left; False, and no pause, if that takes too long."""
        with self._state:
            if self._paused or not self._open:
                return False
            self._paused = self._awaited = True
            self._look()
            if self._state.wait_for(lambda: not self._inside, wait_s) and self._open:
                return True
            self._paused = False
            self._look()
            self._state.notify_all()
            return False

    def resume(self) -> None:
        """Let calls in again."""
        with self._state:
            self._paused = False
            self._look()
            self._state.notify_all()

    def drain(self) -> None:
        """Wait until the calls inside have left and a pause has ended."""
        with self._state:
            self._awaited = True
            while self._inside or self._paused:
                self._state.wait()

    def forked(self) -> None:
        """In a forked child: shut for good. Takes no lock."""
        super().forked()
        self._paused = False
        self._look()

    def _look(self) -> None:
        """Whether calls are let in has changed (lock held, or nobody else is here)."""
        self.lets_in = self._open and not self._paused and self._broken is None
