"""Writers stand aside while a flush needs the interpreter.

Two threads that both want the interpreter do not share it, they quarrel. A writer lets go of it for the ten microseconds of each
write to the log, and a flush between any two steps of NumPy; whoever finds it taken sleeps, wakes up 50 us later to find it taken
again, and insists after 5 ms. Measured: a flush that takes 65 ms by itself takes 170 beside a writer, and costs him 110.

So a flush asks for the interpreter while it works in it, for some milliseconds at a time, and at the beginning of each batch a
writer waits, asleep, until it is not asked any more. While a flush sorts, writes and syncs, writers go on undisturbed.
"""

from __future__ import annotations

from lsmkv.env.sync import Lock

__all__ = ["Courtesy", "Pause"]

LONGEST_S = 0.1
"""A writer waits no longer: it is courtesy, and nothing depends on it."""


class Courtesy:
    """``with courtesy:`` around background work, ``with courtesy.pause:`` inside around what needs no interpreter, or waits.

    By one thread at a time. Writers call :meth:`wait` while there is a ``gate``, holding nothing that such work may want.
    """

    __slots__ = ("gate", "pause")

    def __init__(self) -> None:
        self.gate: Lock | None = None
        """Held while somebody works in the interpreter, then dropped; None: nobody does."""
        self.pause = Pause(self)

    def __enter__(self) -> None:
        """Ask. A gate is shown when it is held: whatever interrupts this leaves none that stays shut."""
        gate = Lock()
        gate.acquire()
        self.gate = gate

    def __exit__(self, *_: object) -> None:
        """Ask no more."""
        gate, self.gate = self.gate, None
        if gate is not None:
            gate.release()

    def wait(self) -> None:
        """Wait until it is not asked for. What asks again meanwhile is not waited for."""
        gate = self.gate
        if gate is not None and gate.acquire(timeout=LONGEST_S):
            gate.release()

    def forked(self) -> None:
        """In a forked child: whoever asked does not exist here."""
        self.gate = None


class Pause:
    """The time in which work that asks for courtesy needs none: ``with pause:``, inside it."""

    __slots__ = ("_courtesy",)

    def __init__(self, courtesy: Courtesy) -> None:
        self._courtesy = courtesy

    def __enter__(self) -> None:
        """Ask no more."""
        self._courtesy.__exit__()

    def __exit__(self, *_: object) -> None:
        """Ask again."""
        self._courtesy.__enter__()
