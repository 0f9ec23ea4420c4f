"""What went through the backend since SGLang last asked, and since the start."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from lsmkv.env.sync import Lock

__all__ = ["Meter"]

MOST_SAMPLES = 4096
"""Calls that are remembered until SGLang asks; it asks at every tick of its scheduler if it asks at all."""


@dataclass(slots=True)
class Meter:
    """Counts of one backend. Any thread may call anything."""

    read_pages: int = 0
    written_pages: int = 0
    """Pages that are there after a set: stored, accepted, or there before. What is accepted may still fail or be declined."""
    declined_pages: int = 0
    """Pages that admission did not want, or that a follower cannot store: SGLang is told that all is well."""
    failed_pages: int = 0
    """Pages that could not be stored."""
    copied_pages: int = 0
    """Copies of a page that this process made on the way, the store's own included."""
    moved_pages: int = 0
    """Pages that were moved in either direction: ``copied_pages / moved_pages`` is the number of copies a page."""
    errors: dict[str, int] = field(default_factory=dict)
    """Failures by call, none of which reached the server."""
    _losses: int = 0
    _prefetch: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MOST_SAMPLES))
    _backup: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MOST_SAMPLES))
    _lock: Any = field(default_factory=Lock)

    def read(self, pages: int, copies: int, nbytes: int, seconds: float) -> None:
        """Pages were delivered, with so many copies in all."""
        with self._lock:
            self.read_pages += pages
            self.moved_pages += pages
            self.copied_pages += copies
            if pages:
                self._prefetch.append((pages, nbytes / (1 << 30) / max(seconds, 1e-9)))

    def wrote(self, stored: int, failed: int, copies: int, nbytes: int, seconds: float) -> None:
        """Pages were offered: so many are there now, so many could not be stored."""
        with self._lock:
            self.written_pages += stored
            self.failed_pages += failed
            self.moved_pages += stored
            self.copied_pages += stored * copies
            if stored:
                self._backup.append((stored, nbytes / (1 << 30) / max(seconds, 1e-9)))

    def declined(self, pages: int) -> None:
        """Pages were not wanted."""
        with self._lock:
            self.declined_pages += pages

    def ended(self, failed: int, declined: int) -> int:
        """So many pages that waited could not be stored, or were not wanted; how often some could not be."""
        with self._lock:
            self.failed_pages += failed
            self.declined_pages += declined
            self._losses += bool(failed)
            return self._losses

    def failed(self, what: str) -> int:
        """A call failed; how often that happened to calls of this name."""
        with self._lock:
            self.errors[what] = self.errors.get(what, 0) + 1
            return self.errors[what]

    def drain(self) -> tuple[list[int], list[int], list[float], list[float]]:
        """Pages and GB/s of the calls since the last time: prefetched pages, backed up pages, and their speeds. O(1) a call."""
        with self._lock:
            prefetch, backup = list(self._prefetch), list(self._backup)
            self._prefetch.clear()
            self._backup.clear()
        return [n for n, _ in prefetch], [n for n, _ in backup], [s for _, s in prefetch], [s for _, s in backup]
