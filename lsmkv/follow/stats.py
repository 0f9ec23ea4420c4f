"""What a follower says about itself and the store it follows: one frozen record.

Fields with the names of :class:`lsmkv.observe.stats.Stats` mean the same; what only the writer knows is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from lsmkv.base.ledger import Account
from lsmkv.observe.stats import LevelStats

__all__ = ["FollowerStats"]


@dataclass(frozen=True, slots=True)
class FollowerStats:
    """A follower at one moment. Counts since it was opened; times in seconds."""

    path: str
    policy: Mapping[str, object]
    """As the manifest has it."""
    last_seq: int
    """Sequence number of the newest entry shown."""
    levels: tuple[LevelStats, ...]
    entries: int
    """Entries in tables, tombstones and shadowed versions included."""
    bytes: int
    """Bytes of table files."""
    memtable_entries: int
    """Entries that only logs hold."""
    memtable_bytes: int
    range_deletes: int
    """Fragments of the key space that range deletes cover and reads ask about."""
    logs: int
    """Logs whose entries are not in tables yet."""
    snapshots: int
    """Snapshots and scans alive."""
    open_tables: int
    looks: int
    """Times the files were looked at for news."""
    news: int
    """Looks that found some."""
    reloads: int
    """Looks begun from scratch: something was inconsistent while it was read."""
    age_s: float
    """Since the last look that succeeded began: everything acknowledged before that is shown."""
    cache_hits: int
    cache_bytes: int
    cache_capacity_bytes: int
    hash_column_bytes: int
    """Memory that hash columns take."""
    block_reads: int
    block_read_bytes: int
    ledger: Account
    """Every block fetch, device read and byte of table reads, by level."""

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON; the account without its zeros."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return told | {"levels": [asdict(level) for level in self.levels], "ledger": self.ledger.to_dict()}
