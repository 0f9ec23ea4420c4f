"""Random batches: the hash columns of all tables, probed together.

Columns lie end to end in the same arrays. A batch hashes its keys once, looks into its bucket of every run in one gather, takes
the newest run whose column knows the hash, and checks its value with the key (:mod:`~lsmkv.sstable.hashcolumn`). What cannot be
settled this way (a table without a column, a tombstone, a check that fails) is left to the way of single keys, so an answer here
is never a guess. Values that the column does not hold are read from the file, past the block cache: to look whether that
holds one takes as long.

A table gets its column when batches have asked it for a third of its entries: by then its making, some blocks with every batch,
costs as much as it would have saved. Columns share a budget; one that does not fit is not made, and
values are held while there is room for all of a table. While one is made or dropped the others are copied, without their values:
for a moment up to twice as much is held.

Counting: lookups by column read as if filters had been asked first, as everywhere. What the filters would have said of keys that
a table does not hold is worked out later, some thousand keys together (:meth:`Directory.settle`).
"""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsmkv.base.columns import I64, U64
from lsmkv.base.counters import Counters
from lsmkv.env.rng import seeded
from lsmkv.env.sync import Lock
from lsmkv.errors import CorruptionError, LsmError
from lsmkv.live.state import View
from lsmkv.sstable.bloom import Bloom
from lsmkv.sstable.hashcolumn import ENTRY_BYTES, GAP, U32, Column, ColumnMaker, Opaque, column_bytes
from lsmkv.sstable.reader import TableReader

__all__ = ["FEWEST", "Directory", "Packed", "Plan"]

FEWEST = 24
"""Fewer keys are looked up faster one by one."""

WORTH = 3
"""A column is made once its table was asked for one of so many of its entries."""

ROWS_A_KEY = 8
"""Rows taken into a column that is being made, for each key of a batch: its batches take twice as long meanwhile."""

SETTLE_KEYS = 4096
"""Keys that may wait for their filter's verdict."""

FIXED_BYTES = ENTRY_BYTES * GAP + 4 * 3
"""What all columns together take beside their own."""

GetReader = Callable[[int], TableReader]


class Region(NamedTuple):
    """Where the column of a table lies in the packed arrays."""

    number: int
    each: int
    bits: int
    starts_at: int
    seals_at: int
    entries: int
    widest: int


class Packed:
    """Columns end to end. Immutable. The last two buckets, empty: for tables that a key misses, and those without a column."""

    __slots__ = (
        "bases",
        "each",
        "index",
        "nbytes",
        "nobody",
        "proofs",
        "regions",
        "seals",
        "shifts",
        "starts",
        "unknown",
        "values",
        "window",
    )

    def __init__(
        self, regions: Sequence[Region], starts: U32, seals: U64, proofs: U64, values: Sequence[Opaque | None] = ()
    ) -> None:
        self.regions = tuple(regions)
        self.index = {region.number: i for i, region in enumerate(regions)}
        self.nobody = len(regions)
        self.unknown = self.nobody + 1
        self.shifts = np.array([64 - region.bits for region in regions] + [63, 63], np.uint64)
        self.bases = np.array([region.starts_at for region in regions] + [len(starts) - 3] * 2, np.int64)
        self.each = np.array([region.each for region in regions], np.int64)
        self.starts, self.seals, self.proofs = starts, seals, proofs
        self.values = tuple(values)
        """Opaque items, as in the columns."""
        self.window = np.arange(max([region.widest for region in regions], default=1), dtype=np.int64)
        held = sum(held.nbytes for held in values if held is not None)
        self.nbytes = starts.nbytes + seals.nbytes + proofs.nbytes + held if regions else 0
        """Bytes of the arrays."""

    def changed(self, without: frozenset[int], added: dict[int, Column]) -> Packed:
        """The same without some tables and with others."""
        parts: list[tuple[int, Column]] = [
            (region.number, self._column(region)) for region in self.regions if region.number not in without
        ]
        parts += added.items()
        regions: list[Region] = []
        starts: list[U32] = []
        seals_at = starts_at = 0
        for number, column in parts:
            n = len(column.seals)
            regions.append(Region(number, column.each, column.bits, starts_at, seals_at, n, column.widest))
            starts.append(column.starts + np.uint32(seals_at))
            starts_at += len(column.starts)
            seals_at += n + GAP  # a window never reaches into the next table's entries
        starts.append(np.full(3, seals_at, np.uint32))
        columns = [column for _, column in parts]
        return Packed(
            regions,
            np.concatenate(starts),
            _joined([column.seals for column in columns], np.zeros(GAP, np.uint64)),
            _joined([column.proofs for column in columns], np.zeros((GAP, 2), np.uint64)),
            [column.values for column in columns],
        )

    def _column(self, region: Region) -> Column:
        """The column that lies there."""
        at, part = region.starts_at, slice(region.seals_at, region.seals_at + region.entries)
        return Column(
            region.each,
            region.bits,
            self.starts[at : at + (1 << region.bits) + 1] - np.uint32(region.seals_at),
            self.seals[part],
            self.proofs[part],
            region.widest,
            self.values[self.index[region.number]],
        )

    def probe(self, hashes: U64, tables: I64) -> tuple[I64, NDArray[np.bool_]]:
        """Where each hash stands in its table's column, and whether it does. ``tables`` (runs, keys or 1): indices of regions."""
        buckets = (hashes >> self.shifts.take(tables)).view(np.int64)
        buckets += self.bases.take(tables)
        at = self.starts.take(buckets).astype(np.int64)
        near = self.seals.take(at[..., None] + self.window)
        at += (near == hashes[:, None]).argmax(axis=-1)
        return at, self.seals.take(at) == hashes


