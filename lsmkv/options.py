"""What an owner may choose about a store. One frozen record; every field says default, unit, effect and when it can change.

The first part changes behaviour (what is kept, what a call promises), the second performance, the third is for tests:
the seams through which the engine reaches the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, TypeAlias

from lsmkv.controller.settings import Adaptive
from lsmkv.env.clock import Clock
from lsmkv.env.fs import FileSystem
from lsmkv.env.rng import Rng
from lsmkv.env.scheduling import Scheduler
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy

__all__ = ["CHANGEABLE", "Compression", "Options", "changed_options", "checked_options", "checked_policy"]

Compression: TypeAlias = Literal["none", "zstd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to open a store.

    Each field says whether it can change while the store is open (``db.set_options``); all may differ from one opening to the
    next, and none but the policy is recorded.
    """

    # behaviour
    policy: Policy | None = None
    """Compaction policy. None: as recorded in the store, ``Leveled()`` for a new one. Another one than recorded is a switch, as
    by ``db.set_policy``; that changes it while the store is open, too. Changeable: by ``set_policy``."""
    create: bool = True
    """Create the store if the directory holds none; otherwise InvalidArgumentError. Changeable: at the next opening."""
    wal_sync: Literal["write", "interval", "off"] = "off"
    """When the log is made durable: before every write returns, when ``wal_sync_interval_s`` have passed, or only by
    ``sync=True``, ``db.sync()``, a flush or close. Written batches reach the kernel in every mode: they survive the
    death of the process, "off" risks the last seconds at a power cut (a prefix of the commit order always survives).
    Changeable: at run time."""
    wal_sync_interval_s: float = 0.1
    """Seconds, at least 0.001; the age an unsynced write may reach in mode "interval". Changeable: at run time."""
    stall_timeout_s: float = 60.0
    """Seconds a write may wait for flushes or compactions before BusyError says for what. Changeable: at run time."""
    tombstone_age_s: float | None = None
    """Seconds a deletion may stay a tombstone while older versions of its key may still be on disk; then everything that it
    covers is merged, whatever the policy. Counted from the write while this is set, else from the flush. A snapshot that
    needs the older versions is waited for. None: until compactions get there by themselves. Changeable: at run time."""
    event_log: bool = True
    """Keep a log of flushes, compactions, switches and stalls in the directory: docs/format/events.md, at most 8 MiB.
    Changeable: at the next opening."""
    status_interval_s: float | None = 1.0
    """Seconds, at least 0.05, between looks at the statistics; what has changed goes to the file ``STATUS`` in the directory (a
    few KiB, not synced, removed by close: docs/format/status.md). ``lsmkv top`` takes the rates of a store that another process
    has open from it. None: no such file. A manual scheduler writes none. Changeable: at the next opening."""

    refresh_s: float | None = 0.1
    """Only for ``open(..., read_only=True)``: seconds after which a read looks again for what the writer has done since (0: every
    read looks). None: never by itself, only ``refresh()`` looks. Of a writer it changes nothing.
    Changeable: at the next opening."""

    # performance
    memtable: Literal["skiplist", "sorteddict"] = "skiplist"
    """Ordered part of the memtable; answers are the same. Changeable: at the next opening."""
    memtable_bytes: int = 32 << 20
    """Bytes (keys, values, bookkeeping) that a memtable takes before it is flushed. More: fewer, larger tables, less write
    amplification, more memory (up to ``1 + max_immutables`` memtables) and a longer replay after a crash.
    Changeable: at run time."""
    max_immutables: int = 2
    """Full memtables that may wait for their flush before writes stall. Changeable: at run time."""
    block_cache_bytes: int = 32 << 20
    """Bytes of blocks, of rows of blocks, and of values in finders, kept in memory; 0 keeps none. Changeable: at run time."""
    hash_column_bytes: int = 64 << 20
    """Bytes of memory for hash columns: batches of keys that lie anywhere find their values through them, in tables that such
    batches ask often. 28 an entry, and its value while there is room. And for finders, which serve single gets: 10 an entry in
    stores whose values fit the block cache; in others, if a value has 64 to 1,024 bytes, 10 for each that the finder holds and 18
    for each that it reads from the file, and up to a tenth of this memory for values; with all values if a merge made them and
    the cache has no room. And for memtables kept while their tables are at level 0: up to half of it. 0: none of these.
    Changeable: at run time."""
    block_bytes: int = 4096
    """Target size of a table's block before compression. Larger: fewer fences, more bytes per point read.
    Changeable: at the next opening."""
    table_bytes: int = 32 << 20
    """Size (keys, values and 8 bytes an entry, before compression) at which a compaction starts a new table.
    Changeable: at run time."""
    max_open_tables: int = 512
    """Table files kept open, with fences and filters in memory. Changeable: at run time."""
    filter_bits_per_key: float = 10.0
    """Bloom filter bits per entry, on average (10: about 0.8 % false positives); 0 builds no filters. New tables only.
    Changeable: at run time."""
    filter_allocation: Literal["monkey", "uniform"] = "monkey"
    """How these bits are shared out. "monkey": water-filled over the runs of the tree, so that lookups of absent keys fetch the
    fewest blocks: more for small runs, less for the largest, none where they would not pay. "uniform": the same for every
    entry. New tables only. Changeable: at run time."""
    compression: Compression | tuple[Compression, ...] = "none"
    """For all levels, or one per level from level 0 on, the last repeating. New tables only. Changeable: at run time."""
    level0_runs: int = 4
    """Flushed tables that may stay at level 0 before they are merged into level 1. Changeable: at run time."""
    level0_slowdown_runs: int | None = None
    """Runs at level 0 from which writes are slowed down, the more the nearer ``level0_stop_runs`` is, so that they stop late or
    never (docs/backpressure.md). None: halfway from ``level0_runs`` to the stop. As many as the stop: never slower.
    Changeable: at run time."""
    level0_stop_runs: int = 24
    """Runs at level 0 at which writes stall until a compaction has taken some away. Changeable: at run time."""
    helper_process: bool = True
    """Do large merges in a second Python process, where they do not take the interpreter from this one. It is started when one is
    due, ends after a minute without, and takes 45 to 130 MiB meanwhile (docs/helper-process.md). False, and wherever a process
    cannot be started: merges run in a thread of this one. Changeable: at run time."""
    background_bytes_per_s: float | None = None
    """Bytes a second that flushes and compactions may read and write together, at least 1024; None: as fast as they can. A flush
    goes before compactions, and is not held up while memtables press on writers; opening and closing wait for nothing
    (docs/background-rate.md). Changeable: at run time."""

    range_delete_keys: int = 256
    """Most keys that a range delete removes one by one, if it finds no more (0: it never looks). More: fewer range deletes that
    every read has to consult, and other writers wait longer for one. Changeable: at run time."""
    controller: Adaptive | None = None
    """Who shapes the tree after what is asked of it: size ratio, runs per level, merges that reads pay for (docs/controller.md).
    None, or ``Adaptive(mode="off")``: nobody. It needs a policy of the continuum without ``partial``. Changeable: at run time."""

    # seams
    fs: FileSystem | None = None
    """File system; None: the machine's. Changeable: at the next opening."""
    clock: Clock | None = None
    """Clock; None: the machine's. Changeable: at the next opening."""
    rng: Rng | None = None
    """Random source; None: seeded by the system. Changeable: at the next opening."""
    scheduler: Scheduler | None = None
    """Who runs flushes and compactions; None: background threads of this store. A manual scheduler
    (``lsmkv.testing.ManualScheduler``) runs nothing by itself: call ``db.step()`` or ``db.settle()``, or let a full store
    do one step inside the write that found it full. Changeable: at the next opening."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the field."""
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                *most, last = (f'"{word}"' for word in words)
                _refuse(name, getattr(self, name), f"{', '.join(most)} or {last}")
        for name in ("create", "event_log", "helper_process"):
            if not isinstance(getattr(self, name), bool):
                _refuse(name, getattr(self, name), "True or False")
        for name, (kind, low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float) or not low <= value <= high:
                none = ", or None" if name in _OPTIONAL else ""
                _refuse(name, value, f"{'an integer' if kind is int else 'a number'} from {low} to {high}{none}")
        if self.level0_stop_runs <= self.level0_runs:
            _refuse("level0_stop_runs", self.level0_stop_runs, f"more than level0_runs ({self.level0_runs})")
        slow = self.level0_slowdown_runs
        if slow is not None and not self.level0_runs < slow <= self.level0_stop_runs:
            allowed = f"more than level0_runs ({self.level0_runs}) and at most level0_stop_runs ({self.level0_stop_runs})"
            _refuse("level0_slowdown_runs", slow, allowed)
        kinds = (self.compression,) if isinstance(self.compression, str) else self.compression
        if not isinstance(kinds, tuple) or not kinds or any(k not in ("none", "zstd") for k in kinds):
            _refuse("compression", self.compression, '"none", "zstd" or a tuple of these')
        if self.policy is not None and (wanted := _wanted(self.policy)) is not None:
            _refuse("policy", self.policy, wanted)
        for name, protocol in _SEAMS.items():
            _check_methods(name, getattr(self, name), protocol)
        _check_controller(self.controller)

    @property
    def slowdown_runs(self) -> int:
        """Runs at level 0 from which writes are slowed down; never below ``level0_stop_runs``: they are not."""
        if self.level0_slowdown_runs is not None:
            return self.level0_slowdown_runs
        return self.level0_runs + (self.level0_stop_runs - self.level0_runs + 1) // 2

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


