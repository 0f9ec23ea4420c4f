"""A budget of bytes written to the disk: so much a day, saved up for an hour, spent as it is written. Pure."""

from __future__ import annotations

__all__ = ["DAY_S", "WriteBudget", "bytes_a_day"]

DAY_S = 86_400.0
SAVED_S = 3_600.0
"""Seconds of budget that can be saved up: a burst after a quiet hour is allowed."""


def bytes_a_day(capacity_bytes: int, dwpd: float) -> float:
    """Drive writes per day as a budget: ``dwpd`` times the capacity, each day."""
    return capacity_bytes * dwpd


class WriteBudget:
    """Bytes that may be written now; None: as many as you like."""

    def __init__(self, bytes_per_day: float | None) -> None:
        if bytes_per_day is not None and not bytes_per_day > 0:
            raise ValueError(f"write budget = {bytes_per_day} bytes a day: must be more than 0")
        self._rate = None if bytes_per_day is None else bytes_per_day / DAY_S
        self._left = 0.0 if self._rate is None else self._rate * SAVED_S
        self._at_s: float | None = None
        self._written = 0

    def observe(self, now_s: float, written_bytes: int) -> None:
        """Time has passed and the disk has been written to (a total)."""
        if self._rate is None:
            return
        if self._at_s is not None:
            self._left = min(self._left + self._rate * max(now_s - self._at_s, 0.0), self._rate * SAVED_S)
        self._at_s = now_s
        self._left -= written_bytes - self._written
        self._written = written_bytes

    @property
    def left_bytes(self) -> float:
        """What may be written now; infinite without a budget, negative if more was written than allowed."""
        return float("inf") if self._rate is None else self._left

    @property
    def scarce(self) -> bool:
        """Whether less than half of what can be saved up is left: time to be choosy."""
        return self._rate is not None and self._left < self._rate * SAVED_S / 2
