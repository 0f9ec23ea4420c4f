"""How a capacity in physical bytes is divided. Pure arithmetic.

::

    capacity = STORE stamp (1 block, twice while it is written) + index share + segments * segment_bytes + rest
    segments = usable + 1 spare, which only garbage collection may fill

At least three segments: one being filled, one sealed that can be evicted, one spare.
"""

from __future__ import annotations

from dataclasses import dataclass

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.vlog.layout import BLOCK, padded

__all__ = ["MIN_SEGMENTS", "Quota", "divide"]

MIN_SEGMENTS = 3
STAMP_BYTES = 2 * BLOCK
MIN_INDEX_BYTES = 2 << 20
MAX_LENGTH = (1 << 32) - 1
"""Bytes; the length of a page has 32 bits in a frame."""
LEAST_INDEX_BYTES = 48 << 10
"""Bytes; below, an index has no room for its own files."""
RECORD_BYTES = 256
"""Bytes of index share that the record of a segment takes, the room for rewriting it included."""
SMALLEST_CHOSEN = (16 << 20) + (256 << 10)
"""Bytes; a segment chosen by us holds 16 MiB of pages of a power of two and their frame headers."""
LARGEST_CHOSEN = 256 << 20


@dataclass(frozen=True, slots=True)
class Quota:
    """A capacity, divided."""

    capacity_bytes: int
    index_bytes: int
    segment_bytes: int
    segments: int
    """Segment files that may exist, the spare one included."""

    @property
    def page_bytes(self) -> int:
        """Bytes of pages that may be stored at once, headers counted in: all segments but the spare one."""
        return (self.segments - 1) * self.segment_bytes

    @property
    def largest_page_bytes(self) -> int:
        """The largest page a segment can hold, beside its header, a frame header and the end mark."""
        return min(self.segment_bytes - 3 * BLOCK, MAX_LENGTH)


def divide(capacity_bytes: int, segment_bytes: int | None, index_bytes: int | None) -> Quota:
    """Divide a capacity; None lets the division choose.

    InvalidArgumentError, naming the minimum, if fewer than three segments fit or the index share is too small for them.
    """
    index = index_bytes if index_bytes is not None else max(capacity_bytes // 32, MIN_INDEX_BYTES)
    left = capacity_bytes - index - STAMP_BYTES
    if segment_bytes is None:
        segment_bytes = min(max(capacity_bytes // 64, SMALLEST_CHOSEN), LARGEST_CHOSEN, max(left // 8 & -BLOCK, 16 * BLOCK))
    segment_bytes = padded(segment_bytes)
    segments = left // segment_bytes
    if index < LEAST_INDEX_BYTES + segments * RECORD_BYTES:
        msg = (
            f"StoreOptions.index_bytes = {index}: must be at least {LEAST_INDEX_BYTES + segments * RECORD_BYTES} for "
            f"{segments} segments of {segment_bytes} bytes; leave it None, or choose larger segments"
        )
        raise InvalidArgumentError(msg)
    if segments < MIN_SEGMENTS:
        least = index + STAMP_BYTES + MIN_SEGMENTS * segment_bytes
        msg = (
            f"StoreOptions.capacity_bytes = {capacity_bytes}: must be at least {least} "
            f"({index} for the index, {MIN_SEGMENTS} segments of {segment_bytes})"
        )
        raise InvalidArgumentError(msg)
    return Quota(capacity_bytes, index, segment_bytes, segments)
