"""Counts of what the engine reads and writes: the atoms of the ledger (:mod:`lsmkv.base.ledger`).

Each kind comes twice: a counter that is bumped (:class:`Counters`, :class:`WorkCounters`, :class:`CallCounters`) and a frozen
record of what it said at one moment (:class:`BlockCounts`, :class:`WorkCounts`), which can be added and subtracted.

A *fetch* is one logical data-block access, before any cache: ``block_fetches = cache_hits + block_reads``. Bumping is one
plain ``x.n += k`` (~30 ns), not locked: CPython runs it without switching threads, so nothing is lost under the GIL. That
holds as long as ``k`` is at hand: with a call on the right, another thread may count between the load and the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import add, attrgetter, sub
from typing import Self, TypeAlias

__all__ = ["BlockCounts", "CallCounters", "Counters", "Counts", "WorkCounters", "WorkCounts"]


@dataclass(frozen=True, slots=True)
class Counts:
    """What the frozen records share: arithmetic, field by field, and plain values."""

    def __add__(self, other: Self) -> Self:
        """Both together."""
        values = _fields(type(self))[1]
        return type(self)(*map(add, values(self), values(other)))

    def __sub__(self, other: Self) -> Self:
        """What came after ``other`` was taken."""
        values = _fields(type(self))[1]
        return type(self)(*map(sub, values(self), values(other)))

    def to_dict(self) -> dict[str, int]:
        """Every count by name."""
        names, values = _fields(type(self))
        return dict(zip(names, values(self), strict=True))

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """The record that :meth:`to_dict` described; a count it does not name is zero, names unknown here are passed over."""
        given = data if isinstance(data, Mapping) else {}
        return cls(**{f.name: n for f in fields(cls) if isinstance(n := given.get(f.name), int)})


_Fields: TypeAlias = tuple[tuple[str, ...], Callable[[Counts], tuple[int, ...]]]
_known: dict[type[Counts], _Fields] = {}


def _fields(kind: type[Counts]) -> _Fields:
    """The names of a record's counts, and what takes them all at once: ``asdict`` and ``fields`` are ten times slower."""
    found = _known.get(kind)
    if found is None:
        names = tuple(field.name for field in fields(kind))
        found = _known[kind] = names, attrgetter(*names)
    return found


@dataclass(frozen=True, slots=True)
class BlockCounts(Counts):
    """Reading of data blocks by lookups, or by scans (which ask no filter)."""

    block_reads: int = 0
    """Data blocks read from the file (cache misses, and reads without a cache); each is one device read, but for the joined."""
    joined_reads: int = 0
    """Of the blocks read: those that came with the read of the block before them."""
    block_bytes: int = 0
    """Bytes those reads transferred."""
    cache_hits: int = 0
    """Data blocks found in the block cache."""
    filter_checks: int = 0
    """Keys asked of a Bloom filter."""
    filter_negatives: int = 0
    """Keys a filter ruled out."""
    filter_false_positives: int = 0
    """Keys a filter let through although the table does not hold them."""
    unfiltered_misses: int = 0
    """Keys looked for in vain in tables without a filter: each cost a block."""
    unfiltered_reads: int = 0
    """Reads of blocks that were looked into before the filter was asked, for keys the filter then ruled out: beside
    ``block_reads``, which reads as if the filter had always come first. And reads of blocks for hash columns."""
    found: int = 0
    """Keys found here, deleted ones included: each lookup that finds its key finds it in one table."""

    @property
    def block_fetches(self) -> int:
        """Logical data-block accesses, the unit of the cost model."""
        return self.block_reads + self.cache_hits

    @property
    def false_positive_rate(self) -> float | None:
        """Of the keys a filter was asked about in vain, the share it let through; None: it never was."""
        vain = self.filter_negatives + self.filter_false_positives
        return self.filter_false_positives / vain if vain else None


@dataclass(frozen=True, slots=True)
class WorkCounts(Counts):
    """Reading and writing of files beside lookups and scans: flush, compaction, opening of tables, log, manifest."""

    tasks: int = 0
    """How often it was done: memtables flushed, merges, tables opened, logs begun, edits recorded."""
    moves: int = 0
    """Tables that changed their level without being read or written."""
    drops: int = 0
    """Tables deleted as they were (a FIFO policy does that)."""
    reads: int = 0
    """Device reads."""
    read_bytes: int = 0
    read_blocks: int = 0
    """Data blocks in those reads."""
    read_entries: int = 0
    """Entries that came in (of a memtable: those it held, shadowed versions included)."""
    writes: int = 0
    """Device writes, where they are counted (log and manifest; tables are written a MiB at a time)."""
    written_bytes: int = 0
    written_entries: int = 0
    """Entries that went out, tombstones included."""
    syncs: int = 0
    """fdatasyncs of files; syncs of the directory are not among them."""


