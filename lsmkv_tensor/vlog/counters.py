"""What a store has counted since it was opened."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Changed under the lock of whoever counts; read at any time."""

    hits: int = 0
    """Pages delivered."""
    misses: int = 0
    """Pages asked for and not delivered, for whatever reason."""
    corrupt: int = 0
    """Pages dropped because their bytes failed the check."""
    lost: int = 0
    """Pages dropped because their segment file was missing at opening, or reused since."""
    write_errors: int = 0
    """Frames and commits of puts that failed, a full disk apart."""
    read_errors: int = 0
    """Pages not delivered because reading failed."""
    read_failures: int = 0
    """Part of it that the store's breaker hears of: several disks have breakers of their own."""
    alone: int = 0
    """Pages not delivered because their disk, one of several, is left alone."""
    put_pages: int = 0
    """Pages newly stored."""
    present_pages: int = 0
    """Pages offered that were there already."""
    declined_pages: int = 0
    """Pages offered and not stored: no space, or a write failed."""
    put_bytes: int = 0
    """Bytes of the pages newly stored."""
    put_stored_bytes: int = 0
    """Bytes that they take as their codec wrote them, padding not included."""
    refused_pages: int = 0
    """Pages offered and not stored: the admission policy did not think them worth a write."""
    deleted_pages: int = 0
    read_bytes: int = 0
    """Bytes of pages read from segments for callers."""
    gc_runs: int = 0
    gc_segments: int = 0
    """Segments that garbage collection freed."""
    gc_moved_bytes: int = 0
    gc_read_bytes: int = 0
    gc_dropped_pages: int = 0
    """Pages given up because the segment they were in was reclaimed."""
