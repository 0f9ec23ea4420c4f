"""What a replay says: one tidy row for each policy at each capacity, the same columns for a cache of blocks and a real store."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from io import StringIO

__all__ = ["Row", "as_csv"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One replay. Blocks are counted; bytes, percentages of time and GC work are those of a real store, 0 in block mode."""

    mode: str
    """"blocks" or "store"."""
    eviction: str
    admission: str
    capacity_share: float
    """Capacity over the bytes of all distinct blocks."""
    capacity: int
    """Blocks in block mode, bytes of pages otherwise."""
    upstream_blocks: int
    requests: int
    references: int
    upstream_hits: int
    asked: int
    """Blocks the store was asked for."""
    hits: int
    hit_rate: float
    """hits / asked."""
    written: int
    declined: int
    evicted: int
    ghost_hits: int
    written_bytes: int = 0
    """Bytes given to the file system, padding, headers and moved pages included."""
    moved_bytes: int = 0
    """Bytes of pages that garbage collection moved."""
    gc_write_amplification: float = 0.0
    """Bytes written for pages, moved ones included, over bytes of pages stored."""
    physical_bytes: int = 0
    """Bytes on disk at the end."""
    seconds: float = 0.0
    probe_p50_ms: float = 0.0
    probe_p99_ms: float = 0.0
    get_p50_ms: float = 0.0
    get_p99_ms: float = 0.0
    put_p50_ms: float = 0.0
    put_p99_ms: float = 0.0

    def to_dict(self) -> dict[str, object]:
        """Its columns by name."""
        return asdict(self)


def as_csv(rows: Iterable[Row]) -> str:
    """The rows under a line of column names."""
    text = StringIO()
    names: Sequence[str] = [field.name for field in fields(Row)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.to_dict() for row in rows)
    return text.getvalue()
