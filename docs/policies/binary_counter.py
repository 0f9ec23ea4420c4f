"""Runs merge like the digits of a binary counter: two of like size become one (Bentley and Saxe, 1980)."""

from dataclasses import dataclass
from itertools import pairwise

from lsmkv.policy import RunInput, Task
from lsmkv.version.shape import Run, TreeShape


@dataclass(frozen=True)
class BinaryCounter:
    """``ratio``: a run and the older one beside it stay apart if that one is so much larger."""

    ratio: float = 2.0

    def pick(self, shape: TreeShape) -> Task | None:
        """Level 0 becomes a run of level 1 when it is too long; there, neighbours of like size merge."""
        level0, level1 = shape.levels[0].runs, shape.levels[1].runs if len(shape.levels) > 1 else ()
        if len(level0) > shape.level0_runs:
            return merge(0, level0, None, f"level 0 has {len(level0)} runs")
        for newer, older in pairwise(level1):
            if older.entries < self.ratio * newer.entries:
                return merge(1, (newer, older), newer.id, f"runs of {newer.entries:,} and {older.entries:,} entries meet")
        return None


def merge(level: int, runs: tuple[Run, ...], joins: int | None, reason: str) -> Task:
    """Merge ``runs`` into one of level 1: a new one, or the run whose id is ``joins``."""
    return Task(tuple(RunInput(level, run.id, tuple(t.number for t in run.tables)) for run in runs), 1, joins, reason)
