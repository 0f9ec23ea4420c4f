"""What a store says about itself: one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from lsmkv.base.ledger import Account
from lsmkv.controller.told import ControllerStats
from lsmkv.policy.transition import TransitionReport

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
    false_positive_rate: float | None
    """Of the keys that filters of this level were asked about in vain since opening, the share they let through; None: no key
    was. A table that moved took its future here, not its past."""
    predicted_false_positive_rate: float | None
    """The same by the bits, entries and whole probes of the filters there now; None: there is no filter."""


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
    range_deletes: int
    """Fragments of the key space that range deletes cover and tables may still hold something of: every read asks them."""
    range_deleted_entries: int
    """Entries that compactions dropped because a range delete covers them."""
    snapshots: int
    """Snapshots and scans alive."""
    open_tables: int
    wal_bytes: int
    """Bytes appended to logs."""
    wal_syncs: int
    flushes: int
    flush_bytes: int
    compactions: int
    compactions_apart: int
    """Of these, the ones that the helper process did (``Options.helper_process``)."""
    moved_tables: int
    compaction_read_bytes: int
    compaction_written_bytes: int
    write_amplification: float
    """Bytes written by flushes and compactions over bytes flushed (1.0: nothing was merged yet; 0 before a flush)."""
    read_amplification: float | None
    """Blocks read from files per key looked up that no memtable answered; None before the first."""
    space_amplification: float | None
    """Entries in tables over the fewest that can be live, judged by the shape alone: an upper bound. None: it cannot tell."""
    blocks_per_lookup: float | None
    """Blocks fetched, from the cache or from files, per key looked up that no memtable answered; None before the first."""
    block_reads: int
    """Blocks fetched from files by reads."""
    block_read_bytes: int
    cache_hits: int
    cache_bytes: int
    cache_capacity_bytes: int
    hash_column_bytes: int
    """Memory that hash columns take, and finders beside the values they hold."""
    filter_checks: int
    filter_negatives: int
    filter_false_positives: int
    slowdowns: Mapping[str, int]
    """Waits of writes that were slowed down, by reason: background work is behind, but has not stopped them."""
    slowdown_seconds: Mapping[str, float]
    stalls: Mapping[str, int]
    """Waits of writes that were stopped, by reason: until background work has made room."""
    stall_seconds: Mapping[str, float]
    background_waits: Mapping[str, int]
    """Waits of flushes and compactions ("flush", "compact") for ``background_bytes_per_s``."""
    background_wait_seconds: Mapping[str, float]
    background_failures: int
    last_error: str
    """The latest failure of background work, empty if none."""
    event_log_failures: int
    """Events that could not be written to the log of events."""
    transition: TransitionReport | None
    """The change of policy going on, with what is left to pay, or the last one; None: there was none."""
    controller: ControllerStats | None
    """What the controller sees and does; None: there is none."""
    ledger: Account
    """Every block fetch, device read and byte by cause and level, since opening."""
    totals: Account
    """The same since the store was created, as far as it is on record (see docs/ledger.md)."""
    since_switch: Account
    """The same since the policy was changed last; since the store was created if it never was."""
    recovery: tuple[str, ...]
    """What opening found worth telling."""

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON; accounts without their zeros."""
        told: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            told[field.name] = value.to_dict() if isinstance(value, Account | TransitionReport | ControllerStats) else value
        return told | {"levels": [asdict(level) for level in self.levels]}
