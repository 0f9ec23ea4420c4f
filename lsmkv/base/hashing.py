"""Key hashes for Bloom filters: one 128-bit MurmurHash3 a key, computed once per lookup and shared over all runs.

A hash is the pair ``(h1, h2)`` of unsigned 64-bit halves (MurmurHash3 x64 128, seed 0). :class:`KeyBatch` holds the
keys of one batch read with everything that all tables need of them, each part made when first asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from mmh3 import mmh3_x64_128_digest, mmh3_x64_128_utupledigest

from lsmkv.base.columns import U64, ByteColumn
from lsmkv.base.murmur import murmur_rows

__all__ = ["KeyBatch", "hash_column", "hash_key", "hash_keys"]

hash_key = mmh3_x64_128_utupledigest
"""``hash_key(key) -> (h1, h2)``: the hash of one key (the C function itself: 60 ns)."""

SLICE = 4096
"""Keys hashed per uninterrupted C loop (~0.2 ms), so that other threads get their turn."""


def hash_keys(keys: Sequence[bytes]) -> U64:
    """Hashes of a list of keys: uint64 of shape (n, 2)."""
    parts = [b"".join(map(mmh3_x64_128_digest, keys[i : i + SLICE])) for i in range(0, len(keys), SLICE)]
    return np.frombuffer(b"".join(parts), "<u8").reshape(len(keys), 2)


def hash_column(keys: ByteColumn) -> U64:
    """Hashes of a key column: uint64 of shape (n, 2)."""
    n = len(keys)
    if keys.width >= 0:
        return murmur_rows(keys.span().reshape(n, keys.width))
    parts = [hash_keys(keys.slice(i, min(i + SLICE, n)).tolist()) for i in range(0, n, SLICE)]
    return np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)


class KeyBatch:
    """The keys of one batch read, sorted (duplicates are allowed)."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.keys = keys

    def __len__(self) -> int:
        """Number of keys."""
        return len(self.keys)

    @cached_property
    def hashes(self) -> U64:
        """Hash of each key: uint64 (n, 2)."""
        return hash_keys(self.keys)

    @cached_property
    def uniform(self) -> bool:
        """Whether all keys are of one width."""
        return len(set(map(len, self.keys))) <= 1