def _joined(parts: Sequence[U64], zeros: U64) -> U64:
    """The arrays with zeros behind each, and as many once more for the empty buckets."""
    return np.concatenate([piece for part in parts for piece in (part, zeros)] + [zeros])


class Plan:
    """The tables of a view by their place in the packed columns."""

    __slots__ = ("least", "missing", "numbers", "packed", "rows", "view", "wanted")

    def __init__(self, view: View, packed: Packed, unfit: Container[int]) -> None:
        self.view = weakref.ref(view)  # the tables of a view are kept as long as it is: not on our account
        self.numbers = view.numbers
        self.packed = packed
        self.rows: list[I64] = []
        """For each run the region of each of its tables, and ``nobody`` for keys outside of all."""
        self.missing: dict[int, tuple[int, int]] = {}
        """Tables without a column: their entries, and the tables of their run."""
        for run in view.runs:
            index = [packed.index.get(number, packed.unknown) for number in run.numbers]
            self.rows.append(np.array([*index, packed.nobody], np.int64))
            for table, i in zip(run.tables, index, strict=True):
                if i == packed.unknown:
                    self.missing[table.number] = table.entries, len(run.tables)
        self.wanted = {number: asked for number, asked in self.missing.items() if number not in unfit}
        """Those of them that may get one."""
        self.least = min([column_bytes(entries) for entries, _ in self.wanted.values()], default=0)
        """Bytes of the smallest column that is wanted."""


