"""The part of the index that belongs to the store itself: keys under namespace number 0, which no namespace gets.

::

    0 0 0 0 'S' | segment u32 BE                        -> segment record (liveness)
    0 0 0 0 'N' | namespace number u32 BE               -> canonical JSON of its fields
    0 0 0 0 'A' | name, UTF-8                           -> namespace number u32 BE
    0 0 0 0 'H'                                         -> the highest namespace number ever given, once one was dropped
    0 0 0 0 'U' | namespace number u32 BE               -> when it was last opened (lsmkv_tensor/retention/terms.py)
    0 0 0 0 'D' | disk number u32 BE                    -> path of its directory, UTF-8 (lsmkv_tensor/vlog/disks.py)
    0 0 0 0 'F' | segment u32 BE                        -> generation of which a sync failed u32 LE (lsmkv_tensor/vlog/space.py)
    0 0 0 0 'R' | namespace number u32 BE | caller's key -> caller's small record
"""

from __future__ import annotations

__all__ = [
    "DISKS",
    "FAILED_SYNCS",
    "HIGHEST",
    "NAMES",
    "NAMESPACES",
    "RECORDS",
    "RESERVED",
    "SEGMENTS",
    "USES",
    "number_key",
    "number_of",
    "owner_of",
]

RESERVED = bytes(4)
SEGMENTS = RESERVED + b"S"
NAMESPACES = RESERVED + b"N"
NAMES = RESERVED + b"A"
HIGHEST = RESERVED + b"H"
USES = RESERVED + b"U"
RECORDS = RESERVED + b"R"
DISKS = RESERVED + b"D"
FAILED_SYNCS = RESERVED + b"F"


def number_key(prefix: bytes, number: int) -> bytes:
    """The key of the record with this number."""
    return prefix + number.to_bytes(4, "big")


def number_of(prefix: bytes, key: bytes) -> int:
    """The number in a key made by :func:`number_key`."""
    return int.from_bytes(key[len(prefix) : len(prefix) + 4], "big")


def owner_of(key: bytes) -> int:
    """The number of the namespace that a page's or a record's index key belongs to; 0: the store itself."""
    at = len(RECORDS) if key.startswith(RECORDS) else 0
    return int.from_bytes(key[at : at + 4], "big") if at or not key.startswith(RESERVED) else 0
