"""A compaction policy of somebody's own, by import name: what the tests call custom."""

from dataclasses import dataclass

from lsmkv.policy import RunInput, Task
from lsmkv.version.shape import TreeShape


@dataclass(frozen=True)
class Stacked:
    """At most ``most`` runs in the whole tree: the newest two thirds of one too many become the youngest run of level 1."""

    most: int = 4

    def pick(self, shape: TreeShape) -> Task | None:
        """Level 0 and what it takes of level 1, newest first."""
        runs = [(level, run) for level in (0, 1) if level < len(shape.levels) for run in shape.levels[level].runs]
        if len(runs) <= self.most:
            return None
        taken = runs[: max(len(shape.levels[0].runs), len(runs) * 2 // 3)]
        inputs = tuple(RunInput(level, run.id, tuple(t.number for t in run.tables)) for level, run in taken)
        joins = next((run.id for level, run in taken if level == 1), None)
        return Task(inputs, 1, joins, f"{len(runs)} runs, more than {self.most}")
