"""Bloom filters: m bits, k probes at ``(h1 + i * h2) mod m`` (Kirsch and Mitzenmacher, "Less hashing, same performance").

k = round(bits per key * ln 2), the k that minimises the false-positive rate ``(1 - e^{-kn/m})^k``. m is made odd, so that
h2 and m rarely share a factor. Hashes come from :mod:`lsmkv.base.hashing`.
"""

from __future__ import annotations

from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from lsmkv.base.columns import U64

__all__ = ["MAX_PROBES", "Bloom", "build", "probes_for"]

MAX_PROBES = 30
"""More probes than this never pay: 30 already mean one false positive in 10^9."""

SLICE = 1 << 17
"""Keys set per NumPy call while building: few long steps, as in :mod:`lsmkv.base.murmur`, and bounded temporaries."""


def probes_for(bits_per_key: float) -> int:
    """The best number of probes for this many bits a key."""
    return min(MAX_PROBES, max(1, round(bits_per_key * log(2))))


def build(hashes: U64, bits_per_key: float) -> tuple[bytes, int, int]:
    """A filter over keys with these hashes, (n, 2): its bytes, its bits m and its probes k (b"", 0, 0: no filter)."""
    n = len(hashes)
    if bits_per_key <= 0 or n == 0:
        return b"", 0, 0
    m, k = max(64, ceil(n * bits_per_key)) | 1, probes_for(bits_per_key)
    marks = np.zeros(m, np.bool_)
    for i in range(0, n, SLICE):
        at, step = np.ascontiguousarray((hashes[i : i + SLICE] % np.uint64(m)).T)
        for _ in range(k):
            marks[at.view(np.int64)] = True
            at += step
            np.minimum(at, at - np.uint64(m), out=at)  # below m the difference wraps around to something huge
    return np.packbits(marks, bitorder="little").tobytes(), m, k


class Bloom:
    """A filter to ask: never False for a key that was put in. Requires m > 0."""

    __slots__ = ("_array", "_data", "_m", "_probes")

    def __init__(self, data: bytes, m: int, k: int) -> None:
        self._data = data
        self._array = np.frombuffer(data, np.uint8)
        self._m = m
        self._probes = range(k)

    def may_contain(self, h1: int, h2: int) -> bool:
        """False: the key is certainly absent."""
        data, m = self._data, self._m
        at = h1 % m
        step = h2 % m
        for _ in self._probes:
            if not data[at >> 3] >> (at & 7) & 1:
                return False
            at += step
            if at >= m:
                at -= m
        return True

    def check_many(self, hashes: U64) -> NDArray[np.bool_]:
        """:meth:`may_contain` for each row of (n, 2)."""
        first, step = np.ascontiguousarray((hashes % np.uint64(self._m)).T)
        probes = np.arange(len(self._probes), dtype=np.uint64)[:, None]  # one row per probe: NumPy reduces rows fast
        at = (first + step * probes) % np.uint64(self._m)
        bits = self._array.take((at >> np.uint64(3)).view(np.int64))
        bits >>= (at & np.uint64(7)).astype(np.uint8)
        bits &= np.uint8(1)
        hit: NDArray[np.bool_] = np.all(bits, axis=0)
        return hit
