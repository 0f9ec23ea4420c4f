"""FIFO: never merge; forget the oldest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lsmkv.base.keys import MAX_SEQ
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import RunInput, Task
from lsmkv.policy.ranges import Ranges, runs_in_order, whole
from lsmkv.version.shape import Run, TableMeta, TreeShape

__all__ = ["FIFO"]


@dataclass(frozen=True, slots=True)
class FIFO:
    """A cache or a log with a horizon: flushed tables stay as they are until the oldest have to go. This loses data by design.

    ``capacity_bytes``: bytes of tables that may stay; while there are more, the oldest table goes (the newest never).
    ``ttl_s``: seconds after its flush that data may stay, or None: without end. A table goes when its newest data is past
    it, so single entries may stay up to the span of their table longer. Both may change while the store is open.

    - Writes: 1 copy, the flush. Runs beyond level 0's limit change their level, which writes nothing.
    - Lookups: every run that stays may be asked: R = the sum of all runs' false-positive rates. Runs number
      capacity_bytes / bytes of a memtable: a large memtable makes for fast lookups.
    - Scans: one seek per run.
    - Space: obsolete versions stay until their table goes; deleting makes no room before that.

    A tree left by another policy is dropped from its deepest data on, table by table. No value comes back: a table is
    dropped only when nothing older that meets it stays. While a snapshot is open nothing is dropped at all. Neither Monkey
    nor Dostoevsky has an equation for this.

    Raises InvalidArgumentError for a capacity or time that is not positive.
    """

    capacity_bytes: int
    ttl_s: float | None = None

    forgets_oldest: ClassVar[bool] = True
    """Depth is age: nothing new may be placed below what is older."""

    def __post_init__(self) -> None:
        """Refuse what would drop everything."""
        capacity: object = self.capacity_bytes
        if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity <= 0:
            raise InvalidArgumentError(f"FIFO(capacity_bytes={capacity!r}): must be a positive number of bytes")
        ttl: object = self.ttl_s
        if ttl is not None and (not isinstance(ttl, int | float) or isinstance(ttl, bool) or not 0 < ttl < float("inf")):
            raise InvalidArgumentError(f"FIFO(ttl_s={ttl!r}): must be a positive number of seconds, or None")

    def describe(self) -> dict[str, object]:
        """``{"name": "fifo", "capacity_bytes": .., "ttl_s": ..}``."""
        return {"name": "fifo", "capacity_bytes": self.capacity_bytes, "ttl_s": self.ttl_s}

    def pick(self, shape: TreeShape) -> Task | None:
        """Drop what is past its time, then what is beyond the capacity, then make room at level 0. Pure."""
        read_by_snapshot = shape.snapshot_floor < MAX_SEQ
        return (None if read_by_snapshot else self._past(shape) or self._beyond(shape)) or self._move(shape)

    def wakes_s(self, shape: TreeShape) -> float | None:
        """The next time at which something is past its own although nothing was written; None: never."""
        if self.ttl_s is None:
            return None
        due = (t.newest_s + self.ttl_s for t in shape.tables if t.newest_s)
        return min((at for at in due if at > shape.now_s), default=None)

    def _past(self, shape: TreeShape) -> Task | None:
        """Every table whose newest data is past ``ttl_s``, if nothing older that it meets stays."""
        if self.ttl_s is None or not any(self._expired(t, shape) for t in shape.tables):
            return None
        stays, dropped = Ranges(), []
        for level, run in reversed(list(runs_in_order(shape))):
            gone = tuple(t.number for t in run.tables if self._expired(t, shape) and not stays.meets(t))
            for table in run.tables:
                if table.number not in gone:
                    stays.add(table)
            if gone:
                dropped.append(RunInput(level, run.id, gone))
        if not dropped:
            return None
        return Task(tuple(reversed(dropped)), 0, None, f"nothing in them is younger than {self.ttl_s:g} s", drops=True)

    def _expired(self, table: TableMeta, shape: TreeShape) -> bool:
        """Whether all of a table is past its time; False if the time is unknown."""
        return self.ttl_s is not None and 0.0 < table.newest_s <= shape.now_s - self.ttl_s

    def _beyond(self, shape: TreeShape) -> Task | None:
        """The oldest tables, until what stays is within the capacity or one table of the newest run."""
        excess = shape.bytes - self.capacity_bytes
        if excess <= 0:
            return None
        dropped: list[RunInput] = []
        runs = list(runs_in_order(shape))
        for level, run in reversed(runs):
            gone: list[int] = []
            for table in _oldest_first(run)[: -1 if run is runs[0][1] else None]:
                if excess > 0:
                    gone.append(table.number)
                    excess -= table.bytes
            if gone:
                dropped.append(RunInput(level, run.id, tuple(gone)))
            if excess <= 0:
                break
        if not dropped:
            return None
        reason = f"the tables hold {shape.bytes:,} bytes, {self.capacity_bytes:,} may stay"
        return Task(tuple(reversed(dropped)), 0, None, reason, drops=True)

    def _move(self, shape: TreeShape) -> Task | None:
        """The oldest run of a level 0 that has one too many becomes the youngest of level 1."""
        runs = shape.levels[0].runs
        if len(runs) <= shape.level0_runs:
            return None
        return Task((whole(0, runs[-1]),), 1, None, f"level 0 has {len(runs)} runs, more than {shape.level0_runs}")


def _oldest_first(run: Run) -> list[TableMeta]:
    """The tables of a run by the age of their newest data."""
    return sorted(run.tables, key=lambda table: (table.newest_s, table.max_seq, table.number))
