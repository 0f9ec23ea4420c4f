"""What an owner may choose about a store. One frozen record; every field says default, unit, effect and when it can change.

The first part changes behaviour (what is kept, what a call promises), the second performance, the third is for tests:
the seams through which the engine reaches the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

from lsmkv.env.clock import Clock
from lsmkv.env.fs import FileSystem
from lsmkv.env.rng import Rng
from lsmkv.env.scheduling import Scheduler
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy

__all__ = ["Compression", "Options", "checked_options", "checked_policy"]

Compression: TypeAlias = Literal["none", "zstd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to open a store. All fields are fixed while it is open; all may differ from one opening to the next."""

    # behaviour
    policy: Policy | None = None
    """Compaction policy. None: as recorded in the store, ``Leveled()`` for a new one. Another one than recorded is a switch, as
    by ``db.set_policy``; that changes it while the store is open, too."""
    create: bool = True
    """Create the store if the directory holds none; otherwise InvalidArgumentError."""
    wal_sync: Literal["write", "interval", "off"] = "off"
    """When the log is made durable: before every write returns, when ``wal_sync_interval_s`` have passed, or only by
    ``sync=True``, ``db.sync()``, a flush or close. Written batches reach the kernel in every mode: they survive the
    death of the process, "off" risks the last seconds at a power cut (a prefix of the commit order always survives)."""
    wal_sync_interval_s: float = 0.1
    """Seconds, at least 0.001; the age an unsynced write may reach in mode "interval"."""
    stall_timeout_s: float = 60.0
    """Seconds a write may wait for flushes or compactions before BusyError says for what."""
    tombstone_age_s: float | None = None
    """Seconds a deletion may stay a tombstone while older versions of its key may still be on disk; then everything that it
    covers is merged, whatever the policy. Counted from the write while this is set, else from the flush. A snapshot that
    needs the older versions is waited for. None: until compactions get there by themselves."""
    event_log: bool = True
    """Keep a log of flushes, compactions, switches and stalls in the directory: docs/format/events.md, at most 8 MiB."""
    status_interval_s: float | None = 1.0
    """Seconds, at least 0.05, between looks at the statistics; what has changed goes to the file ``STATUS`` in the directory (a
    few KiB, not synced, removed by close: docs/format/status.md). ``lsmkv top`` takes the rates of a store that another process
    has open from it. None: no such file. A manual scheduler writes none."""

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
    """Size (keys, values and 8 bytes an entry, before compression) at which a compaction starts a new table."""
    max_open_tables: int = 512
    """Table files kept open, with fences and filters in memory."""
    filter_bits_per_key: float = 10.0
    """Bloom filter bits per entry, on average (10: about 0.8 % false positives); 0 builds no filters. New tables only."""
    filter_allocation: Literal["monkey", "uniform"] = "monkey"
    """How these bits are shared out. "monkey": water-filled over the runs of the tree, so that lookups of absent keys fetch the
    fewest blocks: more for small runs, less for the largest, none where they would not pay. "uniform": the same for every
    entry. New tables only."""
    compression: Compression | tuple[Compression, ...] = "none"
    """For all levels, or one per level from level 0 on, the last repeating. New tables only."""
    level0_runs: int = 4
    """Flushed tables that may stay at level 0 before they are merged into level 1."""
    level0_stop_runs: int = 24
    """Runs at level 0 at which writes stall until a compaction has taken some away."""

    range_delete_keys: int = 256
    """Most keys that a range delete removes one by one, if it finds no more (0: it never looks). More: fewer range deletes that
    every read has to consult, and other writers wait longer for one."""

    # seams
    fs: FileSystem | None = None
    """File system; None: the machine's."""
    clock: Clock | None = None
    """Clock; None: the machine's."""
    rng: Rng | None = None
    """Random source; None: seeded by the system."""
    scheduler: Scheduler | None = None
    """Who runs flushes and compactions; None: background threads of this store. A manual scheduler
    (``lsmkv.testing.ManualScheduler``) runs nothing by itself: call ``db.step()`` or ``db.settle()``, or let a full store
    do one step inside the write that found it full."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the field."""
        if self.wal_sync not in ("write", "interval", "off"):
            _refuse("wal_sync", self.wal_sync, '"write", "interval" or "off"')
        if self.memtable not in ("skiplist", "sorteddict"):
            _refuse("memtable", self.memtable, '"skiplist" or "sorteddict"')
        if self.filter_allocation not in ("monkey", "uniform"):
            _refuse("filter_allocation", self.filter_allocation, '"monkey" or "uniform"')
        for name in ("create", "event_log"):
            if not isinstance(getattr(self, name), bool):
                _refuse(name, getattr(self, name), "True or False")
        for name, (kind, low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in ("tombstone_age_s", "status_interval_s"):
                continue
            if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float) or not low <= value <= high:
                _refuse(name, value, f"{'an integer' if kind is int else 'a number'} from {low} to {high}")
        if self.level0_stop_runs <= self.level0_runs:
            _refuse("level0_stop_runs", self.level0_stop_runs, f"more than level0_runs ({self.level0_runs})")
        kinds = (self.compression,) if isinstance(self.compression, str) else self.compression
        if not isinstance(kinds, tuple) or not kinds or any(k not in ("none", "zstd") for k in kinds):
            _refuse("compression", self.compression, '"none", "zstd" or a tuple of these')
        if self.policy is not None and (wanted := _wanted(self.policy)) is not None:
            _refuse("policy", self.policy, wanted)
        for name, protocol in _SEAMS.items():
            _check_methods(name, getattr(self, name), protocol)

    def compression_at(self, level: int) -> Compression:
        """The compression of tables written to ``level``."""
        if isinstance(self.compression, str):
            return self.compression
        return self.compression[min(level, len(self.compression) - 1)]


