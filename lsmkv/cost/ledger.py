"""What operations did cost: the measured side of :class:`~lsmkv.cost.records.Cost`, with the same field names.

::

    with cost.window(db) as w:
        for key in keys:
            db.get(key)
    w.delta.zero_lookup_blocks, w.delta.levels[2].false_positive_rate, w.delta.bytes_read["get"]

A measured number is None where nothing of its kind happened. Everything follows from two accounts of the ledger
(:mod:`lsmkv.base.ledger`) and the shape of the tree at the end.

Lookups of present and of absent keys are told apart in one of two ways. If all of them were of one kind, the blocks fetched
divided by their number are exact. If they were mixed, an absent key is charged what filters let through: over the levels, runs
times the measured false-positive rate of the level (1 for a run without a filter); what is left was fetched for present ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Protocol, Self

from lsmkv.base.ledger import Account, LevelAccount
from lsmkv.cost.checks import able
from lsmkv.cost.seen import filtered_share, predicted_rate
from lsmkv.errors import InvalidArgumentError, LsmError
from lsmkv.version.shape import Level, TreeShape

__all__ = ["Measured", "MeasuredLevel", "Window", "measure", "measured", "window"]

OPEN_STORE = "an open store, as lsmkv.open() returns it"


@dataclass(frozen=True, slots=True)
class MeasuredLevel:
    """The share of one level."""

    level: int
    runs: int
    entries: int
    filter_bits_per_key: float
    """Over all entries of the level; 0.0: no filters."""
    false_positive_rate: float | None
    """Of the filters asked in vain here, the share that passed (tables without a filter: not counted)."""
    predicted_false_positive_rate: float | None
    """The same by the bits, entries and whole probes of the filters that are there now; None: there are none."""
    false_positives: int
    zero_lookup_blocks: float | None
    """Blocks that a lookup of an absent key fetches here."""
    answers: float | None
    """Share of the lookups of present keys, memtables apart, that found their key here."""
    scan_blocks: float | None
    copies: float | None
    """Copies written into this level per entry written to the store; level 0: the flush."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What operations cost over a stretch of time; see :class:`lsmkv.cost.Cost` for the fields both have."""

    zero_lookup_blocks: float | None
    lookup_blocks: float | None
    zero_lookup_filter_checks: float | None
    """Only where all lookups were of absent keys."""
    lookup_filter_checks: float | None
    """Only where all lookups were of present keys."""
    scan_blocks: float | None
    update_copies: float | None
    write_amplification: float | None
    read_amplification: float | None
    """Device reads of blocks per lookup that no memtable answered: what the block cache leaves of the fetches."""
    space_amplification: float | None
    """Table bytes over live bytes; None unless live entries were counted (:func:`measured` with ``scan``)."""
    levels: tuple[MeasuredLevel, ...]
    account: Account
    """Every count behind the numbers."""

    @property
    def bytes_read(self) -> dict[str, int]:
        """Bytes that came from files, by cause."""
        return self.account.bytes_read

    @property
    def bytes_written(self) -> dict[str, int]:
        """Bytes that went to files, by cause."""
        return self.account.bytes_written

    def to_dict(self) -> dict[str, object]:
        """JSON-ready; the account in its short form."""
        told = {name: getattr(self, name) for name in self.__slots__ if name not in ("levels", "account")}
        told |= {"bytes_read": self.bytes_read, "bytes_written": self.bytes_written}
        return {**told, "levels": [asdict(level) for level in self.levels], "account": self.account.to_dict()}


class _Told(Protocol):
    """What is needed of the record that a store's ``stats()`` returns."""

    @property
    def ledger(self) -> Account:
        """Counts since opening."""
        ...

    @property
    def totals(self) -> Account:
        """Counts since the store was created."""
        ...

    @property
    def since_switch(self) -> Account:
        """Counts since its policy was changed last."""
        ...


class Store(Protocol):
    """What is needed of an open store (:class:`lsmkv.DB` is one)."""

    def stats(self) -> _Told:
        """What the store counted."""
        ...

    def tree(self) -> TreeShape:
        """Its shape."""
        ...

    def scan(self) -> Iterable[tuple[bytes, bytes]]:
        """All live pairs."""
        ...


