"""Lookups that were answered from memory, until they are counted: many at a time. Counting one takes as long as answering it."""

from __future__ import annotations

from collections import deque

from lsmkv.env.sync import Lock
from lsmkv_tensor.runtime.calltimes import CallTimes
from lsmkv_tensor.runtime.waterfall import Waterfall

__all__ = ["MOST_WAITING", "QuickAsks"]

MOST_WAITING = 256
"""Calls that are noted and not counted yet, at most; about 100 bytes each."""


class QuickAsks:
    """Those of one store. Any thread may call anything."""

    def __init__(self, fall: Waterfall, times: CallTimes) -> None:
        """Whoever reads one of these accounts finds all in it."""
        self._fall = fall
        self._times = times
        self._lock = Lock()
        self.waiting: deque[tuple[int, float]] = deque()
        """Tokens of a prefix that was found whole, and the seconds it took: who appends here calls :meth:`settle` from
        MOST_WAITING on."""
        fall.before_telling = times.before_telling = self.settle

    def note(self, tokens: int, seconds: float) -> None:
        """A prefix of so many tokens was found whole, in so long."""
        self.waiting.append((tokens, seconds))
        if len(self.waiting) >= MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Count what waits."""
        with self._lock:
            waiting = self.waiting
            some = [waiting.popleft() for _ in range(len(waiting))]  # what is noted meanwhile waits
        if some:
            self._fall.whole(sum(tokens for tokens, _ in some), 1)
            self._times.add("ask", [seconds for _, seconds in some])

    def forked(self) -> None:
        """In a forked child: another lock."""
        self._lock = Lock()
