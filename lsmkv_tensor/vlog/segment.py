"""A segment's life, and its record in the index.

::

    (no file) --create--> FREE --start--> ACTIVE --seal--> SEALED --emptied, synced, released--> FREE
                           generation + 1

The record counts the live pages and bytes exactly: it is written in the same atomic batch as every change it counts. It
also holds the tail, so that opening reads no segment. Value, 32 bytes, little endian::

     0 generation u32 | 4 state u8 | 5 zero 3 | 8 tail u64 | 16 frames u32 | 20 live pages u32 | 24 live bytes u64

Live bytes include the padding of the payloads to 4 KiB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lsmkv_tensor.errors import CorruptionError
from lsmkv_tensor.vlog.layout import BLOCK
from lsmkv_tensor.vlog.reserved import SEGMENTS, number_key, number_of

__all__ = ["ACTIVE", "FREE", "SEALED", "Segment"]

FREE = 0
ACTIVE = 1
SEALED = 2
_RECORD = struct.Struct("<IB3xQIIQ")


@dataclass(slots=True)
class Segment:
    """What is known of one segment. Changed only under the commit lock (``readers``: under the readers' lock)."""

    number: int
    generation: int = 0
    state: int = FREE
    tail: int = BLOCK
    """Bytes; where the next frame goes."""
    frames: int = 0
    pages: int = 0
    """Live pages."""
    live_bytes: int = 0
    readers: int = 0
    copies: int = 0
    """Collections that wrote here what the index does not name yet: until they let go the segment is not emptied."""
    dirty: bool = False
    """Written to since it was last synced."""

    @property
    def used_bytes(self) -> int:
        """Bytes of all frames written, live or dead."""
        return self.tail - BLOCK

    @property
    def key(self) -> bytes:
        """Index key of the record."""
        return number_key(SEGMENTS, self.number)

    def record(self, pages: int = 0, live_bytes: int = 0) -> bytes:
        """The record after a change of live pages and bytes by so much."""
        pages, live_bytes = self.after(pages, live_bytes)
        return _RECORD.pack(self.generation, self.state, self.tail, self.frames, pages, live_bytes)

    def after(self, pages: int, live_bytes: int) -> tuple[int, int]:
        """Live pages and bytes after such a change, kept possible: counts that damage made wrong must not stop the store."""
        return max(self.pages + pages, 0), min(max(self.live_bytes + live_bytes, 0), self.tail)

    @classmethod
    def from_record(cls, key: bytes, value: bytes, path: str) -> Segment:
        """The segment a record describes. CorruptionError if it cannot be one."""
        if len(value) != _RECORD.size or len(key) != len(SEGMENTS) + 4:
            raise CorruptionError(path, -1, f"segment record of {len(value)} bytes under a key of {len(key)}")
        generation, state, tail, frames, pages, live_bytes = _RECORD.unpack(value)
        if state not in (FREE, ACTIVE, SEALED) or tail < BLOCK or tail % BLOCK or live_bytes > tail:
            raise CorruptionError(path, -1, f"segment record of {number_of(SEGMENTS, key)} is impossible")
        return cls(number_of(SEGMENTS, key), generation, state, tail, frames, pages, live_bytes)
