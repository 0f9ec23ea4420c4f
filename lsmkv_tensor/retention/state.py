"""What an eviction policy remembers across a restart, as bytes (docs/format/retention.md). Pure.

::

    magic 8 "LSMKVRET" | version u32 | residents u32 | ghosts u32 | time u32 | learned u64
    residents, least recently touched first: prints u64[], stamps u32[], uses u8[]
    ghosts, first evicted first:             prints u64[], uses u8[]
    xxh3-64 of all before, u64
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from lsmkv_tensor.errors import CorruptionError, FormatTooNewError
from lsmkv_tensor.retention.protocol import Prints

__all__ = ["Saved", "pack", "unpack"]

MAGIC = b"LSMKVRET"
VERSION = 1
_HEADER = struct.Struct("<8sIIIIQ")
_SEAL = struct.Struct("<Q")
NAME = "saved retention state"


class Saved(NamedTuple):
    """Ranks of pages by print."""

    prints: Prints
    stamps: NDArray[np.uint32]
    uses: NDArray[np.uint8]

    def sorted_by_print(self) -> Saved:
        """The same in the order that :meth:`find` needs."""
        order = np.argsort(self.prints)
        return Saved(self.prints[order], self.stamps[order], self.uses[order])

    def find(self, prints: Prints) -> tuple[NDArray[np.bool_], NDArray[np.uint32], NDArray[np.uint8]]:
        """Which prints are known; stamps and uses, meaningful where they are."""
        if not len(self.prints):
            none = np.zeros(len(prints), dtype=np.bool_)
            return none, none.astype(np.uint32), none.astype(np.uint8)
        at = np.minimum(np.searchsorted(self.prints, prints), len(self.prints) - 1)
        return self.prints[at] == prints, self.stamps[at], self.uses[at]


def pack(resident: Saved, ghosts: tuple[Prints, NDArray[np.uint8]], time: int, learned: int) -> bytes:
    """The bytes. ``time``: the last stamp given. ``learned``: a number of the policy's own."""
    head = _HEADER.pack(MAGIC, VERSION, len(resident.prints), len(ghosts[0]), time, learned)
    parts = (resident.prints, resident.stamps, resident.uses, *ghosts)
    body = head + b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in parts)
    return body + _SEAL.pack(xxhash.xxh3_64_intdigest(body))


def unpack(saved: bytes) -> tuple[Saved, tuple[Prints, NDArray[np.uint8]], int, int]:
    """What :func:`pack` was given. CorruptionError if the bytes are not what was packed, FormatTooNewError."""
    if len(saved) < _HEADER.size + _SEAL.size or not saved.startswith(MAGIC):
        raise CorruptionError(NAME, 0, "does not begin as retention state does")
    body = memoryview(saved)[: -_SEAL.size]
    if xxhash.xxh3_64_intdigest(body) != _SEAL.unpack(saved[-_SEAL.size :])[0]:
        raise CorruptionError(NAME, 0, "its checksum does not match")
    _, version, residents, ghosts, time, learned = _HEADER.unpack_from(saved)
    if version > VERSION:
        raise FormatTooNewError(NAME, version, VERSION)
    at = _HEADER.size
    parts = []
    for count, kind in ((residents, "<u8"), (residents, "<u4"), (residents, "u1"), (ghosts, "<u8"), (ghosts, "u1")):
        size = count * int(kind[-1])
        if at + size > len(body):
            raise CorruptionError(NAME, at, "is shorter than its counts say")
        parts.append(np.frombuffer(body[at : at + size], dtype=kind).astype(kind.lstrip("<")))
        at += size
    if at != len(body):
        raise CorruptionError(NAME, at, "is longer than its counts say")
    return Saved(parts[0], parts[1], parts[2]), (parts[3], parts[4]), time, learned