class Window:
    """A stretch of time at a store: from ``with cost.window(db) as w`` to the end of the block. Made by :func:`window`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._begin = store.stats().ledger
        self._delta: Measured | None = None

    @property
    def delta(self) -> Measured:
        """What happened: up to now while inside the block, up to its end afterwards. I/O: none."""
        if self._delta is not None:
            return self._delta
        return measure(self._store.stats().ledger - self._begin, self._store.tree())

    def __enter__(self) -> Self:
        """Take the first account; return self."""
        self._begin, self._delta = self._store.stats().ledger, None
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        """Take the second account; ClosedError if the store was closed inside a block that did not fail otherwise."""
        if failed is None:
            self._delta = self.delta
        else:
            with suppress(LsmError):
                self._delta = self.delta


def window(store: Store) -> Window:
    """Measure what happens at a store inside ``with``; other threads' work is in it. I/O: none.

    Used again, it measures again. Raises InvalidArgumentError for what is no store.
    """
    return Window(able("store", store, OPEN_STORE, "stats", "tree"))


def measured(store: Store, *, scan: bool = False) -> Measured:
    """What operations cost since the store was created, as far as its ledger remembers.

    ``scan`` counts the live entries for ``space_amplification`` (flush first: entries in memory are live, not in tables).
    Raises InvalidArgumentError for what is no store, and for a follower.

    I/O: none; with ``scan`` a scan of the whole store, which the ledger counts like any other.
    """
    able("store", store, OPEN_STORE, "stats", "tree", "scan")
    live = sum(len(key) + len(value) for key, value in store.scan()) if scan else None
    stats = store.stats()
    if not hasattr(stats, "totals"):
        raise InvalidArgumentError("store must be open for writing: a follower counts only what it reads itself (cost.window)")
    return measure(stats.totals, store.tree(), live)


def measure(account: Account, shape: TreeShape, live_bytes: int | None = None) -> Measured:
    """What an account says about a tree that ended as ``shape``."""
    gets = account.gets
    present, absent = gets.found, account.absent
    count = max(len(shape.levels), len(account.levels))
    levels = tuple(
        _level(n, shape.levels[n] if n < len(shape.levels) else Level(), account.level(n), account) for n in range(count)
    )
    zero, found = _lookup_blocks(gets.block_fetches, present, absent, levels)
    written = account.flush + account.merges
    return Measured(
        zero_lookup_blocks=zero,
        lookup_blocks=found,
        zero_lookup_filter_checks=_ratio(gets.filter_checks, absent) if not present else None,
        lookup_filter_checks=_ratio(gets.filter_checks, present) if not absent else None,
        scan_blocks=_ratio(account.range_reads.block_fetches, account.scans),
        update_copies=_ratio(written.written_entries, account.entries),
        write_amplification=_ratio(written.written_bytes, account.entry_bytes),
        read_amplification=_ratio(gets.block_reads + gets.unfiltered_reads, account.lookups),
        space_amplification=_ratio(shape.bytes, live_bytes) if live_bytes is not None else None,
        levels=levels,
        account=account,
    )


def _lookup_blocks(
    fetches: int, present: int, absent: int, levels: tuple[MeasuredLevel, ...]
) -> tuple[float | None, float | None]:
    """Blocks per lookup of an absent and of a present key."""
    if not (present and absent):
        return _ratio(fetches, absent), _ratio(fetches, present)
    zero = sum(level.zero_lookup_blocks or 0.0 for level in levels)
    return zero, max(0.0, fetches - absent * zero) / present


def _level(number: int, level: Level, counted: LevelAccount, account: Account) -> MeasuredLevel:
    """One level."""
    gets, entries = counted.gets, level.entries
    copies = counted.merges.written_entries + (account.flush.written_entries if number == 0 else 0)
    bits = sum(t.filter_bits for run in level.runs for t in run.tables)
    rate = gets.false_positive_rate
    filtered = sum(filtered_share(run) for run in level.runs)
    bare = len(level.runs) - filtered
    return MeasuredLevel(
        level=number,
        runs=len(level.runs),
        entries=entries,
        filter_bits_per_key=bits / entries if entries else 0.0,
        false_positive_rate=rate,
        predicted_false_positive_rate=predicted_rate(level),
        false_positives=gets.filter_false_positives,
        zero_lookup_blocks=bare if not filtered else None if rate is None else bare + filtered * rate,
        answers=_ratio(gets.found, account.gets.found),
        scan_blocks=_ratio(counted.scans.block_fetches, account.scans),
        copies=_ratio(copies, account.entries),
    )


def _ratio(part: float, whole: float) -> float | None:
    """A part of a whole that may be nothing."""
    return part / whole if whole else None
