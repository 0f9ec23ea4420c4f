"""One point of the space that the index suite covers, and whether this machine has room for it.

The dimensions are the fields of :class:`Shape`. The groups (:mod:`bench.index.groups`) walk out from the default along one
dimension at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.data import PAGE_KEYS, KeyWidth

__all__ = ["Shape", "refusal", "together"]

_LEAST_ENTRIES = 2_000

_CACHE_BYTES = 32 << 20

_KEY_OBJECT_BYTES = 180
"""What the harness holds of an entry beside key and value: two Python objects, a pair, places in lists and orders."""

_DISK_SLACK = 3
"""Disk over data while a store is compacted (old and new tables) or a tree is filled in random order."""

_FREE_DISK_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is stored, and with how much memory."""

    entries: int = 1_000_000
    value_bytes: int = 28
    width: KeyWidth = PAGE_KEYS
    cache_bytes: int = _CACHE_BYTES
    buffer_bytes: int = 32 << 20
    overwrites: float = 0.0
    """Share of the entries that are written a second time."""
    load_limit_s: float = 120.0
    """Seconds after which a subject is filled in key order instead of random order, outside the figure."""

    def scaled(self, factor: float) -> Shape:
        """With so many times the entries."""
        return self if factor == 1 else replace(self, entries=max(_LEAST_ENTRIES, int(self.entries * factor)))

    @property
    def data_bytes(self) -> int:
        """Bytes of keys and values."""
        return self.entries * ((self.width.low + self.width.high) // 2 + self.value_bytes)

    def __str__(self) -> str:
        """``1M x 28 B``, and what is not the default."""
        count = self.entries
        number = f"{count // 1_000_000}M" if count % 1_000_000 == 0 else f"{count / 1_000:g}k"
        value = f"{self.value_bytes >> 10} KiB" if self.value_bytes % 1024 == 0 else f"{self.value_bytes} B"
        keys = "" if self.width == PAGE_KEYS else f", keys {self.width}"
        cache = "" if self.cache_bytes == _CACHE_BYTES else f", {self.cache_bytes >> 20} MiB cache"
        return f"{number} x {value}{keys}{cache}"


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


def refusal(shape: Shape, scratch: Path) -> str | None:
    """Why the shape does not fit this machine, or None: what is kept in memory in half of it, one store on the disk.

    In memory are the harness's entries and, in another process, a store that has nothing but memory.
    """
    held = 2 * shape.entries * _KEY_OBJECT_BYTES + shape.data_bytes
    memory = _available_bytes()
    if held > memory // 2:
        return f"needs {held >> 20} MiB of memory, half of the {memory >> 20} MiB available is less"
    disk, wanted = shutil.disk_usage(scratch).free, shape.data_bytes * _DISK_SLACK + _FREE_DISK_BYTES
    if wanted > disk:
        return f"needs {wanted >> 20} MiB of disk for one store, {disk >> 20} MiB are free"
    return None


def together(shape: Shape, subjects: Sequence[str], scratch: Path) -> list[list[str]]:
    """Who is measured alternating with whom: everybody, unless so many stores overflow the page cache or the disk."""
    data = shape.data_bytes * 2 * len(subjects)
    if data < _available_bytes() // 2 and data * 2 < shutil.disk_usage(scratch).free:
        return [list(subjects)]
    return [[name] for name in subjects]
