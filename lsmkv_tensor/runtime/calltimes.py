"""How long calls took: a histogram for each kind, with fixed bounds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lsmkv.env.sync import Lock

__all__ = ["BOUNDS_S", "CallTimes", "Times"]

BOUNDS_S = (50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets, seconds; one more holds what took longer."""


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
        self._buckets = {kind: [0] * (len(BOUNDS_S) + 1) for kind in kinds}
        self._seconds = dict.fromkeys(kinds, 0.0)
        self.before_telling: Callable[[], object] = bool
        """Called before the histograms are told: it adds what waits elsewhere."""

    def note(self, kind: str, seconds: float) -> None:
        """A call took so long."""
        with self._lock:
            self._buckets[kind][bisect_left(BOUNDS_S, seconds)] += 1
            self._seconds[kind] += seconds

    def repeated(self, kind: str, seconds: float, calls: int) -> None:
        """So many calls took about so long each."""
        with self._lock:
            self._buckets[kind][bisect_left(BOUNDS_S, seconds)] += calls
            self._seconds[kind] += seconds * calls

    def told(self) -> Mapping[str, Times]:
        """The histograms, by kind of call."""
        self.before_telling()
        with self._lock:
            return {kind: Times(sum(b), self._seconds[kind], tuple(b)) for kind, b in self._buckets.items()}

    def forked(self) -> None:
        """In a forked child: another lock."""
        self._lock = Lock()
