"""The shape of the tree: tables in runs in levels. It is all that a policy may see, and it is immutable.

``levels[0]`` holds flushed tables, one run each, newest first. ``levels[i]``, i >= 1, holds sorted runs, newest first;
within a run tables are disjoint and ordered by key. The *level rule*: for one key, everything in a younger run of a
level, or in a shallower level, is newer than everything in an older run or a deeper level.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from lsmkv.base.keys import MAX_SEQ
from lsmkv.version.rangedeletes import NO_RANGES, RangeDeletes

__all__ = ["Level", "Run", "TableMeta", "TreeShape"]

_Key: TypeAlias = bytes  # the records below have a field named ``bytes``


@dataclass(frozen=True, slots=True)
class TableMeta:
    """What the manifest remembers of one table file."""

    number: int
    """File number: the file is ``{number:06d}.sst``."""
    bytes: int
    """Size of the file."""
    entries: int
    """Entries, tombstones and shadowed versions included."""
    tombstones: int
    smallest: _Key
    """First user key."""
    largest: _Key
    """Last user key."""
    min_seq: int
    max_seq: int
    raw_bytes: int = 0
    """Key and value bytes before compression."""
    filter_bits: int = 0
    """Bits of the Bloom filter; 0: none."""
    born_s: float = 0.0
    """When the oldest data in it was flushed (wall time of the store's clock; 0.0: unknown)."""
    newest_s: float = 0.0
    """When the newest data in it was flushed."""
    tombstone_s: float = 0.0
    """When the oldest tombstone in it was flushed; 0.0: it holds none, or it is unknown."""
    shadowed: int = 0
    """Entries with a newer version of their key in the same table: kept for a snapshot."""
    swept: int = 0
    """Range deletes up to this sequence number cover nothing in it any more."""


@dataclass(frozen=True, slots=True)
class Run:
    """One sorted run."""

    id: int
    """Unique in the tree; larger is younger within a level."""
    tables: tuple[TableMeta, ...]

    @property
    def entries(self) -> int:
        """Entries of all tables."""
        return sum(t.entries for t in self.tables)

    @property
    def bytes(self) -> int:
        """File bytes of all tables."""
        return sum(t.bytes for t in self.tables)


@dataclass(frozen=True, slots=True)
class Level:
    """The runs of one level, newest first."""

    runs: tuple[Run, ...] = ()

    @property
    def entries(self) -> int:
        """Entries of all runs."""
        return sum(r.entries for r in self.runs)

    @property
    def bytes(self) -> int:
        """File bytes of all runs."""
        return sum(r.bytes for r in self.runs)


@dataclass(frozen=True, slots=True)
class TreeShape:
    """All levels, shallow first, and the mean entries of one arrival at level 1 (``buffer_entries``).

    The fields from ``level0_runs`` to ``patient`` are facts of whoever opened the store and of the moment, not of the files:
    the engine (or a simulator) fills them in before it asks a policy.
    """

    levels: tuple[Level, ...] = (Level(),)
    buffer_entries: int = 0
    level0_runs: int = 4
    """Runs that may stay at level 0."""
    table_bytes: int = 0
    """Size at which a merge begins another table; 0: unknown."""
    now_s: float = 0.0
    """The time at which the shape is looked at (same clock as the tables' times)."""
    snapshot_floor: int = MAX_SEQ
    """Smallest sequence number that any snapshot reads at: of two versions of a key up to it, nobody sees the older one."""
    tombstone_age_s: float | None = None
    """Bound on how long a tombstone may stay; None: no bound."""
    patient: bool = False
    """Whether a tree left by another policy is brought in line as its levels fill (True) or now (False)."""
    ranges: RangeDeletes = NO_RANGES
    """The range deletes that some table may still hold something of."""

    @property
    def entries(self) -> int:
        """Entries of the whole tree."""
        return sum(level.entries for level in self.levels)

    @property
    def bytes(self) -> int:
        """File bytes of the whole tree."""
        return sum(level.bytes for level in self.levels)

    @property
    def tables(self) -> tuple[TableMeta, ...]:
        """Every table, newest data first."""
        return tuple(t for level in self.levels for run in level.runs for t in run.tables)

    def with_level(self, index: int, level: Level) -> TreeShape:
        """A copy in which ``levels[index]`` is replaced (levels are added as needed)."""
        levels = list(self.levels) + [Level()] * (index + 1 - len(self.levels))
        levels[index] = level
        return replace(self, levels=tuple(levels))
