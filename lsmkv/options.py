"""What an owner may choose about a store. One frozen record; every field says default, unit, effect and when it can change.

The first part changes behaviour (what is kept, what a call promises), the second performance, the third is for tests:
the seams through which the engine reaches the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from lsmkv.env.clock import Clock
from lsmkv.env.fs import FileSystem
from lsmkv.env.rng import Rng
from lsmkv.env.scheduling import Scheduler
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy

__all__ = ["Compression", "Options"]

Compression: TypeAlias = Literal["none", "zstd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to open a store. All fields are fixed while it is open; all may differ from one opening to the next."""

    # behaviour
    policy: Policy | None = None
    """Compaction policy. None: as recorded in the store, ``Leveled()`` for a new one."""
    create: bool = True
    """Create the store if the directory holds none; otherwise InvalidArgumentError."""
    wal_sync: Literal["write", "interval", "off"] = "off"
    """When the log is made durable: before every write returns, when ``wal_sync_interval_s`` have passed, or only by
    ``sync=True``, ``db.sync()``, a flush or close. Written batches reach the kernel in every mode: they survive the
    death of the process, "off" risks the last seconds at a power cut (a prefix of the commit order always survives)."""
    wal_sync_interval_s: float = 0.1
    """Seconds; the age an unsynced write may reach in mode "interval"."""
    stall_timeout_s: float = 60.0
    """Seconds a write may wait for flushes or compactions before BusyError says for what."""

    # performance
    memtable: Literal["skiplist", "sorteddict"] = "skiplist"
    """Ordered part of the memtable; answers are the same."""
    memtable_bytes: int = 32 << 20
    """Bytes (keys, values, bookkeeping) that a memtable takes before it is flushed. More: fewer, larger tables, less write
    amplification, more memory (up to ``1 + max_immutables`` memtables) and a longer replay after a crash."""
    max_immutables: int = 2
    """Full memtables that may wait for their flush before writes stall."""
    block_cache_bytes: int = 32 << 20
    """Bytes of decoded blocks kept in memory; 0 keeps none."""
    block_bytes: int = 4096
    """Target size of a table's block before compression. Larger: fewer fences, more bytes per point read."""
    table_bytes: int = 32 << 20
    """Size at which a compaction starts a new table."""
    max_open_tables: int = 512
    """Table files kept open, with fences and filters in memory."""
    filter_bits_per_key: float = 10.0
    """Bloom filter bits per entry (10: about 0.8 % false positives); 0 builds no filters. New tables only."""
    compression: Compression | tuple[Compression, ...] = "none"
    """For all levels, or one per level from level 0 on, the last repeating. New tables only."""
    level0_runs: int = 4
    """Flushed tables that may stay at level 0 before they are merged into level 1."""
    level0_stop_runs: int = 24
    """Runs at level 0 at which writes stall until a compaction has taken some away."""

    # seams
    fs: FileSystem | None = None
    """File system; None: the machine's."""
    clock: Clock | None = None
    """Clock; None: the machine's."""
    rng: Rng | None = None
    """Random source; None: seeded by the system."""
    scheduler: Scheduler | None = None
    """Who runs flushes and compactions; None: background threads of this store. A manual scheduler runs nothing by
    itself: call ``db.step()`` or ``db.settle()``, or let a full store do one step inside the write that found it full."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the field."""
        if self.wal_sync not in ("write", "interval", "off"):
            _refuse("wal_sync", self.wal_sync, '"write", "interval" or "off"')
        if self.memtable not in ("skiplist", "sorteddict"):
            _refuse("memtable", self.memtable, '"skiplist" or "sorteddict"')
        for name, low in _LOWEST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= low:
                _refuse(name, value, f"a number of at least {low}")
        for name in ("memtable_bytes", "max_immutables", "block_cache_bytes", "block_bytes", "table_bytes", "max_open_tables"):
            if not isinstance(getattr(self, name), int):
                _refuse(name, getattr(self, name), "an integer")
        if self.level0_stop_runs <= self.level0_runs:
            _refuse("level0_stop_runs", self.level0_stop_runs, f"more than level0_runs ({self.level0_runs})")
        kinds = (self.compression,) if isinstance(self.compression, str) else self.compression
        if not isinstance(kinds, tuple) or not kinds or any(k not in ("none", "zstd") for k in kinds):
            _refuse("compression", self.compression, '"none", "zstd" or a tuple of these')

    def compression_at(self, level: int) -> Compression:
        """The compression of tables written to ``level``."""
        if isinstance(self.compression, str):
            return self.compression
        return self.compression[min(level, len(self.compression) - 1)]


_LOWEST: dict[str, float] = {
    "wal_sync_interval_s": 0.0,
    "stall_timeout_s": 0.0,
    "memtable_bytes": 1 << 10,
    "max_immutables": 1,
    "block_cache_bytes": 0,
    "block_bytes": 64,
    "table_bytes": 1 << 10,
    "max_open_tables": 1,
    "filter_bits_per_key": 0.0,
    "level0_runs": 1,
    "level0_stop_runs": 2,
}


def _refuse(name: str, value: object, allowed: str) -> None:
    """Raise InvalidArgumentError naming the field, its value and what is allowed."""
    msg = f"Options.{name} = {value!r}: must be {allowed}"
    raise InvalidArgumentError(msg)
