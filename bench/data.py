"""What the benchmarks store: keys shaped like page keys, values and pages of bytes that do not compress.

A key is 32 bytes, ``namespace 4 | anchor 12 | index 2 | digest 14``: groups of 64 share their first 16 bytes, as the pages of
one conversation do in a store. Everything follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.scratch import aligned_bytes

__all__ = ["GROUP", "Entries", "chain_digests", "make_entries", "random_pages"]

GROUP = 64
"""Keys that share an anchor."""

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Entries:
    """``keys`` in ascending order, the value of each, an insertion order, and keys that are absent (same shape, same groups)."""

    keys: list[bytes]
    values: list[bytes]
    order: NDArray[np.int64]
    absent: list[bytes]

    def pairs(self, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """The pairs at positions ``start`` to ``stop`` of the insertion order."""
        keys, values = self.keys, self.values
        return [(keys[i], values[i]) for i in self.order[start:stop].tolist()]

    def batches(self, size: int) -> list[list[tuple[bytes, bytes]]]:
        """All pairs in insertion order, cut into batches."""
        return [self.pairs(start, start + size) for start in range(0, len(self.keys), size)]


def make_entries(count: int, value_bytes: int, seed: int) -> Entries:
    """``count`` entries; one absent key for every eight present ones."""
    rng = np.random.default_rng(seed)
    spare = max(count // 8, GROUP)
    groups = -(-(count + spare) // GROUP)
    anchors = np.repeat(rng.integers(0, 256, (groups, 12), dtype=np.uint8), GROUP, axis=0)
    total = len(anchors)
    rows = np.zeros((total, KEY_BYTES), dtype=np.uint8)
    rows[:, 3] = 1
    rows[:, 4:16] = anchors
    rows[:, 17] = np.arange(total) % GROUP
    rows[:, 18:] = rng.integers(0, 256, (total, 14), dtype=np.uint8)
    flat = rows.tobytes()
    shuffled = rng.permutation(total)
    kept = sorted(flat[i * KEY_BYTES : (i + 1) * KEY_BYTES] for i in shuffled[:count].tolist())
    absent = [flat[i * KEY_BYTES : (i + 1) * KEY_BYTES] for i in shuffled[count : count + spare].tolist()]
    noise = rng.bytes(count * value_bytes)
    values = [noise[i * value_bytes : (i + 1) * value_bytes] for i in range(count)]
    return Entries(kept, values, rng.permutation(count), absent)


def chain_digests(count: int, seed: int) -> list[bytes]:
    """``count`` 32-byte digests as an engine's hash chain gives them: no two share a prefix."""
    flat = np.random.default_rng(seed).bytes(count * 32)
    return [flat[i * 32 : (i + 1) * 32] for i in range(count)]


def random_pages(count: int, page_bytes: int, seed: int) -> NDArray[np.uint8]:
    """``count`` pages of noise in one page-aligned array, shape (count, page_bytes)."""
    pages = aligned_bytes(count * page_bytes)
    pages[:] = np.frombuffer(np.random.default_rng(seed).bytes(count * page_bytes), dtype=np.uint8)
    return pages.reshape(count, page_bytes)
