"""A limit for the reading and writing of background work: a token bucket, and who may pass when it is empty.

Work is charged after each slice of about a MiB, and waits until what it owes is earned again at ``background_bytes_per_s``.
The rules, so that the limit smooths and never harms:

- A flush has priority: it waits only for what flushes took. A compaction waits for what both took.
- A flush does not wait at all while memtables press on writers (:func:`lsmkv.write.pace.crowded`): the limit makes no writer
  wait for its flush. It is charged all the same, and compactions wait for it, for at most ``LONGEST_DEBT_S``.
- Opening and closing wait for nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Literal, TypeAlias

from lsmkv.env.sync import Lock

__all__ = ["Bucket", "Throttle", "Work"]

Work: TypeAlias = Literal["flush", "compact"]

BURST_S = 0.1
"""What was not used for this long may be used at once."""

LONGEST_DEBT_S = 1.0
"""More is not owed, whatever was taken: a rate that was set too low does not haunt a later one."""


class Bucket:
    """Bytes in hand: earned at a rate, up to a tenth of a second's, spent at will, down to a second's debt. Pure arithmetic."""

    __slots__ = ("_at", "in_hand")

    def __init__(self) -> None:
        self._at: float | None = None
        self.in_hand = 0.0
        """Bytes; below zero: owed."""

    def spend(self, nbytes: int, rate: float, now: float) -> None:
        """Take ``nbytes``, which are there or are then owed."""
        self.owed_s(rate, now)
        self.in_hand = max(self.in_hand - nbytes, -LONGEST_DEBT_S * rate)

    def owed_s(self, rate: float, now: float) -> float:
        """Seconds from ``now`` until nothing is owed."""
        earned = rate * (now - self._at) if self._at is not None else BURST_S * rate
        self._at = now
        self.in_hand = max(min(self.in_hand + earned, BURST_S * rate), -LONGEST_DEBT_S * rate)
        return max(-self.in_hand / rate, 0.0)


class Throttle:
    """The buckets of an open store and what was waited for them."""

    __slots__ = ("_all", "_flushes", "_lock", "count", "seconds", "serving")

    def __init__(self) -> None:
        self._lock = Lock()
        self._all = Bucket()
        self._flushes = Bucket()
        self.serving = False
        """Whether the store is open for business: before and after that nothing waits."""
        self.count: Counter[str] = Counter()
        """Waits so far, by kind of work."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Seconds waited, by kind of work."""

    def charge(self, work: Work, nbytes: int, rate: float, now: float) -> None:
        """``work`` has read or written ``nbytes``."""
        with self._lock:
            self._all.spend(nbytes, rate, now)
            if work == "flush":
                self._flushes.spend(nbytes, rate, now)

    def owed_s(self, work: Work, rate: float, now: float) -> float:
        """Seconds that ``work`` has to wait before its next slice."""
        with self._lock:
            return (self._flushes if work == "flush" else self._all).owed_s(rate, now)

    def waited(self, work: Work, seconds: float) -> None:
        """Count one wait."""
        with self._lock:
            self.count[work] += 1
            self.seconds[work] += seconds
