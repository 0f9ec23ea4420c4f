"""How long loading takes on this disk, learnt from the loads that were made.

A batch of b bytes takes about ``latency + b / bandwidth``: a straight line, fitted to the latest batches by least squares with
weights that halve every HALF_LIFE batches, so that a cache that warmed up or a disk that slowed down is noticed. Batches of one
size tell no line: then time is taken as proportional to bytes.
"""

from __future__ import annotations

from lsmkv.env.sync import Lock

__all__ = ["LoadEstimate"]

HALF_LIFE = 32
"""Batches after which one counts half."""
FIRST_LATENCY_S = 0.5e-3
FIRST_BYTES_PER_S = 1e9
"""Assumed until the first batch was loaded: an NVMe disk of the middle range."""

_KEEP = 0.5 ** (1 / HALF_LIFE)


class LoadEstimate:
    """A running estimate. Any thread may call anything."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self.batches = 0
        """Batches learnt from."""

    def note(self, nbytes: int, seconds: float) -> None:
        """A batch of so many bytes took so long."""
        with self._lock:
            self.batches += 1
            self._weight = self._weight * _KEEP + 1
            self._x = self._x * _KEEP + nbytes
            self._y = self._y * _KEEP + seconds
            self._xx = self._xx * _KEEP + nbytes * nbytes
            self._xy = self._xy * _KEEP + nbytes * seconds

    def line(self) -> tuple[float, float]:
        """Latency of a batch in seconds, and seconds a byte; both at least 0."""
        with self._lock:
            w, x, y, xx, xy = self._weight, self._x, self._y, self._xx, self._xy
        if not w:
            return FIRST_LATENCY_S, 1 / FIRST_BYTES_PER_S
        spread = w * xx - x * x
        if spread > 1e-9 * w * xx:
            slope = (w * xy - x * y) / spread
            start = (y - slope * x) / w
            if slope >= 0 and start >= 0:
                return start, slope
            if slope < 0:  # larger batches were faster: only latency shows
                return y / w, 0.0
        return 0.0, xy / xx if xx else 0.0

    def seconds(self, nbytes: int) -> float:
        """How long a batch of so many bytes would take; 0.0 for none."""
        latency, per_byte = self.line()
        return latency + nbytes * per_byte if nbytes else 0.0
