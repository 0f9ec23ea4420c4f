"""Which sequence numbers somebody still wants to read at.

A snapshot is a number: flush and compaction keep, for every registered number, the newest version at or below it.
"""

from __future__ import annotations

from collections import Counter

from lsmkv.env.sync import Lock

__all__ = ["SnapshotRegistry"]


class SnapshotRegistry:
    """Counted set of sequence numbers in use."""

    __slots__ = ("_lock", "_refs", "alive")

    def __init__(self) -> None:
        self._lock = Lock()
        self._refs: Counter[int] = Counter()
        self.alive = 0
        """How many registrations there are; writers keep superseded versions while it is not 0."""

    def acquire(self, seq: int) -> None:
        """Keep what is visible at ``seq`` (call with the commit lock held: no write may be half applied)."""
        with self._lock:
            self._refs[seq] += 1
            self.alive += 1

    def release(self, seq: int) -> None:
        """Undo one acquire."""
        with self._lock:
            self.alive -= 1
            self._refs[seq] -= 1
            if not self._refs[seq]:
                del self._refs[seq]

    def numbers(self) -> list[int]:
        """Registered sequence numbers, ascending."""
        with self._lock:
            return sorted(self._refs)
