"""The ledger: every block fetch, device read and byte of a store, by cause and by level.

Causes: *get* and *scan* (blocks of tables, by the level the table is at when it is read), *compaction* (by the level it writes
to), *open* (footer, index and filter of a table, by its level), *flush*, *load* (of sorted data), *log* (WAL) and *manifest*. A
table that moves to another level is counted there from then on.

:class:`Ledger` counts while a store is open; :class:`Account` is what it says at one moment: a frozen record, so that two of
them can be subtracted. A store begins with the totals its manifest recorded. They are recorded whenever the manifest is
rewritten and when the store is closed; what was counted after the last record is lost in a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from lsmkv.base.counters import BlockCounts, CallCounters, Counters, Counts, WorkCounters, WorkCounts
from lsmkv.env.sync import Lock

__all__ = ["Account", "Ledger", "LevelAccount", "LevelLedger", "at_switch"]

AT_SWITCH = "at_switch"
"""Name, in the record, of the totals at the last change of policy. Versions that do not know it lose it."""

NO_BLOCKS, NO_WORK = BlockCounts(), WorkCounts()


class LevelLedger:
    """The counters of one level; readers of its tables keep those of their kind at hand."""

    __slots__ = ("bare_gets", "gets", "merges", "opens", "scans")

    def __init__(self) -> None:
        self.gets = Counters()
        self.bare_gets = Counters(filtered=False)
        """Lookups in tables without a filter."""
        self.scans = Counters()
        self.merges = WorkCounters()
        """Compactions that write to this level."""
        self.opens = WorkCounters()
        """Opening tables of this level: footer, properties, index, filter."""

    @property
    def asked_in_vain(self) -> int:
        """Keys asked of tables of this level that do not hold them: what filters here could save, or did."""
        gets, bare = self.gets, self.bare_gets
        return gets.filter_negatives + gets.misses + bare.misses

    def account(self) -> LevelAccount:
        """What they say now."""
        gets = self.gets.counts() + self.bare_gets.counts()
        return LevelAccount(gets, self.scans.counts(), self.merges.counts(), self.opens.counts())


@dataclass(frozen=True, slots=True)
class LevelAccount:
    """One level: what its tables were read for, and what was merged into it."""

    gets: BlockCounts = NO_BLOCKS
    scans: BlockCounts = NO_BLOCKS
    merges: WorkCounts = NO_WORK
    """Compactions that wrote to this level; their inputs, whatever level they came from, are its reads."""
    opens: WorkCounts = NO_WORK
    """Tables opened: their footers, indexes and filters."""

    def __add__(self, other: LevelAccount) -> LevelAccount:
        """Both together."""
        return LevelAccount(
            self.gets + other.gets, self.scans + other.scans, self.merges + other.merges, self.opens + other.opens
        )

    def __sub__(self, other: LevelAccount) -> LevelAccount:
        """What came after ``other`` was taken."""
        return LevelAccount(
            self.gets - other.gets, self.scans - other.scans, self.merges - other.merges, self.opens - other.opens
        )

    def to_dict(self) -> dict[str, object]:
        """Plain values, zeros left out."""
        parts = {"gets": self.gets, "scans": self.scans, "merges": self.merges, "opens": self.opens}
        return {name: told for name, part in parts.items() if (told := _nonzero(part))}

    @classmethod
    def from_dict(cls, data: object) -> LevelAccount:
        """The record that :meth:`to_dict` described."""
        given = data if isinstance(data, Mapping) else {}
        return cls(
            BlockCounts.from_dict(given.get("gets")),
            BlockCounts.from_dict(given.get("scans")),
            WorkCounts.from_dict(given.get("merges")),
            WorkCounts.from_dict(given.get("opens")),
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What a ledger says at one moment, or (a difference) what happened between two."""

    absent: int = 0
    """Keys looked up, one by one or in batches, that neither a memtable nor a table held in any version."""
    scans: int = 0
    """Scans begun."""
    entries: int = 0
    """Puts and deletes committed."""
    entry_bytes: int = 0
    """Bytes of their keys and values."""
    flush: WorkCounts = NO_WORK
    """Memtables made into tables, those of replayed logs included."""
    wal: WorkCounts = NO_WORK
    """Logs: begun, appended to, synced; read when they were replayed."""
    manifest: WorkCounts = NO_WORK
    load: WorkCounts = NO_WORK
    """Sorted data made into tables by ``load_sorted``."""
    levels: tuple[LevelAccount, ...] = field(default=())
    """Level 0 first; levels without any count may be missing at the end."""

    def __add__(self, other: Account) -> Account:
        """Both together."""
        return Account(
            self.absent + other.absent,
            self.scans + other.scans,
            self.entries + other.entries,
            self.entry_bytes + other.entry_bytes,
            self.flush + other.flush,
            self.wal + other.wal,
            self.manifest + other.manifest,
            self.load + other.load,
            tuple(a + b for a, b in _pairs(self.levels, other.levels)),
        )

    def __sub__(self, other: Account) -> Account:
        """What came after ``other`` was taken."""
        return Account(
            self.absent - other.absent,
            self.scans - other.scans,
            self.entries - other.entries,
            self.entry_bytes - other.entry_bytes,
            self.flush - other.flush,
            self.wal - other.wal,
            self.manifest - other.manifest,
            self.load - other.load,
            tuple(a - b for a, b in _pairs(self.levels, other.levels)),
        )

    def level(self, number: int) -> LevelAccount:
        """One level, also one that has no count yet."""
        return self.levels[number] if number < len(self.levels) else LevelAccount()

    @property
    def lookups(self) -> int:
        """Keys looked up that no memtable answered; a key of a batch counts like a single get."""
        return self.absent + self.gets.found

    @property
    def gets(self) -> BlockCounts:
        """Lookups over all levels."""
        return sum((level.gets for level in self.levels), NO_BLOCKS)

    @property
    def range_reads(self) -> BlockCounts:
        """Scans over all levels."""
        return sum((level.scans for level in self.levels), NO_BLOCKS)

    @property
    def merges(self) -> WorkCounts:
        """Compactions over all levels."""
        return sum((level.merges for level in self.levels), NO_WORK)

    @property
    def opens(self) -> WorkCounts:
        """Openings of tables over all levels."""
        return sum((level.opens for level in self.levels), NO_WORK)

    @property
    def bytes_read(self) -> dict[str, int]:
        """Bytes that came from files, by cause."""
        return {
            "get": self.gets.block_bytes,
            "scan": self.range_reads.block_bytes,
            "compaction": self.merges.read_bytes,
            "open": self.opens.read_bytes,
            "wal": self.wal.read_bytes,
            "manifest": self.manifest.read_bytes,
        }

    @property
    def bytes_written(self) -> dict[str, int]:
        """Bytes that went to files, by cause."""
        parts = {"flush": self.flush, "compaction": self.merges, "load": self.load, "wal": self.wal, "manifest": self.manifest}
        return {cause: part.written_bytes for cause, part in parts.items()}

    def to_dict(self) -> dict[str, object]:
        """Plain values, zeros left out, ready for JSON."""
        parts = {"flush": self.flush, "wal": self.wal, "manifest": self.manifest, "load": self.load}
        told: dict[str, object] = {"absent": self.absent, "scans": self.scans}
        told |= {"entries": self.entries, "entry_bytes": self.entry_bytes}
        told |= {name: counts for name, part in parts.items() if (counts := _nonzero(part))}
        return told | {"levels": [level.to_dict() for level in self.levels]}

    @classmethod
    def from_dict(cls, data: object) -> Account:
        """The record that :meth:`to_dict` described; what it does not name is zero."""
        given = data if isinstance(data, Mapping) else {}
        levels = given.get("levels")
        return cls(
            _whole(given.get("absent")),
            _whole(given.get("scans")),
            _whole(given.get("entries")),
            _whole(given.get("entry_bytes")),
            WorkCounts.from_dict(given.get("flush")),
            WorkCounts.from_dict(given.get("wal")),
            WorkCounts.from_dict(given.get("manifest")),
            WorkCounts.from_dict(given.get("load")),
            tuple(map(LevelAccount.from_dict, levels)) if isinstance(levels, Sequence) else (),
        )


