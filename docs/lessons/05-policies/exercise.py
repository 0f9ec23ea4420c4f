"""Lesson 5, starter code: a policy that merges everything."""

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
        # YOUR TURN: this merges the whole tree, again and again.
        if len(shape.levels[0].runs) <= shape.level0_runs:
            return None
        inputs = tuple(whole(number, run) for number, level in enumerate(shape.levels) for run in level.runs)
        return Task(inputs, max(1, len(shape.levels) - 1), None, "level 0 is full, and we know no better")
