"""What a prediction is made of and what it says: workload and system in, cost out. Units are in the names.

A block is one *logical* fetch of a data block, before any cache; filters and fences are in memory. A copy is one entry
written once into one level. The measured records (:mod:`lsmkv.cost.ledger`) have the same field names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from lsmkv.cost.checks import made_of, number, whole
from lsmkv.cost.filters import ALLOCATIONS
from lsmkv.cost.seconds import KINDS, PerOperation, Seconds
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy

__all__ = ["Cost", "LevelCost", "System", "Workload"]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked of the store: how often, and how keys are chosen.

    The first four are relative rates (at least one positive); only what is said per operation of the mix depends on them.

    Raises InvalidArgumentError for anything but finite numbers in their ranges.
    """

    zero_lookups: float = 1.0
    """Lookups of absent keys that lie among the stored ones."""
    lookups: float = 1.0
    """Lookups of present keys, each live key as likely as any other."""
    scans: float = 1.0
    updates: float = 1.0
    """Entries written, tombstones among them."""
    scan_entries: float = 32.0
    """Live entries that a scan returns; it starts at a random live key."""
    live_entries: float | None = None
    """None: keys are written once, all entries are live. A number: writes overwrite that many keys uniformly at random."""
    memtable_hits: float | None = None
    """Share of present lookups that memtables answer; None: as their entries' share of the live ones tells."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        mix = [number(name, getattr(self, name)) for name in KINDS]
        if not any(mix):
            raise InvalidArgumentError("zero_lookups, lookups, scans and updates are all 0: a workload does something")
        number("scan_entries", self.scan_entries, 1)
        if self.live_entries is not None:
            number("live_entries", self.live_entries, 1)
        if self.memtable_hits is not None:
            number("memtable_hits", self.memtable_hits, 0, 1)

    @property
    def mix(self) -> tuple[float, float, float, float]:
        """The four rates as shares of all operations: they sum to 1."""
        total = self.zero_lookups + self.lookups + self.scans + self.updates
        return (self.zero_lookups / total, self.lookups / total, self.scans / total, self.updates / total)


@dataclass(frozen=True, slots=True)
class System:
    """What runs it.

    The fields from ``entries`` on describe trees that are not there: :func:`lsmkv.cost.best_shape` and
    :func:`lsmkv.cost.judge` need them, :func:`lsmkv.cost.predict` takes the tree's own.

    Raises InvalidArgumentError for anything but finite numbers in their ranges.
    """

    policy: Policy
    """Decides what writing costs (its size ratio and runs per level; what reading costs is in the shape)."""
    block_entries: float = 32.0
    """Entries in a data block (B)."""
    entry_bytes: float = 100.0
    """Bytes of a key and its value."""
    table_entry_bytes: float | None = None
    """Bytes of an entry in a table file, without the filter; None: ``entry_bytes`` and 5, what sequence number, kind and a share
    of fences and headers took in a store filled in random order."""
    memtable_entries: float = 0.0
    """Entries in memtables at the moment."""
    write_cost: float = 1.0
    """A block written over a block read (phi)."""
    cache_hit_rate: float = 0.0
    """Share of the block fetches that the block cache answers."""
    seconds: Seconds | None = None
    """What operations take on the machine (``lsmkv calibrate``); None: costs are told in blocks only."""
    entries: int | None = None
    """Entries in the tables; None: the workload's ``live_entries``."""
    flush_entries: int | None = None
    """Entries of a flushed memtable."""
    level0_runs: int = 4
    """Flushed tables that may stay at level 0."""
    filter_bits_per_key: float = 10.0
    """Filter bits per entry, on average."""
    filter_allocation: str = "monkey"
    """How filter bits are shared out: "monkey" or "uniform"."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if isinstance(self.policy, type) or not callable(getattr(self.policy, "pick", None)):
            raise InvalidArgumentError(f"policy must have pick(shape), not {self.policy!r}")
        number("block_entries", self.block_entries, 1)
        number("entry_bytes", self.entry_bytes, above=True)
        if self.table_entry_bytes is not None:
            number("table_entry_bytes", self.table_entry_bytes, above=True)
        number("memtable_entries", self.memtable_entries)
        number("write_cost", self.write_cost)
        number("cache_hit_rate", self.cache_hit_rate, 0, 1)
        if self.seconds is not None:
            made_of("seconds", self.seconds, Seconds, "lsmkv calibrate")
        for name in ("entries", "flush_entries"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), 1)
        whole("level0_runs", self.level0_runs, 0)
        number("filter_bits_per_key", self.filter_bits_per_key)
        if self.filter_allocation not in ALLOCATIONS:
            raise InvalidArgumentError(f"filter_allocation must be one of {ALLOCATIONS}, not {self.filter_allocation!r}")

    @property
    def file_entry_bytes(self) -> float:
        """Bytes of an entry in a table file."""
        return self.entry_bytes + 5 if self.table_entry_bytes is None else self.table_entry_bytes


@dataclass(frozen=True, slots=True)
class LevelCost:
    """The share of one level."""

    level: int
    runs: int
    entries: int
    filter_bits_per_key: float
    """Over all entries of the level; 0.0: no filters."""
    false_positive_rate: float
    """Of the filters that a lookup of an absent key asks here, the share that passes; 1.0 if no run has one."""
    zero_lookup_blocks: float
    """Blocks that a lookup of an absent key fetches here (runs without a filter count 1 each)."""
    answers: float
    """Share of the lookups of present keys that find their key here."""
    scan_blocks: float
    copies: float
    """Copies written into this level per entry written to the store; level 0: the flush."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What operations cost; see :func:`lsmkv.cost.predict` for how it is found."""

    zero_lookup_blocks: float
    """Blocks per lookup of an absent key (the papers' R)."""
    lookup_blocks: float
    """Blocks per lookup of a present key, on average over the live keys."""
    worst_lookup_blocks: float
    """Blocks per lookup of a key in the oldest run (the papers' V). Predicted only."""
    zero_lookup_filter_checks: float
    lookup_filter_checks: float
    scan_blocks: float
    """Blocks per scan (the papers' Q)."""
    update_copies: float
    """Copies per entry written: flush and merges; trivial moves and the WAL count nothing."""
    update_blocks: float
    """Blocks read and written per entry written, written ones weighing ``write_cost`` (the papers' W)."""
    write_amplification: float
    """Bytes written into tables per byte of key and value written."""
    space_amplification: float
    """Bytes of tables per byte of live key and value."""
    memtable_hits: float
    """Share of the lookups of present keys that memtables answer."""
    operation_blocks: float
    """Blocks per operation of the workload's mix."""
    levels: tuple[LevelCost, ...]
    read_amplification: float = 0.0
    """Device reads of blocks per lookup that no memtable answers: what the cache leaves of the fetches."""
    seconds: PerOperation | None = None
    """What each kind of operation takes, background work included; None: the system has no prices."""
    operation_seconds: float | None = None
    """Seconds per operation of the workload's mix."""

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)
