"""A tree of sizes: the engine's rules for arrivals, levels and switches on bare numbers, fast enough for thousands of runs.

Every entry costs the same wherever it lies, so a run is its number of entries and an id. The rules are those of
:mod:`lsmkv.policy.continuum`, held against it by a test; overwritten keys collapse as they do on average
(:meth:`SizeTree.union`). An arrival takes the flushed runs of level 0 together, as in the engine.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from lsmkv.policy.geometry import Geometry

__all__ = ["SizeTree", "Sized"]

OVERFULL = 2
"""Half arrivals above capacity from which a level is brought down (as in the continuum)."""


class Sized(NamedTuple):
    """One run."""

    entries: float
    id: int


class SizeTree:
    """Levels of runs, newest first; ``levels[0]`` is level 0."""

    __slots__ = ("buffer", "changes", "flushed", "geometry", "level0_runs", "levels", "live", "merged", "next_id", "patient")

    def __init__(self, geometry: Geometry, flush: float, level0_runs: int = 1, live: float = inf) -> None:
        self.geometry = geometry
        self.buffer = round(flush * (level0_runs + 1))
        self.level0_runs = level0_runs
        self.live = live
        """Keys that are overwritten at random; infinite: every entry is another key."""
        self.levels: list[list[Sized]] = [[], []]
        self.next_id = 1
        self.merged = 0.0
        """Entries that merges wrote."""
        self.flushed = 0.0
        self.patient = False
        """Whether surplus runs wait for arrivals (a lazy switch)."""
        self.changes = 0
        """Grows with every change: what was computed from the runs holds while it stays."""

    def copy(self) -> SizeTree:
        """Another tree like this one."""
        twin = SizeTree.__new__(SizeTree)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.levels = [list(level) for level in self.levels]
        return twin

    @property
    def last(self) -> int:
        """The deepest level with data, at least 1."""
        return max((i for i, level in enumerate(self.levels) if level), default=1) or 1

    def runs(self) -> list[tuple[int, Sized]]:
        """All runs with their levels, newest first."""
        return [(number, run) for number, level in enumerate(self.levels) for run in level]

    def union(self, sizes: list[float]) -> float:
        """Different keys in runs of these sizes."""
        if self.live == inf:
            return sum(sizes)
        absent = 1.0
        for size in sizes:
            absent *= max(0.0, 1 - size / self.live)
        return self.live * (1 - absent)

    def flush(self, entries: float) -> None:
        """One more run at level 0, and what follows from it."""
        self.levels[0].insert(0, self._run(entries))
        self.flushed += entries
        self.settle()
        self.patient = self.patient and not self.in_line()

    def in_line(self) -> bool:
        """Whether no level has surplus runs or far too many entries: a lazy switch is then done."""
        last = self.last
        levels = range(1, last + 1)
        return all(self._surplus(n, last) <= 0 and self._fits(self._size(n), n, OVERFULL) for n in levels)

    def settle(self) -> None:
        """Run tasks until the tree is in line with its geometry."""
        self.changes += 1
        while self._deepen() or self._arrival() or (not self.patient and self._bring_in_line()):
            pass

    def switch(self, geometry: Geometry, *, patient: bool) -> None:
        """Another policy from now on; patient: surplus waits for arrivals."""
        self.geometry, self.patient = geometry, patient
        self.settle()

    def merge(self, first: int, last: int) -> None:
        """Merge the runs from the ``first`` to the ``last`` in age order (0 is the newest) into one, at the deepest's level."""
        placed = self.runs()[first : last + 1]
        for number, run in placed:
            self.levels[number].remove(run)
        level = max(1, placed[-1][0])
        place = sum(1 for number, _ in self.runs()[:first] if number == level)
        size = self.union([run.entries for _, run in placed])
        self.merged += size
        self.levels[level].insert(place, self._run(size))
        self.settle()

    def _run(self, entries: float) -> Sized:
        """A new run."""
        self.next_id += 1
        return Sized(entries, self.next_id)

    def _size(self, level: int) -> float:
        """Entries of a level."""
        return sum(run.entries for run in self.levels[level]) if level < len(self.levels) else 0.0

    def _surplus(self, level: int, last: int) -> int:
        """Runs beyond those the level may have."""
        return len(self.levels[level]) - self.geometry.runs_at(level, last) if level < len(self.levels) else -1

    def _fits(self, entries: float, level: int, halves: int = 1) -> bool:
        """See the geometry."""
        return self.geometry.fits(round(entries), level, self.buffer, halves)

    def _deepen(self) -> bool:
        """A last level that is one run over capacity moves down as it is."""
        last = self.last
        runs = self.levels[last]
        if len(runs) != 1 or not self.buffer or self._fits(runs[0].entries, last):
            return False
        self._grow(last + 1)
        self.levels[last + 1] = [runs.pop()]
        return True

    def _grow(self, level: int) -> None:
        """Make sure there is such a level."""
        while level >= len(self.levels):
            self.levels.append([])

    def _arrival(self) -> bool:
        """Level 0 goes down if it has a run too many."""
        if len(self.levels[0]) <= self.level0_runs:
            return False
        self._pour(0)
        return True

    def _pour(self, first: int) -> None:
        """All of level ``first`` is an arrival at the next that has room."""
        last = self.last
        taken = [run.entries for run in self.levels[first]]
        entries, level = sum(taken), first + 1
        self.levels[first] = []
        while level < last and not self._fits(entries + self._size(level), level):
            here = [run.entries for run in self.levels[level]]
            entries += sum(here)
            taken += here
            self.levels[level] = []
            level += 1
        self._grow(level)
        joined = self._joined(level, entries, last)
        taken += [run.entries for run in self.levels[level][:joined]]
        merged = self.union(taken)
        moved = len(taken) == 1
        self.merged += 0 if moved else merged
        self.levels[level][:joined] = [self._run(merged)]

    def _joined(self, level: int, entries: float, last: int) -> int:
        """How many resident runs an arrival merges with."""
        runs, surplus = self.levels[level], self._surplus(level, last)
        if level == last and not self._fits(entries + self._size(level), level):
            return len(runs)
        if surplus >= 0:
            return surplus + 1
        full = bool(runs) and self.geometry.is_full(round(runs[0].entries), level, last, self.buffer)
        return 0 if full or not runs else 1

    def _bring_in_line(self) -> bool:
        """Bring down what is overfull, the deepest first, else merge surplus runs."""
        last = self.last
        for level in range(last, 0, -1):
            if not self._fits(self._size(level), level, OVERFULL):
                self._lower(level, last)
                return True
        for level in range(1, last + 1):
            width = self._surplus(level, last) + 1
            if width > 1:
                sizes = [run.entries for run in self.levels[level]]
                costs = [sum(sizes[i : i + width]) for i in range(len(sizes) - width + 1)]
                first = costs.index(min(costs))
                size = self.union(sizes[first : first + width])
                self.merged += size
                self.levels[level][first : first + width] = [self._run(size)]
                return True
        return False

    def _lower(self, level: int, last: int) -> None:
        """The oldest run moves down if there is room for a run, else everything is an arrival."""
        below = level + 1
        self._grow(below)
        oldest = self.levels[level][-1]
        room = self._fits(oldest.entries + self._size(below), below)
        if level == last or (room and self._surplus(below, last) < 0):
            self.levels[below].insert(0, self.levels[level].pop())
        else:
            self._pour(level)
