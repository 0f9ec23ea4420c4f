"""The part of the index that belongs to the store itself: keys under namespace number 0, which no namespace gets.

::

    0 0 0 0 'S' | segment u32 BE                        -> segment record (liveness)
    0 0 0 0 'N' | namespace number u32 BE               -> canonical JSON of its fields
    0 0 0 0 'A' | name, UTF-8                           -> namespace number u32 BE
    0 0 0 0 'R' | namespace number u32 BE | caller's key -> caller's small record
"""

from __future__ import annotations

__all__ = ["NAMES", "NAMESPACES", "RECORDS", "RESERVED", "SEGMENTS", "number_key", "number_of"]

RESERVED = bytes(4)
SEGMENTS = RESERVED + b"S"
NAMESPACES = RESERVED + b"N"
NAMES = RESERVED + b"A"
RECORDS = RESERVED + b"R"


def number_key(prefix: bytes, number: int) -> bytes:
    """The key of the record with this number."""
    return prefix + number.to_bytes(4, "big")


def number_of(prefix: bytes, key: bytes) -> int:
    """The number in a key made by :func:`number_key`."""
    return int.from_bytes(key[len(prefix) : len(prefix) + 4], "big")
