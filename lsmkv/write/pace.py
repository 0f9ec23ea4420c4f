"""How fast writes may go while background work is behind: pure arithmetic, no clock, no locks.

*Pressure* runs from 0, where slowing down begins, to 1, where writes stop. The allowed rate is what background work has lately
achieved, times a factor that falls with the pressure::

    allowed = achieved * 8 * 16 ** -pressure          8 at 0, 1 at 3/4, 1/2 at 1

So writes that outrun background work settle three quarters of the way to the stop, at the speed of that work: each of them
waits a little, instead of a few of them very long. A batch is charged by its bytes.
"""

from __future__ import annotations

import math

from lsmkv.live.state import ReadState
from lsmkv.options import Options

__all__ = ["FIRST_RATE", "LEAST_RATE", "LEAST_WAIT_S", "MOST_WAIT_S", "Pace", "allowed_rate", "crowded", "pressure"]

FIRST_RATE = float(32 << 20)
"""Bytes a second that background work is taken to achieve before any of it was seen."""

LEAST_RATE = float(1 << 20)
"""Bytes a second that writes are never slowed below: what cannot keep up with that ends in a stop, which says so."""

MOST_WAIT_S = 1.0
"""Longest wait of one write."""

LEAST_WAIT_S = 0.001
"""What is shorter is owed, and waited for together with what the next writes owe: a clock sleeps no shorter."""

NEWS_WEIGHT = 0.5
"""How much of the achieved rate the newest measurement is."""


def allowed_rate(achieved: float, pressure: float) -> float:
    """Bytes a second that writers may write together.

    >>> [round(allowed_rate(100e6, p) / 1e6) for p in (0, 0.5, 0.75, 1)]
    [800, 200, 100, 50]
    """
    return max(achieved * 8.0 * math.pow(16.0, -pressure), LEAST_RATE)


def pressure(state: ReadState, options: Options) -> tuple[str, float, str] | None:
    """What slows writes down now: (short name, pressure, sentence), the greater of two; None: nothing.

    Memtables press once three quarters of those that may wait for their flush do, level 0 from ``level0_slowdown_runs``;
    both grow with the memtable that is being filled, so that there are no steps.
    """
    full = options.memtable_bytes
    fill = min(max(state.mem.bytes, state.mem.applied_bytes / 4) / full, 1.0)
    found: list[tuple[float, str, str]] = []
    waiting, limit = len(state.imms), options.max_immutables
    first = _pressing(limit)
    if waiting >= first:
        why = f"{waiting} full memtables wait for their flush (limit {limit})"
        found.append(((waiting - first + fill) / (limit - first + 1), "memtables", why))
    runs, slow, stop = len(state.view.shape.levels[0].runs), options.slowdown_runs, options.level0_stop_runs
    if slow <= runs and slow < stop:
        why = f"level 0 holds {runs} runs (slower from {slow}, limit {stop})"
        found.append(((runs - slow + fill) / (stop - slow), "level0", why))
    if not found:
        return None
    most, name, why = max(found)
    return name, min(most, 1.0), why


def crowded(state: ReadState, options: Options) -> bool:
    """Whether memtables that wait for their flush press on writers."""
    return len(state.imms) >= _pressing(options.max_immutables)


def _pressing(limit: int) -> int:
    """Full memtables from which writes are slowed down, of those that may wait."""
    return limit - limit // 4


class Pace:
    """Hands out turns to writers, and learns what background work achieves. Not thread-safe; times in seconds of one clock."""

    __slots__ = ("_free_at", "achieved")

    def __init__(self) -> None:
        self.achieved: dict[str, float] = {}
        """Bytes a second of writes that background work has made room for, by reason."""
        self._free_at = 0.0

    def relieved(self, reason: str, nbytes: int, seconds: float) -> None:
        """Background work made room for ``nbytes`` of writes in ``seconds``."""
        seen = nbytes / max(seconds, LEAST_WAIT_S)
        before = self.achieved.get(reason)
        self.achieved[reason] = seen if before is None else before + NEWS_WEIGHT * (seen - before)

    def wait_s(self, reason: str, pressure: float, nbytes: int, now: float, bound_s: float = MOST_WAIT_S) -> float:
        """How long a write of ``nbytes`` has to wait for its turn: at most ``bound_s``, 0.0 if that is hardly anything."""
        rate = allowed_rate(self.achieved.get(reason, FIRST_RATE), pressure)
        bound = min(bound_s, MOST_WAIT_S)
        # who slept too long has a little in hand
        self._free_at = min(max(self._free_at, now - LEAST_WAIT_S) + nbytes / rate, now + bound)
        left = min(self._free_at - now, bound)
        return left if left >= LEAST_WAIT_S else 0.0