def checked_options(options: Options | None) -> Options:
    """``options``, or the defaults for None; InvalidArgumentError for anything else."""
    if options is None:
        return Options()
    if not isinstance(options, Options):
        msg = f"options must be an lsmkv.Options or None, not {type(options).__name__}"
        raise InvalidArgumentError(msg)
    return options


def checked_policy(policy: Policy, pace: object = "greedy") -> Policy:
    """``policy``, if it and the pace of a switch are what they should be; else InvalidArgumentError."""
    wanted = _wanted(policy)
    if wanted is not None:
        msg = f"policy {policy!r}: must be {wanted}"
        raise InvalidArgumentError(msg)
    if pace not in ("greedy", "lazy"):
        msg = f'pace {pace!r}: must be "greedy" or "lazy"'
        raise InvalidArgumentError(msg)
    return policy


def _wanted(policy: object) -> str | None:
    """What a policy should be, if this is none (``describe`` may be missing)."""
    if isinstance(policy, type):
        return f"an object, not a class: did you mean {policy.__name__}()?"
    return None if callable(getattr(policy, "pick", None)) else "a compaction policy, an object with a method pick(shape)"


_RANGES: dict[str, tuple[type, float, float]] = {
    "wal_sync_interval_s": (float, 0.001, 86_400),
    "stall_timeout_s": (float, 0, 365 * 86_400),
    "tombstone_age_s": (float, 0.001, 1e10),
    "status_interval_s": (float, 0.05, 86_400),
    "memtable_bytes": (int, 1 << 10, 1 << 40),
    "max_immutables": (int, 1, 1 << 20),
    "block_cache_bytes": (int, 0, 1 << 50),
    "block_bytes": (int, 64, 1 << 30),
    "table_bytes": (int, 1 << 10, 1 << 50),
    "max_open_tables": (int, 1, 1 << 30),
    "filter_bits_per_key": (float, 0, 100),
    "level0_runs": (int, 1, 1 << 20),
    "level0_stop_runs": (int, 2, 1 << 21),
    "range_delete_keys": (int, 0, 1 << 12),
}
"""Type, least and greatest value of each number."""

_SEAMS: dict[str, type] = {"fs": FileSystem, "clock": Clock, "rng": Rng, "scheduler": Scheduler}
"""Objects that are called, and the protocol that says how."""


def _check_methods(name: str, value: object, protocol: type) -> None:
    """Refuse an object that lacks a public name of its protocol, and a class where an object is wanted."""
    if value is None:
        return
    if isinstance(value, type):
        _refuse(name, value, f"an object, not a class: did you mean {value.__name__}()?")
    for method in vars(protocol):
        if not method.startswith("_") and not hasattr(value, method):
            _refuse(name, value, f"a {protocol.__name__}, but it has no {method!r}")


def _refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise InvalidArgumentError naming the field, its value and what is allowed."""
    msg = f"Options.{name} = {value!r}: must be {allowed}"
    raise InvalidArgumentError(msg)