CHANGEABLE = frozenset(
    {
        "background_bytes_per_s",
        "block_cache_bytes",
        "compression",
        "controller",
        "filter_allocation",
        "filter_bits_per_key",
        "hash_column_bytes",
        "helper_process",
        "level0_runs",
        "level0_slowdown_runs",
        "level0_stop_runs",
        "max_immutables",
        "max_open_tables",
        "memtable_bytes",
        "range_delete_keys",
        "stall_timeout_s",
        "table_bytes",
        "tombstone_age_s",
        "wal_sync",
        "wal_sync_interval_s",
    }
)
"""Fields of :class:`Options` that can change while a store is open."""


def changed_options(options: Options, changes: Mapping[str, object]) -> Options:
    """``options`` with some fields changed, if every one of them may change while a store is open and all fit together.

    Raises InvalidArgumentError naming the field: unknown (and what it may have meant), fixed, or out of its range.
    """
    names = [field.name for field in fields(Options)]
    for name in changes:
        if name not in names:
            near = get_close_matches(name, names, 1)
            raise InvalidArgumentError(f"there is no option {name!r}" + (f": did you mean {near[0]!r}?" if near else ""))
        if name == "policy":
            raise InvalidArgumentError("the policy of an open store is changed by db.set_policy(policy)")
        if name not in CHANGEABLE:
            raise InvalidArgumentError(f"Options.{name} cannot change while the store is open; it can be set at the next opening")
    new: dict[str, Any] = dict(changes)
    return replace(options, **new)


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


