"""Which keys a workload asks for: ranks by the exact zipfian distribution, and keys from numbers.

YCSB draws by an approximation; here the inverse of the exact distribution is taken. A key is ``chain 6 bytes | place in the chain
2 bytes``, and more bytes that follow from the chain: chains lie anywhere, their keys are neighbours. An absent key differs from a
stored one in its last byte, so it lies among the stored keys.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["I64", "ZIPF", "keys_of", "scrambled", "zipf_ranks"]

I64: TypeAlias = NDArray[np.int64]

ZIPF = 0.99
"""The exponent, YCSB's."""

BITS = 48
"""Scrambled numbers lie below 2^48: room for far more than anybody simulates, and for exact arithmetic in JavaScript."""

_MASK = np.uint64((1 << BITS) - 1)
_ODD = (np.uint64(0x9E3779B97F4B), np.uint64(0xC2B2AE3D27D5), np.uint64(0x165667B19E37))
"""Multipliers without meaning, odd so that multiplying can be undone."""


@lru_cache(maxsize=4)
def _shares(count: int, exponent: float) -> NDArray[np.float64]:
    """The chance that a draw is among the first i + 1 ranks."""
    sums: NDArray[np.float64] = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -exponent)
    sums /= sums[-1]
    return sums


def zipf_ranks(count: int, size: int, rng: np.random.Generator, exponent: float = ZIPF) -> I64:
    """``size`` ranks from 0 (the most popular) to ``count - 1``; rank r is drawn in proportion to (r + 1) ** -exponent."""
    found = np.searchsorted(_shares(count, exponent), rng.random(size), side="right")
    return np.minimum(found, count - 1).astype(np.int64)


def scrambled(numbers: I64, seed: int) -> I64:
    """Numbers below 2^48 in random order, no two alike: every step can be undone (modulo 2^48)."""
    x = numbers.astype(np.uint64) ^ (np.uint64(seed) & _MASK)
    for odd in _ODD:
        x = (x * odd) & _MASK
        x ^= x >> np.uint64(BITS // 2)
    return x.astype(np.int64)


def keys_of(numbers: I64, *, chain_keys: int, key_bytes: int, seed: int, absent: bool = False) -> list[bytes]:
    """The keys of births ``numbers``, ``chain_keys`` consecutive births to a chain; ``key_bytes`` is at least 9.

    ``absent``: keys that no birth has, each next to that birth's own key.
    """
    chains = scrambled(numbers // chain_keys, seed)
    rows = np.zeros((len(numbers), key_bytes), np.uint8)
    rows[:, :6] = chains.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    rows[:, 6:8] = (numbers % chain_keys).astype(">u2").view(np.uint8).reshape(-1, 2)
    rows[:, 8:] = rows[:, np.arange(8, key_bytes) % 6]
    rows[:, -1] &= 0xFE
    rows[:, -1] |= absent
    flat = rows.tobytes()
    return [flat[start : start + key_bytes] for start in range(0, len(flat), key_bytes)]