def _pairs(a: tuple[LevelAccount, ...], b: tuple[LevelAccount, ...]) -> zip_longest[tuple[LevelAccount, LevelAccount]]:
    """Level by level, the shorter one continued with zeros."""
    return zip_longest(a, b, fillvalue=LevelAccount())


def at_switch(recorded: object) -> Account:
    """The totals at the last change of policy, from what a manifest keeps; nothing if there was none."""
    return Account.from_dict(recorded.get(AT_SWITCH) if isinstance(recorded, Mapping) else None)


def _nothing() -> None:
    """Nobody counts late."""


def _nonzero(counts: Counts) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: n for name, n in counts.to_dict().items() if n}


def _whole(number: object) -> int:
    """A count from a record."""
    return number if isinstance(number, int) else 0


class Ledger:
    """The counters of an open store. Levels come into being as they are asked for.

    ``recorded`` is what the manifest had on record when the store was opened, ``manifest`` what the manifest itself counts.
    """

    __slots__ = ("_levels", "_lock", "at_switch", "calls", "flush", "load", "manifest", "recorded", "settle", "wal")

    def __init__(self, recorded: object = None, manifest: WorkCounters | None = None) -> None:
        self.recorded = Account.from_dict(recorded)
        self.at_switch = at_switch(recorded)
        self.calls = CallCounters()
        self.flush = WorkCounters()
        self.load = WorkCounters()
        self.wal = WorkCounters()
        self.manifest = manifest if manifest is not None else WorkCounters()
        self._levels: tuple[LevelLedger, ...] = ()
        self._lock = Lock()
        self.settle: Callable[[], None] = _nothing
        """Called before the counts are read: who counts late counts now."""

    def level(self, number: int) -> LevelLedger:
        """The counters of one level."""
        levels = self._levels
        if number >= len(levels):
            with self._lock:
                more = (LevelLedger() for _ in range(len(self._levels), number + 1))
                levels = self._levels = (*self._levels, *more)
        return levels[number]

    @property
    def single_gets(self) -> int:
        """Keys that single gets looked for in what is kept of blocks for them: how much they gain by what is kept."""
        kinds = [counters for level in self._levels for counters in (level.gets, level.bare_gets)]
        return sum(counters.row_hits + counters.place_reads + counters.row_looks for counters in kinds)

    def account(self) -> Account:
        """What was counted since the store was opened."""
        self.settle()
        return Account(
            self.calls.absent,
            self.calls.scans,
            self.calls.entries,
            self.calls.entry_bytes,
            self.flush.counts(),
            self.wal.counts(),
            self.manifest.counts(),
            self.load.counts(),
            tuple(level.account() for level in self._levels),
        )

    def operations(self) -> int:
        """Writes, scans, and lookups that no memtable answered, since opening: a few additions, where an account is many."""
        found = sum(
            kind.found + kind.row_hits + kind.place_reads for level in self._levels for kind in (level.gets, level.bare_gets)
        )
        return self.calls.absent + self.calls.scans + self.calls.entries + found

    def totals(self) -> Account:
        """What was counted since the store was created, as far as it is on record."""
        return self.recorded + self.account()

    def note_switch(self) -> None:
        """The policy changes now."""
        self.at_switch = self.totals()

    def since_switch(self) -> Account:
        """What was counted since the policy was changed last; all there is if it never was."""
        before = self.at_switch  # read first: the policy may be changed meanwhile, and counts only grow
        return self.totals() - before

    def record(self) -> dict[str, object]:
        """The totals as the manifest keeps them, with those at the last change of policy if there was one."""
        told = self.totals().to_dict()
        return told | {AT_SWITCH: self.at_switch.to_dict()} if self.at_switch != Account() else told