class Counters:
    """Bumped by lookups in the tables of one level that have a filter (or have none: not ``filtered``), or by scans.

    A key asked of a table adds to exactly one of ``found``, ``row_hits``, ``place_reads``, ``filter_negatives``, ``misses`` and
    ``too_new``, so the number of keys asked needs no count of its own. See :class:`BlockCounts` for the rest.
    """

    __slots__ = (
        "block_bytes",
        "block_reads",
        "cache_hits",
        "filter_negatives",
        "filtered",
        "found",
        "joined_reads",
        "misses",
        "place_reads",
        "row_hits",
        "row_looks",
        "too_new",
        "unfiltered_reads",
    )

    block_reads: int
    block_bytes: int
    cache_hits: int
    filter_negatives: int
    found: int
    joined_reads: int
    misses: int
    """Keys looked for in a block of a table that does not hold them."""
    place_reads: int
    """Keys found by one read of their values, which bumps ``block_bytes`` and nothing else: to be added to ``block_reads`` and to
    ``found``."""
    row_hits: int
    """Keys found in memory on the fastest way, which bumps nothing else: to be added to ``cache_hits`` and to ``found``."""
    row_looks: int
    """Rows that single gets looked into on a slower way, counted elsewhere, too: with ``row_hits`` and ``place_reads``, how much
    they ask."""
    too_new: int
    """Keys that the table holds, but only in versions newer than the reader's snapshot."""
    unfiltered_reads: int

    def __init__(self, *, filtered: bool = True) -> None:
        self.filtered = filtered
        self.clear()

    @property
    def asked(self) -> int:
        """Keys asked of the tables."""
        return self.found + self.row_hits + self.place_reads + self.filter_negatives + self.misses + self.too_new

    @property
    def filter_checks(self) -> int:
        """Keys asked of a filter."""
        return self.asked if self.filtered else 0

    @property
    def filter_false_positives(self) -> int:
        """Keys a filter let through although the table does not hold them."""
        return self.misses if self.filtered else 0

    @property
    def block_fetches(self) -> int:
        """Logical data-block accesses, the unit of the cost model."""
        return self.block_reads + self.place_reads + self.cache_hits + self.row_hits

    def clear(self) -> None:
        """Set every count to zero."""
        for name in self.__slots__:
            if name != "filtered":
                setattr(self, name, 0)

    def as_dict(self) -> dict[str, int]:
        """Every count by name."""
        return self.counts().to_dict()

    def counts(self) -> BlockCounts:
        """What it says now."""
        return BlockCounts(
            block_reads=self.block_reads + self.place_reads,
            block_bytes=self.block_bytes,
            joined_reads=self.joined_reads,
            cache_hits=self.cache_hits + self.row_hits,
            filter_checks=self.filter_checks,
            filter_negatives=self.filter_negatives,
            filter_false_positives=self.filter_false_positives,
            unfiltered_misses=0 if self.filtered else self.misses,
            unfiltered_reads=self.unfiltered_reads,
            found=self.found + self.row_hits + self.place_reads,
        )


class WorkCounters:
    """Bumped by one cause of file work; see :class:`WorkCounts` for what each count means."""

    __slots__ = (
        "drops",
        "moves",
        "read_blocks",
        "read_bytes",
        "read_entries",
        "reads",
        "syncs",
        "tasks",
        "writes",
        "written_bytes",
        "written_entries",
    )

    tasks: int
    moves: int
    drops: int
    reads: int
    read_bytes: int
    read_blocks: int
    read_entries: int
    writes: int
    written_bytes: int
    written_entries: int
    syncs: int

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def wrote(self, written_bytes: int, entries: int = 0, syncs: int = 1) -> None:
        """One file of so many bytes and entries was written and synced."""
        self.written_bytes += written_bytes
        self.written_entries += entries
        self.syncs += syncs

    def add(self, counts: WorkCounts) -> None:
        """Add what was counted elsewhere."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(counts, name))

    def counts(self) -> WorkCounts:
        """What it says now."""
        return WorkCounts(**{name: getattr(self, name) for name in self.__slots__})


class CallCounters:
    """Bumped once per call, where what the tables count does not tell it."""

    __slots__ = ("absent", "entries", "entry_bytes", "scans")

    def __init__(self) -> None:
        self.absent = 0
        """Keys looked up, one by one or in batches, that neither a memtable nor a table holds in any version."""
        self.entries = 0
        """Puts and deletes committed."""
        self.entry_bytes = 0
        """Bytes of their keys and values."""
        self.scans = 0
        """Scans begun."""
