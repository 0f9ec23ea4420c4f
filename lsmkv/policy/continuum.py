"""One implementation for all of leveled, tiered, lazy leveling and what lies between: arrivals and where they go.

The rules, for the numbers of :mod:`lsmkv.policy.geometry`:

- When level 0 has one run too many, all of it is an *arrival* at level 1.
- An arrival that fits merges with the youngest run of the level, unless that one is full and another may begin.
- One that does not fit goes, with everything resident, in one task to the next level, as an arrival there.
- The last level always takes an arrival: if it does not fit, all runs merge with it, since versions may collapse. A last
  level that is one run and still over capacity moves down as it is, which writes nothing.

It is not the number of runs that triggers a merge. At T = 10 and K = 3 a level has three runs of three arrivals each, and
the tenth arrival takes all nine along. Merging "when there are K runs" would give ratio 4 instead of 10.

*Partial* (one run here and one below): an arrival merges with the tables it overlaps only, and a level over its capacity
passes on one table after the other until it is not.

*Trees left by another policy.* Surplus runs are legal for readers and only this module minds them. An arrival that meets
them merges the youngest ones, as many as it takes. Besides that, a shape that is not ``patient`` has them merged where they
are (the neighbours that are cheapest to merge), and before that levels holding a whole arrival too much are brought down,
the deepest first: their oldest run moves, if the next level takes it as a run of its own, else all is an arrival there.
Bytes merged for that are debt.

Every task moves entries down, or leaves them where they are with fewer runs; a level deep enough holds everything. So any
tree comes to rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from lsmkv.policy.base import RunInput, Task
from lsmkv.policy.geometry import Geometry
from lsmkv.policy.picks import RULES
from lsmkv.policy.ranges import deepest_level, overlapping, whole
from lsmkv.version.shape import Run, TreeShape

__all__ = ["Continuum"]

OVERFULL = 2
"""Half arrivals above capacity from which a level is out of line: no arrival leaves that much behind."""

OVERFULL_PARTIAL = 4
"""The same where tables are passed on one by one: an arrival comes first, the room for it after."""


class Continuum(ABC):
    """A policy that is a point of the continuum: a subclass says which."""

    __slots__ = ()

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """The point."""

    def pick(self, shape: TreeShape) -> Task | None:
        """The next task, free relief first, then room, then arrivals, then debt; None when the tree is settled. Pure."""
        at = _Tree(self.geometry, shape)
        task = at.deepen() or at.pass_table() or at.arrival()
        return task or (None if shape.patient else at.bring_in_line())

    def runs_at(self, level: int, last: int) -> int:
        """How many runs ``level`` >= 1 may have when settled, in a tree whose deepest level is ``last``."""
        return self.geometry.runs_at(level, last)

    def capacity_entries(self, level: int, buffer_entries: int) -> int:
        """Entries that ``level`` >= 1 holds: (T-1) * T^(level-1) buffers."""
        return self.geometry.capacity_entries(level, buffer_entries)


class _Tree:
    """A shape seen with a geometry."""

    __slots__ = ("buffer", "geometry", "last", "shape")

    def __init__(self, geometry: Geometry, shape: TreeShape) -> None:
        self.geometry = geometry
        self.shape = shape
        self.last = deepest_level(shape)
        self.buffer = shape.buffer_entries

    def runs(self, level: int) -> tuple[Run, ...]:
        """The runs of a level, newest first; none for one that does not exist."""
        return self.shape.levels[level].runs if level < len(self.shape.levels) else ()

    def entries(self, level: int) -> int:
        """Entries of a level."""
        return sum(run.entries for run in self.runs(level))

    def surplus(self, level: int) -> int:
        """Runs of a level beyond those it may have."""
        return len(self.runs(level)) - self.geometry.runs_at(level, self.last)

    def overfull(self, level: int) -> bool:
        """Whether a level holds more than any arrival left behind."""
        halves = OVERFULL_PARTIAL if self.geometry.passes_tables(level, self.last) else OVERFULL
        return bool(self.buffer) and not self.geometry.fits(self.entries(level), level, self.buffer, halves)

    def deepen(self) -> Task | None:
        """A last level that is over capacity although it is one run moves down as it is."""
        runs = self.runs(self.last)
        if len(runs) != 1 or not self.buffer or self.geometry.fits(runs[0].entries, self.last, self.buffer):
            return None
        reason = f"level {self.last} is the last and holds {runs[0].entries:,} entries, more than its capacity: it moves down"
        return Task((whole(self.last, runs[0]),), self.last + 1, None, reason)

    def pass_table(self) -> Task | None:
        """A level over capacity passes on one table, chosen by rule, to the tables it overlaps below."""
        rule = self.geometry.partial
        for level in range(1, self.last) if rule is not None and self.buffer else ():
            runs, below = self.runs(level), self.runs(level + 1)
            if len(runs) != 1 or len(below) > 1 or not self.geometry.passes_tables(level, self.last):
                continue
            if self.geometry.fits(runs[0].entries, level, self.buffer) or self.overfull(level):
                continue
            table = RULES[str(rule)](runs[0], below[0] if below else None)
            inputs = [RunInput(level, runs[0].id, (table.number,))]
            met = overlapping(below[0], table.smallest, table.largest) if below else ()
            if met:
                inputs.append(RunInput(level + 1, below[0].id, tuple(t.number for t in met)))
            reason = f"level {level} is over capacity: table {table.number} goes to level {level + 1} ({rule})"
            return Task(tuple(inputs), level + 1, below[0].id if below else None, reason)
        return None

    def arrival(self) -> Task | None:
        """All of level 0 goes to the first level that has room, together with the levels that have none."""
        runs, limit = self.runs(0), self.shape.level0_runs
        if len(runs) <= limit:
            return None
        reason = f"level 0 has {len(runs)} runs, more than {limit}"
        return self.pour(0, self.buffer or self.entries(0), reason)

    def bring_in_line(self) -> Task | None:
        """What another policy or ratio left: the deepest level with too many entries, else the first with too many runs.

        Deepest first, because a level that was brought down has room for the runs above it, which then move for nothing.
        """
        for level in range(self.last, 0, -1):
            if self.overfull(level):
                return self.lower(level)
        return next(filter(None, map(self.merge_surplus, range(1, self.last + 1))), None)

    def lower(self, level: int) -> Task:
        """Bring down what a level holds too much: the oldest run if the next level takes one more, else everything."""
        reason = f"level {level} holds {self.entries(level):,} entries, far above its capacity"
        oldest, below = self.runs(level)[-1], level + 1
        room = self.geometry.fits(oldest.entries + self.entries(below), below, self.buffer)
        if level == self.last or (room and self.surplus(below) < 0):
            return Task((whole(level, oldest),), below, None, f"{reason}: its oldest run moves to level {below}")
        return self.pour(level, self.buffer, reason, owed=True)

    def merge_surplus(self, level: int) -> Task | None:
        """Merge the neighbouring runs that are cheapest to merge, as many as there are too many and one."""
        runs, width = self.runs(level), self.surplus(level) + 1
        if width <= 1:
            return None
        costs = [sum(run.bytes for run in runs[i : i + width]) for i in range(len(runs) - width + 1)]
        first = costs.index(min(costs))
        chosen = runs[first : first + width]
        reason = f"level {level} has {len(runs)} runs, {width - 1} too many"
        return Task(tuple(whole(level, run) for run in chosen), level, chosen[0].id, reason, debt=costs[first])

    def pour(self, first: int, buffer: int, reason: str, *, owed: bool = False) -> Task:
        """Everything of level ``first`` is an arrival at the next; ``owed``: what is merged for it is all debt."""
        taken = [(first, run, run.tables) for run in self.runs(first)]
        entries, level = self.entries(first), first + 1
        while level < self.last:
            halves = OVERFULL_PARTIAL if self.passes_on(level) else 1
            if self.geometry.fits(entries + self.entries(level), level, buffer, halves):
                break
            entries += self.entries(level)
            taken += [(level, run, run.tables) for run in self.runs(level)]
            level += 1
        joined, output_run = self.joined(level, entries, buffer), None
        debt = sum(run.bytes for run in joined) if self.surplus(level) > 0 else 0
        if self.geometry.partial is not None and len(self.runs(level)) == 1 and joined:
            output_run = joined[0].id
            arriving = [table for *_, tables in taken for table in tables]
            met = overlapping(joined[0], min(t.smallest for t in arriving), max(t.largest for t in arriving))
            taken += [(level, joined[0], met)] if met else []
        else:
            taken += [(level, run, run.tables) for run in joined]
        if owed and len(taken) > 1:
            debt = sum(t.bytes for *_, tables in taken for t in tables)
        inputs = tuple(RunInput(number, run.id, tuple(t.number for t in tables)) for number, run, tables in taken)
        why = f", level {level - 1} has no room" if level > first + 1 else ""
        return Task(inputs, level, output_run, f"{reason}: merge into level {level}{why}", debt=debt)

    def passes_on(self, level: int) -> bool:
        """Whether a level passes on tables one by one, and is in line, so that it may be over capacity for a while."""
        return self.geometry.passes_tables(level, self.last) and len(self.runs(level)) <= 1

    def joined(self, level: int, entries: int, buffer: int) -> tuple[Run, ...]:
        """The resident runs, youngest first, that an arrival of ``entries`` merges with at ``level``."""
        runs, surplus = self.runs(level), self.surplus(level)
        if level == self.last and not self.geometry.fits(entries + self.entries(level), level, buffer):
            return runs
        if surplus >= 0:
            return runs[: surplus + 1]
        full = bool(runs) and self.geometry.is_full(runs[0].entries, level, self.last, buffer)
        return () if full else runs[:1]