_WORDS: dict[str, tuple[str, ...]] = {
    "wal_sync": ("write", "interval", "off"),
    "memtable": ("skiplist", "sorteddict"),
    "filter_allocation": ("monkey", "uniform"),
}
"""What each choice may be."""

_RANGES: dict[str, tuple[type, float, float]] = {
    "wal_sync_interval_s": (float, 0.001, 86_400),
    "stall_timeout_s": (float, 0, 365 * 86_400),
    "tombstone_age_s": (float, 0.001, 1e10),
    "status_interval_s": (float, 0.05, 86_400),
    "refresh_s": (float, 0, 86_400),
    "memtable_bytes": (int, 1 << 10, 1 << 40),
    "max_immutables": (int, 1, 1 << 20),
    "block_cache_bytes": (int, 0, 1 << 50),
    "hash_column_bytes": (int, 0, 1 << 50),
    "block_bytes": (int, 64, 1 << 30),
    "table_bytes": (int, 1 << 10, 1 << 50),
    "max_open_tables": (int, 1, 1 << 30),
    "filter_bits_per_key": (float, 0, 100),
    "level0_runs": (int, 1, 1 << 20),
    "level0_slowdown_runs": (int, 2, 1 << 21),
    "level0_stop_runs": (int, 2, 1 << 21),
    "background_bytes_per_s": (float, 1 << 10, 1 << 50),
    "range_delete_keys": (int, 0, 1 << 12),
}
"""Type, least and greatest value of each number."""

_OPTIONAL = frozenset({"tombstone_age_s", "status_interval_s", "refresh_s", "level0_slowdown_runs", "background_bytes_per_s"})
"""Numbers that may also be None."""

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


def _check_controller(value: object) -> None:
    """Refuse what is no controller's settings."""
    if value is not None and not isinstance(value, Adaptive):
        _refuse("controller", value, "lsmkv.Adaptive(...), or None")


def _refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise InvalidArgumentError naming the field, its value and what is allowed."""
    msg = f"Options.{name} = {value!r}: must be {allowed}"
    raise InvalidArgumentError(msg)
