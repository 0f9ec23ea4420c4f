"""Full memtables that stay in memory as what they were when their tables are at level 0 already.

A lookup asks every run of level 0, and a dict answers in a tenth of the time of a filter. So in a store that single gets ask a
memtable that was flushed stays, as the dict that it is, until its table is merged or moved: nothing is made, and nothing of the
table is cold. It takes what a memtable takes, within :data:`SHARE` of ``Options.hash_column_bytes``; if its memtables are large a
store keeps the first few that fit, or none.

Counts read as if filter and block had been asked. What the filter would have said of a key that is not there is found out for
every :data:`EVERY`-th one, which stands for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from lsmkv.base.counters import Counters
from lsmkv.base.hashing import hash_key
from lsmkv.base.keys import Entry
from lsmkv.sstable.reader import TableReader
from lsmkv.version.shape import Run, TableMeta

__all__ = ["EVERY", "SHARE", "Kept", "KeptMemtables"]

SHARE = 1 / 2
"""Of the memory for hash columns that kept memtables may take."""

EVERY = 31
"""Of the keys that are not in a kept memtable, one in so many is asked of the table's filter: a prime, so that no pattern of
lookups is in step with it."""


class Kept:
    """What was written to a table of level 0. ``newest``: the newest version of every key in it; a tombstone's value is None."""

    __slots__ = ("_smallest_and_largest", "charge", "counters", "left", "newest")

    def __init__(self, newest: Mapping[bytes, Entry], charge: int, counters: Counters, bounds: tuple[bytes, bytes]) -> None:
        self.newest = newest
        self.charge = charge
        self.counters = counters
        """Of level 0: a key found here bumps ``row_hits``."""
        self.left = EVERY
        """So many more keys that are not here, and :meth:`sample` is to be called."""
        self._smallest_and_largest = bounds

    def sample(self, reader: TableReader, key: bytes) -> None:
        """Count, for all that were not here since the last time, what table and filter say of one of them."""
        smallest, largest = self._smallest_and_largest
        if not smallest <= key <= largest:
            return
        counters = self.counters
        if reader.bloom is not None and not reader.bloom.may_contain(*hash_key(key)):
            counters.filter_negatives += EVERY
        else:
            counters.misses += EVERY
            counters.cache_hits += EVERY


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
    """Those of one store, by the numbers of their tables. Whoever writes it holds the install lock."""

    __slots__ = ("_budget", "_kept")

    def __init__(self, budget: Budget) -> None:
        """``budget``: that of hash columns, which is shared."""
        self._budget = budget
        self._kept: dict[int, Kept] = {}

    def keep(self, table: TableMeta, newest: Mapping[bytes, Entry], charge: int, counters: Counters) -> None:
        """Keep what was written to ``table``, if there is room for ``charge`` bytes."""
        taken = sum(kept.charge for kept in self._kept.values())
        if taken + charge <= SHARE * self._budget.budget_bytes and self._budget.lend(charge):
            self._kept[table.number] = Kept(newest, charge, counters, (table.smallest, table.largest))

    def of(self, run: Run) -> Kept | None:
        """The one that stands for a run of level 0, if there is one."""
        return self._kept.get(run.tables[0].number) if len(run.tables) == 1 else None

    def drop(self, number: int) -> None:
        """A table moves, or is about to go: views made from now on look into it."""
        kept = self._kept.pop(number, None)
        if kept is not None:
            self._budget.lend(-kept.charge)

    def bound(self) -> bool:
        """The budget has changed: let go of all if they take more than their share now; whether it came to that."""
        taken = sum(kept.charge for kept in self._kept.values())
        too_much = taken > 0 and (self._budget.room < 0 or taken > SHARE * self._budget.budget_bytes)
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
