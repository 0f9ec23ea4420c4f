"""Lookups that were answered from memory, until they are counted: many at a time. Counting one takes as long as answering it."""

from __future__ import annotations

from collections import deque

from lsmkv.env.sync import Lock
from lsmkv_tensor.runtime.calltimes import CallTimes
from lsmkv_tensor.runtime.waterfall import Waterfall

__all__ = ["AS_BEFORE", "MOST_WAITING", "QuickAsks"]

MOST_WAITING = 256
"""Calls that are noted and not counted yet, nearly."""
AS_BEFORE = -1.0
"""Instead of seconds: it was not timed, and is taken to have been as long as the one before it that was."""


class QuickAsks:
    """Those of one store. Any thread may call anything."""

    def __init__(self, fall: Waterfall, times: CallTimes) -> None:
        """Whoever reads one of these accounts finds all in it."""
        self._fall = fall
        self._times = times
        self._lock = Lock()
        self._waiting: dict[int, deque[float]] = {}
        fall.before_telling = times.before_telling = self.settle

    def of(self, tokens: int) -> deque[float]:
        """For prefixes of so many tokens that are found whole: the seconds each took.

        Who appends calls :meth:`settle` when MOST_WAITING are there.
        """
        with self._lock:
            return self._waiting.setdefault(tokens, deque())

    def settle(self) -> None:
        """Count what waits."""
        with self._lock:
            waiting = [(tokens, [queue.popleft() for _ in range(len(queue))]) for tokens, queue in self._waiting.items()]
        for tokens, seconds in waiting:  # what is noted meanwhile waits
            if seconds:
                self._fall.whole(len(seconds), tokens)
                self._times.add("ask", _filled(seconds))

    def forked(self) -> None:
        """In a forked child: another lock."""
        self._lock = Lock()


def _filled(seconds: list[float]) -> list[float]:
    """With a time for each."""
    last = next((s for s in seconds if s >= 0), 0.0)
    return [last := s if s >= 0 else last for s in seconds]
