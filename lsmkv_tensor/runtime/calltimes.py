"""How long calls took: a histogram for each kind, with fixed bounds."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from lsmkv.env.sync import Lock

__all__ = ["BOUNDS_S", "CallTimes", "Times"]

BOUNDS_S = (50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets, seconds; one more holds what took longer."""

MOST_WAITING = 256
"""Calls that are noted and not counted yet, at most; about 100 bytes each."""


@dataclass(frozen=True, slots=True)
class Times:
    """The calls of one kind since opening."""

    calls: int
    seconds: float
    """Together."""
    buckets: tuple[int, ...]
    """Calls by :data:`BOUNDS_S`, each counted once; the last one holds those above the last bound."""


class CallTimes:
    """Histograms of one store. Any thread may call anything."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._lock = Lock()
        self.waiting: deque[tuple[str, float]] = deque()
        """Kinds and seconds of calls that are not counted yet: who appends here calls :meth:`settle` now and then."""
        self._buckets = {kind: [0] * (len(BOUNDS_S) + 1) for kind in kinds}
        self._seconds = dict.fromkeys(kinds, 0.0)

    def note(self, kind: str, seconds: float) -> None:
        """A call took so long."""
        self.waiting.append((kind, seconds))  # a lookup takes a microsecond or two: finding its bucket is done later, for many
        if len(self.waiting) >= MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Count what waits."""
        with self._lock:
            self._settle()

    def _settle(self) -> None:
        """Count what waits (lock held)."""
        waiting = self.waiting
        for _ in range(len(waiting)):  # what is noted meanwhile waits
            kind, seconds = waiting.popleft()
            self._buckets[kind][bisect_left(BOUNDS_S, seconds)] += 1
            self._seconds[kind] += seconds

    def told(self) -> Mapping[str, Times]:
        """The histograms, by kind of call."""
        with self._lock:
            self._settle()
            return {kind: Times(sum(b), self._seconds[kind], tuple(b)) for kind, b in self._buckets.items()}

    def forked(self) -> None:
        """In a forked child: another lock."""
        self._lock = Lock()
