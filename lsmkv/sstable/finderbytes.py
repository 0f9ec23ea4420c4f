"""A finder (:mod:`lsmkv.sstable.finder`) on its way from the process that made it: parts end to end, and what tells them apart.

Part by part: ``starts``, ``tags``, ``records``, as they are in memory: they stay within one machine and version of this program.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lsmkv.env.fs import Buffer
from lsmkv.sstable.finder import SEAL_BYTES, Finder, Part

__all__ = ["PackedFinder", "pack", "unpack"]

READ_BYTES = 4 << 20
"""Bytes taken at once: each read waits once for the interpreter, and what is read is copied once more."""


class PackedFinder(NamedTuple):
    """Where a finder is, and what it is beside its parts."""

    number: int
    """Of its table."""
    at: int
    parts: tuple[tuple[str, int, int], ...]
    """Of each part: type of ``starts``, how many there are, entries."""
    shifts: tuple[int, int, int]
    """For part and bucket, and the mask of the bucket."""
    size: int
    """Bytes of a record."""
    seeds: tuple[int, int]
    """Of hashes and of seals."""

    @property
    def entries(self) -> int:
        """Entries in it."""
        return sum(entries for _, _, entries in self.parts)

    @property
    def each(self) -> int:
        """Bytes of a value."""
        return self.size - SEAL_BYTES

    def lengths(self) -> list[tuple[int, int, int]]:
        """Bytes of starts, tags and records of each part."""
        return [(array(kind).itemsize * starts, entries, entries * self.size) for kind, starts, entries in self.parts]


def pack(
    finder: Finder, number: int, seal_seed: int, at: int, write: Callable[[Sequence[Buffer], int], int]
) -> tuple[PackedFinder, int]:
    """Write the parts of a finder that holds all values from ``at`` on; how to find them, and the offset behind them."""
    parts, part_shift, shift, mask, seed = finder
    size = parts[0][3]
    told = tuple((starts.typecode, len(starts), len(tags)) for starts, tags, _, _ in parts)
    end = at
    for starts, tags, records, _ in parts:
        end = write((memoryview(starts), tags, records), end)
    return PackedFinder(number, at, told, (part_shift, shift, mask), size, (seed, seal_seed)), end


def unpack(packed: PackedFinder, read: Callable[[int, int], bytes]) -> Finder:
    """The finder again. EOFError if its bytes are not there."""
    lengths = packed.lengths()
    parts: list[Part] = []
    at, first = packed.at, 0
    while first < len(lengths):
        last, size = first, 0
        while last < len(lengths) and (last == first or size + sum(lengths[last]) <= READ_BYTES):
            size += sum(lengths[last])
            last += 1
        data = read(size, at)
        cut = 0
        for i in range(first, last):
            a, b, c = lengths[i]
            starts = array(packed.parts[i][0])
            starts.frombytes(data[cut : cut + a])
            parts.append((starts, data[cut + a : cut + a + b], data[cut + a + b : cut + a + b + c], packed.size))
            cut += a + b + c
        at, first = at + size, last
    return parts, *packed.shifts, packed.seeds[0]
