"""Lesson 5, a solution: a level with too many runs becomes one run of the next level."""

from dataclasses import dataclass

from lsmkv.policy import RunInput, Task
from lsmkv.version.shape import Run, TreeShape


def whole(level: int, run: Run) -> RunInput:
    """All of a run, as the input of a task."""
    return RunInput(level, run.id, tuple(table.number for table in run.tables))


@dataclass(frozen=True)
class Tiering:
    """At most ``size_ratio`` - 1 runs in each level from 1 on."""

    size_ratio: int = 4

    def pick(self, shape: TreeShape) -> Task | None:
        """The next merge, or None if no level has too many runs. ``shape.levels[i].runs``: the runs of level i, newest first.

        Level 0 may keep ``shape.level0_runs`` runs. ``Task(inputs, output_level, None, reason)`` makes a new run of a level,
        the youngest there.
        """
        for number, level in enumerate(shape.levels):
            most = self.size_ratio - 1 if number else shape.level0_runs
            if len(level.runs) > most:
                inputs = tuple(whole(number, run) for run in level.runs)
                return Task(inputs, number + 1, None, f"level {number} has {len(level.runs)} runs, more than {most}")
        return None
