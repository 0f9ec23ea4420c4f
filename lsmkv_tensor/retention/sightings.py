"""Who was asked for before: sightings of pages that are not stored, 17 bytes each, in buckets of four. Pure.

A sighting is a distinct request's probe miss or put. A probe opens a sighting; the put that follows belongs to it, and so does
a probe repeated before that (schedulers ask again while a request waits). After TOGETHER_S without a put, it is over.

When a bucket is full, the sighting not renewed for longest is forgotten: then a page waits for one sighting more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.protocol import Prints

__all__ = ["Sightings"]

TOGETHER_S = 600.0
"""Seconds in which a request asks, computes what it missed, and puts it."""
WAYS = 4
MOST_TIMES = 255
LEAST, MOST = 1 << 16, 1 << 22
"""Sightings remembered, at least and at most."""


class Sightings:
    """How often pages were asked for or offered."""

    def __init__(self, entries: int = LEAST) -> None:
        self._clock = 0
        self._make(LEAST)
        self.resize(entries)

    @property
    def entries(self) -> int:
        """Sightings there is room for."""
        return self._prints.size

    @property
    def memory_bytes(self) -> int:
        """Bytes of the table."""
        return self._prints.nbytes + self._opened.nbytes + self._order.nbytes + self._times.nbytes

    def resize(self, entries: int) -> None:
        """Room for at least so many; what is known stays, as far as it fits."""
        wanted = LEAST
        while wanted < min(entries, MOST):
            wanted *= 2
        if wanted == self.entries:
            return
        known = np.flatnonzero(self._times.ravel())
        known = known[np.argsort(self._order.ravel()[known], kind="stable")]
        prints, opened = self._prints.ravel()[known], self._opened.ravel()[known]
        order, times = self._order.ravel()[known], self._times.ravel()[known]
        self._make(wanted)
        for at, bucket in enumerate(self._buckets(prints).tolist()):  # one by one: several may share a bucket
            way = int(self._order[bucket].argmin())
            self._prints[bucket, way], self._opened[bucket, way] = prints[at], opened[at]
            self._order[bucket, way], self._times[bucket, way] = order[at], times[at]

    def probed(self, prints: Prints, now_s: float) -> None:
        """A request asked for these pages in vain."""
        bucket, way, known = self._find(prints)
        times, opened = self._times[bucket, way], self._opened[bucket, way]
        again = known & (opened > 0) & (now_s - opened < TOGETHER_S)
        self._write(prints, bucket, way, np.where(again, times, _one_more(times, known)), max(now_s, 1e-6))

    def offered(self, prints: Prints, now_s: float) -> NDArray[np.uint8]:
        """These pages were offered; how often each was seen now, this time included."""
        bucket, way, known = self._find(prints)
        times, opened = self._times[bucket, way], self._opened[bucket, way]
        own = known & (opened > 0) & (now_s - opened < TOGETHER_S)
        seen: NDArray[np.uint8] = np.where(own, times, _one_more(times, known))
        self._write(prints, bucket, way, seen, 0.0)
        return seen

    def _make(self, entries: int) -> None:
        """An empty table."""
        shape = (entries // WAYS, WAYS)
        self._prints: Prints = np.zeros(shape, dtype=np.uint64)
        self._opened: NDArray[np.float32] = np.zeros(shape, dtype=np.float32)
        self._order: NDArray[np.uint32] = np.zeros(shape, dtype=np.uint32)
        self._times: NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)

    def _buckets(self, prints: Prints) -> NDArray[np.int64]:
        """Where prints belong."""
        return (prints & np.uint64(len(self._prints) - 1)).astype(np.int64)

    def _find(self, prints: Prints) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Bucket and way of each print, and whether it is known; for others the way that may be taken."""
        self._clock += 1
        if self._clock == np.iinfo(np.uint32).max:
            self._order[:] = 0
            self._clock = 1
        bucket = self._buckets(prints)
        same = (self._prints[bucket] == prints[:, None]) & (self._times[bucket] > 0)
        known = same.any(axis=1)
        way: NDArray[np.int64] = same.argmax(axis=1)
        self._order[bucket[known], way[known]] = self._clock
        new = np.flatnonzero(~known)
        if len(new):
            new = new[np.argsort(bucket[new], kind="stable")]
            places = np.arange(len(new))
            begins = np.r_[True, bucket[new][1:] != bucket[new][:-1]]
            nth = places - np.maximum.accumulate(np.where(begins, places, 0))  # among the new ones of its bucket
            oldest = np.argsort(self._order[bucket[new]], axis=1, kind="stable")
            way[new] = oldest[places, nth % WAYS]
        return bucket, way, known

    def _write(
        self, prints: Prints, bucket: NDArray[np.int64], way: NDArray[np.int64], times: NDArray[np.uint8], opened: float
    ) -> None:
        """Put entries where they were found."""
        self._prints[bucket, way] = prints
        self._opened[bucket, way] = opened
        self._order[bucket, way] = self._clock
        self._times[bucket, way] = times


def _one_more(times: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Counts raised by one; 1 for what was not known."""
    raised: NDArray[np.uint8] = np.where(known, np.minimum(times, MOST_TIMES - 1) + np.uint8(1), np.uint8(1)).astype(np.uint8)
    return raised
