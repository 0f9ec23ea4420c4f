"""Full memtables that stay in memory as what they were when their tables are at level 0 already.

A lookup asks every run of level 0, and a dict answers in a tenth of the time of a filter. So in a store that single gets ask a
memtable that was flushed stays, as the dict that it is, until its table is merged or moved: nothing of the table is cold. Several
answer as one dict, so that level 0 costs one look however many runs it has. It takes what a memtable takes, within :data:`SHARE`
of ``Options.hash_column_bytes``; the newest stay if that is too little for all.

Counts read as if filters and blocks had been asked. What the filters would have said of a key that is not there is found out for
every :data:`EVERY`-th one, of one run in turn, which stands for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from lsmkv.base.counters import Counters
from lsmkv.base.hashing import hash_key
from lsmkv.base.keys import Entry
from lsmkv.errors import LsmError
from lsmkv.sstable.reader import TableReader
from lsmkv.version.shape import Run, TableMeta

__all__ = ["EVERY", "MOST_ENTRIES", "SHARE", "KeptMemtables", "Level0"]

SHARE = 1 / 2
"""Of the memory for hash columns that kept memtables may take."""

MOST_ENTRIES = 1 << 17
"""Entries of several memtables that answer as one dict: to make it, with each flush, takes one millisecond, ten for so many."""

MERGED_BYTES = 100
"""What an entry takes in that dict, at most."""

EVERY = 127
"""Of the keys looked for, one in so many is asked of a filter: a prime, so that no pattern of lookups is in step with it."""


class _Kept(NamedTuple):
    """What was written to a table of level 0."""

    table: TableMeta
    newest: Mapping[bytes, Entry]
    """The newest version of every key in it; a tombstone's value is None."""
    charge: int
    counters: Counters
    """Of level 0."""


class Opener(Protocol):
    """Where tables are opened: :class:`~lsmkv.live.tables.TableCache`."""

    def get(self, number: int) -> TableReader:
        """An open table."""
        ...


class Level0:
    """The newest runs of level 0 as one dict. ``counters``: a key found here bumps ``row_hits``; every key lowers ``left``."""

    __slots__ = ("_runs", "_turn", "counters", "left", "newest")

    def __init__(self, runs: Sequence[_Kept]) -> None:
        """``runs``: the newest first, at least one."""
        newest: Mapping[bytes, Entry] = runs[0].newest
        if len(runs) > 1:
            newest = merged = dict(runs[-1].newest)
            for run in reversed(runs[:-1]):
                merged.update(run.newest)
        self.newest = newest
        self.counters = runs[0].counters
        self.left = EVERY
        self._runs = tuple(runs)
        self._turn = 0

    def sample(self, tables: Opener, key: bytes) -> None:
        """Once ``left`` is 0: count, for all keys since the last time, what one run and its filter would have said of this one.

        Nobody needs the table for the answer, so that no failure of its file is told. I/O: opens the table, the first time.
        """
        self.left = EVERY
        self._turn = turn = (self._turn + 1) % len(self._runs)
        table, counters, weight = self._runs[turn].table, self._runs[turn].counters, EVERY * len(self._runs)
        if not table.smallest <= key <= table.largest or any(key in run.newest for run in self._runs[: turn + 1]):
            return  # it would not have been asked, or would have answered
        with suppress(LsmError):
            bloom = tables.get(table.number).bloom
            if bloom is not None and not bloom.may_contain(*hash_key(key)):
                counters.filter_negatives += weight
            else:
                counters.misses += weight
                counters.cache_hits += weight


class Budget(Protocol):
    """What memory is taken from: a :class:`~lsmkv.live.directory.Directory`."""

    budget_bytes: int

    @property
    def room(self) -> int:
        """Bytes that are left; below 0 if the budget was lowered."""
        ...

    def lend(self, charge: int) -> bool:
        """Set so many bytes aside, if they are left (below 0: give them back)."""
        ...


class KeptMemtables:
    """Those of one store: of the newest runs of level 0, without a gap. Whoever changes it holds the install lock."""

    __slots__ = ("_budget", "_kept")

    def __init__(self, budget: Budget) -> None:
        """``budget``: that of hash columns, which is shared."""
        self._budget = budget
        self._kept: dict[int, _Kept] = {}  # by the numbers of their tables, the oldest first

    def keep(self, table: TableMeta, newest: Mapping[bytes, Entry], charge: int, counters: Counters) -> None:
        """Keep what was written to the newest ``table``; older ones go if there is no room for them beside its ``charge``."""
        charge += MERGED_BYTES * len(newest)
        most = SHARE * self._budget.budget_bytes
        while self._kept and (self.charge + charge > most or self._entries + len(newest) > MOST_ENTRIES):
            self.drop(next(iter(self._kept)))
        if charge <= most and self._budget.lend(charge):
            self._kept[table.number] = _Kept(table, newest, charge, counters)
        else:
            self.clear()

    @property
    def charge(self) -> int:
        """Bytes that they take."""
        return sum(kept.charge for kept in self._kept.values())

    @property
    def _entries(self) -> int:
        """Entries in all of them."""
        return sum(len(kept.newest) for kept in self._kept.values())

    def level0(self, runs: Sequence[Run]) -> tuple[Level0 | None, int]:
        """What answers for the newest of these runs of level 0, the newest first, and for how many."""
        found: list[_Kept] = []
        for run in runs:
            kept = self._kept.get(run.tables[0].number)
            if kept is None or len(run.tables) > 1:
                break
            found.append(kept)
        return (Level0(found), len(found)) if found else (None, 0)

    def drop(self, number: int) -> None:
        """A table moves, or is about to go: views made from now on look into it."""
        kept = self._kept.pop(number, None)
        if kept is not None:
            self._budget.lend(-kept.charge)

    def bound(self) -> bool:
        """The budget has changed: let go of all if they take more than their share now; whether it came to that."""
        too_much = bool(self._kept) and (self._budget.room < 0 or self.charge > SHARE * self._budget.budget_bytes)
        if too_much:
            self.clear()
        return too_much

    def clear(self) -> None:
        """Let go of all."""
        for number in list(self._kept):
            self.drop(number)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._kept)
