"""What a reader sees: one immutable triple, swapped as a whole.

A reader loads ``box.current`` once and answers from it. Every write that was visible when it loaded stays visible in it:
memtables only gain entries, and a flush or compaction publishes a new triple instead of changing this one.
"""

from __future__ import annotations

import weakref
from typing import NamedTuple

from lsmkv.env.sync import Lock
from lsmkv.live.kept import KeptMemtables, Level0
from lsmkv.memtable import Memtable
from lsmkv.sstable.reader import TableReader
from lsmkv.version.rangedeletes import RangeDelete, RangeDeletes
from lsmkv.version.shape import Run, TableMeta, TreeShape

__all__ = ["Immutable", "ReadState", "RunView", "StateBox", "View"]


class Immutable(NamedTuple):
    """A full memtable and the log that holds its entries."""

    mem: Memtable
    wal_number: int
    deleted_s: float = 0.0
    """When the first deletion in it was written (wall time of the store's clock); 0.0: there is none, or nobody asked."""
    ranges: tuple[RangeDelete, ...] = ()
    """The range deletes in its log: older than its entries, newer than all in memtables before it."""


class RunView:
    """One run as lookups use it: parallel lists in key order, so that one bisect finds the table that may hold a key.

    They are built once and never change, but for ``readers``: what a lookup was given for a table serves the next one.
    """

    __slots__ = ("firsts", "lasts", "numbers", "readers", "tables")

    def __init__(self, run: Run) -> None:
        self.tables: tuple[TableMeta, ...] = run.tables
        self.firsts: list[bytes] = [t.smallest for t in run.tables]
        self.lasts: list[bytes] = [t.largest for t in run.tables]
        self.numbers: list[int] = [t.number for t in run.tables]
        self.readers: list[TableReader | None] = [None] * len(run.tables)


class View:
    """The tables of one moment: the tree's shape, and its runs newest first, ready for lookups."""

    __slots__ = ("__weakref__", "below", "level0", "numbers", "runs", "shape")

    def __init__(self, shape: TreeShape, kept: KeptMemtables | None = None) -> None:
        self.shape = shape
        self.runs: tuple[RunView, ...] = tuple(RunView(run) for level in shape.levels for run in level.runs)
        self.level0: Level0 | None = None
        """The memtables that the newest runs are made of, as far as these are still in memory."""
        self.below = self.runs
        """The runs beneath ``level0``."""
        if kept is not None and shape.levels:
            self.level0, count = kept.level0(shape.levels[0].runs)
            self.below = self.runs[count:]
        self.numbers: frozenset[int] = frozenset(t.number for t in shape.tables)


class ReadState(NamedTuple):
    """Active memtable, full memtables newest first, the tables below them, and the number of the active log."""

    mem: Memtable
    imms: tuple[Immutable, ...]
    view: View
    wal_number: int
    ranges: RangeDeletes | None = None
    """All range deletes, those of logs included; None: there are none. They are older than any entry in ``mem``."""
    mem_ranges: tuple[RangeDelete, ...] = ()
    """Those of the active log."""

    def ranged(self) -> ReadState:
        """The same with ``ranges`` made anew from the tree and the memtables."""
        in_logs = [one for imm in reversed(self.imms) for one in imm.ranges]
        ranges = self.view.shape.ranges.added([*in_logs, *self.mem_ranges])
        return self._replace(ranges=ranges or None)


class StateBox:
    """Holds the current state; ``current`` is None once the store is closed.

    Reading ``current`` needs no lock. Writers of it hold ``lock`` from load to store.
    """

    __slots__ = ("_views", "current", "lock")

    def __init__(self, state: ReadState) -> None:
        self.lock = Lock()
        self.current: ReadState | None = state
        self._views: weakref.WeakSet[View] = weakref.WeakSet([state.view])

    def swap(self, state: ReadState | None) -> None:
        """Publish (with ``lock`` held)."""
        if state is not None:
            self._views.add(state.view)
        self.current = state

    def numbers_in_use(self) -> set[int]:
        """Tables that some reader, iterator or the current state can still reach."""
        with self.lock:
            return set().union(*(view.numbers for view in self._views))
