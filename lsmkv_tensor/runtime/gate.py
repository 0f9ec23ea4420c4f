"""The gate of a store: as :class:`lsmkv.env.gate.CallGate`, and it can be held shut for a moment while the store is reopened."""

from __future__ import annotations

from lsmkv.env.gate import CallGate
from lsmkv.env.sync import current_thread_id
from lsmkv.errors import BusyError, ClosedError

__all__ = ["StoreGate"]


class StoreGate(CallGate):
    """``with gate:`` around each call; ClosedError once shut. Calls that come while it is paused wait."""

    __slots__ = ("_paused",)

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self._paused = False

    def __enter__(self) -> None:
        """Count a call in, after a pause if there is one."""
        with self._state:
            while self._paused and self._open:
                self._state.wait()
            if not self._open:
                raise ClosedError(self._what)
            self._inside.append(current_thread_id())

    def check_outside(self) -> None:
        """BusyError from inside a call of the same thread: closing there would wait for itself."""
        with self._state:
            if current_thread_id() in self._inside:
                raise BusyError(f"{self._what} was closed from inside another call of the same thread: let that return first")

    def try_pause(self) -> bool:
        """If no call is inside, let none in until :meth:`resume`; whether that is so."""
        with self._state:
            if self._inside or self._paused or not self._open:
                return False
            self._paused = True
            return True

    def resume(self) -> None:
        """Let calls in again."""
        with self._state:
            self._paused = False
            self._state.notify_all()

    def drain(self) -> None:
        """Wait until the calls inside have left and a pause has ended."""
        with self._state:
            while self._inside or self._paused:
                self._state.wait()

    def forked(self) -> None:
        """In a forked child: shut for good. Takes no lock."""
        super().forked()
        self._paused = False
