"""What a store says about itself: one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

__all__ = ["LevelStats", "Stats"]


@dataclass(frozen=True, slots=True)
class LevelStats:
    """One level; bytes are file bytes."""

    level: int
    runs: int
    tables: int
    entries: int
    tombstones: int
    bytes: int
    filter_bits_per_key: float


@dataclass(frozen=True, slots=True)
class Stats:
    """A store at one moment. Counts since opening unless said otherwise; times in seconds."""

    path: str
    policy: Mapping[str, object]
    last_seq: int
    levels: tuple[LevelStats, ...]
    entries: int
    """Entries in tables, tombstones and shadowed versions included."""
    bytes: int
    """Bytes of table files."""
    memtable_entries: int
    memtable_bytes: int
    immutable_memtables: int
    snapshots: int
    """Snapshots and scans alive."""
    open_tables: int
    wal_bytes: int
    """Bytes appended to logs."""
    wal_syncs: int
    flushes: int
    flush_bytes: int
    compactions: int
    moved_tables: int
    compaction_read_bytes: int
    compaction_written_bytes: int
    write_amplification: float
    """Bytes written by flushes and compactions over bytes flushed (1.0: nothing was merged yet; 0 before a flush)."""
    block_reads: int
    """Blocks fetched from files by reads."""
    block_read_bytes: int
    cache_hits: int
    cache_bytes: int
    cache_capacity_bytes: int
    filter_checks: int
    filter_negatives: int
    filter_false_positives: int
    stalls: Mapping[str, int]
    stall_seconds: Mapping[str, float]
    background_failures: int
    last_error: str
    """The latest failure of background work, empty if none."""
    recovery: tuple[str, ...]
    """What opening found worth telling."""

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return asdict(self)
