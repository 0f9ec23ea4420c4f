"""What the benchmarks store: keys shaped like page keys, values and pages of bytes that do not compress.

A key is ``namespace 4 | anchor 12 | index 2 | digest``, 32 bytes unless said otherwise: groups of 64 share their first 16 bytes,
as the pages of one conversation do in a store. Other widths have a shorter or longer digest. Everything follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.scratch import aligned_bytes

__all__ = ["GROUP", "PAGE_KEYS", "Entries", "KeyWidth", "chain_digests", "make_entries", "random_pages"]

GROUP = 64
"""Keys that share an anchor."""

_HEAD_BYTES = 18
"""Namespace, anchor, index: what makes a key of ours different from every other one."""

_DISTINCT_BYTES = 512 << 20
"""Values beyond this many bytes in all are taken from a pool: the harness's own memory is to stay small."""

_POOL = 1 << 16


@dataclass(frozen=True, slots=True)
class KeyWidth:
    """Bytes of the shortest and of the longest key, at least 18; between the two every width is as likely."""

    low: int
    high: int

    def __str__(self) -> str:
        """For row names."""
        return f"{self.low} B" if self.low == self.high else f"{self.low}-{self.high} B mixed"


PAGE_KEYS = KeyWidth(32, 32)
"""What a page store uses."""


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


def make_entries(count: int, value_bytes: int, seed: int, width: KeyWidth = PAGE_KEYS) -> Entries:
    """``count`` entries; one absent key for every eight present ones."""
    rng = np.random.default_rng(seed)
    spare = max(count // 8, GROUP)
    groups = -(-(count + spare) // GROUP)
    anchors = np.repeat(rng.integers(0, 256, (groups, 12), dtype=np.uint8), GROUP, axis=0)
    total = len(anchors)
    rows = np.zeros((total, width.high), dtype=np.uint8)
    rows[:, 3] = 1
    rows[:, 4:16] = anchors
    rows[:, 17] = np.arange(total) % GROUP
    rows[:, _HEAD_BYTES:] = rng.integers(0, 256, (total, width.high - _HEAD_BYTES), dtype=np.uint8)
    flat = rows.tobytes()
    shuffled = rng.permutation(total)
    ends = shuffled * width.high + (rng.integers(width.low, width.high + 1, total) if width.low < width.high else width.high)
    keys = [flat[i * width.high : end] for i, end in zip(shuffled.tolist(), ends.tolist(), strict=True)]
    absent = keys[count : count + spare]
    del keys[count:]
    keys.sort()
    return Entries(keys, _values(count, value_bytes, rng), rng.permutation(count), absent)


def _values(count: int, value_bytes: int, rng: np.random.Generator) -> list[bytes]:
    distinct = count if count * value_bytes <= _DISTINCT_BYTES else _POOL
    noise = rng.bytes(distinct * value_bytes)
    pool = [noise[i * value_bytes : (i + 1) * value_bytes] for i in range(distinct)]
    return pool if distinct == count else [pool[i] for i in rng.integers(0, distinct, count).tolist()]


def chain_digests(count: int, seed: int) -> list[bytes]:
    """``count`` 32-byte digests as an engine's hash chain gives them: no two share a prefix."""
    flat = np.random.default_rng(seed).bytes(count * 32)
    return [flat[i * 32 : (i + 1) * 32] for i in range(count)]


def random_pages(count: int, page_bytes: int, seed: int) -> NDArray[np.uint8]:
    """``count`` pages of noise in one page-aligned array, shape (count, page_bytes)."""
    pages = aligned_bytes(count * page_bytes)
    pages[:] = np.frombuffer(np.random.default_rng(seed).bytes(count * page_bytes), dtype=np.uint8)
    return pages.reshape(count, page_bytes)