class Directory:
    """The columns of one store's tables. Any thread may look; one makes columns at a time."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.lent = 0
        """Bytes of the budget that finders take (:mod:`lsmkv.live.finders`)."""
        self.seed = seeded().getrandbits(64)
        self._packed = Packed([], *_EMPTY)
        self._plan: Plan | None = None
        self._asked: Counter[int] = Counter()
        self._making: tuple[int, ColumnMaker] | None = None
        self._unfit: set[int] = set()
        self._lock = Lock()
        self._books = Lock()  # while somebody looks what is left of the budget and takes it; nothing is called under it
        self._waiting: deque[tuple[Counters, Bloom, U64]] = deque()
        self._waiting_keys = 0

    @property
    def nbytes(self) -> int:
        """Bytes of memory the columns take."""
        return self._packed.nbytes

    @property
    def taken(self) -> int:
        """Bytes of the budget that are taken, by columns and by finders."""
        return self.nbytes + self.lent

    @property
    def room(self) -> int:
        """Bytes of the budget that are left; below 0 if it was lowered."""
        return self.budget_bytes - self.taken

    def lend(self, charge: int) -> bool:
        """Set so many bytes of the budget aside for a finder, if they are left (below 0: give them back)."""
        with self._books:
            if 0 < charge > self.room:
                return False
            self.lent += charge
            return True

    def plan(self, view: View, get: GetReader, keys: int) -> Plan | None:
        """Where a batch of so many keys finds the tables of a view; None: none has a column.

        I/O: blocks of a table whose column is being made.
        """
        plan = self._plan
        packed = self._packed
        if plan is None or plan.packed is not packed or plan.view() is not view:
            plan = self._plan = Plan(view, packed, self._unfit)
            if self._packed is not packed:  # swapped meanwhile: the old ones are kept for this batch only
                self._plan = None
        if plan.wanted:
            self._want(plan, get, keys)
        return plan if len(plan.missing) < len(view.numbers) else None

    # making columns

    def _want(self, plan: Plan, get: GetReader, keys: int) -> None:
        """Note that tables without columns were asked, and go on making one."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._making is not None and self._making[0] not in plan.numbers:
                self._making = None  # it was compacted meanwhile: nobody will ask it much more
            if self._making is None:
                self._choose(plan, get, keys)
            if self._making is not None:
                number, maker = self._making
                if column_bytes(maker.file.properties.meta.entries) > self.room:  # a finder has taken what was left
                    self._give_up(number)
                    return
                counters = get(number).counters
                try:
                    column = maker.advance(ROWS_A_KEY * keys, counters)
                except CorruptionError:  # who needs the damaged block says so
                    self._making = None
                    self._refuse(plan, number)
                    return
                except BaseException:  # the disk may do better when the table was asked as often once more
                    self._give_up(number)
                    raise
                if column is None:
                    return
                self._making = None
                if column.widest > GAP:
                    self._refuse(plan, number)
                else:
                    self._add(frozenset(self._packed.index) - plan.numbers, number, column)
        except LsmError:
            return
        finally:
            self._lock.release()

    def _choose(self, plan: Plan, get: GetReader, keys: int) -> None:
        """Begin a column if some table was asked often enough and there is room."""
        room = self.room - (0 if self.nbytes else FIXED_BYTES)
        if plan.least > room:
            return
        for number, (entries, tables) in plan.wanted.items():
            self._asked[number] += -(-keys // tables)
            if WORTH * self._asked[number] < entries or column_bytes(entries) > room:
                continue
            file = get(number).file
            if ColumnMaker.suits(file):
                self._making = number, ColumnMaker(file, self.seed, room - column_bytes(entries))
            else:
                self._refuse(plan, number)
            return

    def _give_up(self, number: int) -> None:
        """Stop making a column, until its table was asked as often once more."""
        self._making = None
        self._asked.pop(number, None)

    def _add(self, dead: frozenset[int], number: int, column: Column) -> None:
        """Let look at a column that was made; without its values, or not at all, if a finder has taken the room meanwhile."""
        for one in (column, column._replace(values=None)):
            packed = self._packed.changed(dead, {number: one})
            with self._books:
                if packed.nbytes + self.lent <= self.budget_bytes:
                    self._swap(packed)
                    return
        self._asked.pop(number, None)

    def _refuse(self, plan: Plan, number: int) -> None:
        """No column for this table."""
        self._unfit.add(number)
        self._asked.pop(number, None)
        plan.wanted.pop(number, None)

    def _swap(self, packed: Packed) -> None:
        """Other columns from now on; the last plan would keep the old ones."""
        self._packed, self._plan = packed, None

    def drop(self, number: int) -> None:
        """A table is about to be unlinked: its column goes."""
        with self._lock:
            self._unfit.discard(number)
            self._asked.pop(number, None)
            if self._making is not None and self._making[0] == number:
                self._making = None
            if number in self._packed.index:
                self._swap(self._packed.changed(frozenset({number}), {}))

    def bound(self, budget_bytes: int) -> None:
        """Another budget. If the columns take more they all go: those that pay are made again."""
        with self._lock:
            if budget_bytes < self.budget_bytes:
                self._making = None  # it may be too large by now, and with no budget nobody would finish it
            self.budget_bytes = budget_bytes
            if self.nbytes > budget_bytes:
                self._clear()

    def close(self) -> None:
        """Let go of all columns, and of the file of one that is being made. There will be no others."""
        with self._lock:
            self.budget_bytes = 0
            self._making = None
            self._clear()
            self._waiting.clear()

    def forked(self) -> None:
        """In a forked child: as :meth:`close`, whoever held the lock in the parent."""
        self._lock, self._books = Lock(), Lock()
        self.close()

    def _clear(self) -> None:
        """No columns, and no memory of who asked."""
        self._swap(Packed([], *_EMPTY))
        self._asked.clear()

    # counting

    def absent(self, counters: Counters, bloom: Bloom | None, hashes: U64) -> None:
        """Count keys that a table was asked for and does not hold. ``hashes``: (n, 2)."""
        n = len(hashes)
        if bloom is None:
            counters.misses += n
            counters.cache_hits += n
            return
        self._waiting.append((counters, bloom, hashes))
        self._waiting_keys += n
        if self._waiting_keys >= SETTLE_KEYS:
            self.settle()

    def settle(self) -> None:
        """Ask the filters what they would have said; afterwards the counters are exact."""
        self._waiting_keys = 0
        together: dict[int, tuple[Counters, Bloom, list[U64]]] = {}
        while self._waiting:
            try:
                counters, bloom, hashes = self._waiting.popleft()
            except IndexError:  # somebody else settles, too
                break
            together.setdefault(id(bloom), (counters, bloom, []))[2].append(hashes)
        for counters, bloom, parts in together.values():
            passed = int(np.count_nonzero(bloom.check_many(np.concatenate(parts))))
            stopped = sum(map(len, parts)) - passed
            counters.misses += passed
            counters.cache_hits += passed  # a logical fetch each
            counters.filter_negatives += stopped


_EMPTY = (np.zeros(3, np.uint32), np.zeros(2, np.uint64), np.zeros((2, 2), np.uint64))
"""The arrays of no column at all: empty buckets, and what a window may look at."""
