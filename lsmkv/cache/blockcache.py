"""A byte-bounded cache of decoded blocks, least recently used first out, by the clock (second chance) approximation.

A hit only marks the entry; eviction takes from the front and gives a marked entry another round at the back. Exact
recency (moving the entry at each hit) costs five more cache misses on a big cache, a quarter of a random lookup.

Keys are integers, ``file_number << 32 | block_index``: a small integer hashes and compares faster than a tuple. A hit
takes no lock: the lookup is one C call and the mark one store, each atomic under the GIL. Everything that changes the
size takes the lock.

Entries are charged what the caller says they weigh plus :data:`ENTRY_BYTES`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from lsmkv.env.sync import Lock

__all__ = ["ENTRY_BYTES", "BlockCache", "block_key"]

ENTRY_BYTES = 240
"""Overhead of one entry: its slot in the ordered dict (~120 B), the integer key (32 B) and its list (~90 B)."""


def block_key(file_number: int, block: int) -> int:
    """The cache key of one block of one file."""
    return file_number << 32 | block


class BlockCache:
    """Blocks not used lately go first once more than ``capacity_bytes`` are charged. Thread-safe.

    Statistics: ``hits``, ``misses``, ``evictions``, ``bytes`` (charged now), ``len(cache)``.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self._lock = Lock()
        self._entries: OrderedDict[int, list[Any]] = OrderedDict()
        self.slot = self._entries.get
        """The lookup itself, for loops that count for themselves: ``[object, charge, used]`` or None; set used."""

    def __len__(self) -> int:
        """Number of blocks held."""
        return len(self._entries)

    def get(self, key: int) -> Any:  # noqa: ANN401 - the cache does not look into what it holds
        """The object under ``key``, now marked as used, or None."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        entry[2] = True
        return entry[0]

    def put(self, key: int, obj: object, charge: int) -> None:
        """Hold ``obj``, replacing what was there; one larger than the whole cache is not held at all."""
        charge += ENTRY_BYTES
        with self._lock:
            entries = self._entries
            old = entries.pop(key, None)
            if old is not None:
                self.bytes -= old[1]
            if charge > self.capacity_bytes:
                return
            self.bytes += charge
            while self.bytes > self.capacity_bytes:
                key_out, out = entries.popitem(last=False)
                if out[2]:
                    out[2] = False
                    entries[key_out] = out
                else:
                    self.bytes -= out[1]
                    self.evictions += 1
            entries[key] = [obj, charge, False]

    def drop(self, file_number: int) -> None:
        """Forget every block of one file (it was deleted)."""
        with self._lock:
            entries = self._entries
            for key in [k for k in entries if k >> 32 == file_number]:
                self.bytes -= entries.pop(key)[1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0
