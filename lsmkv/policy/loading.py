"""Where sorted data that was loaded goes: as deep as the level rule allows. Pure.

What is loaded is newer than everything in the tree, and deeper is older. So it may lie at or above the first level whose tables
it meets, never below. Where nothing of a level meets it, it joins the youngest run there: nothing has to be merged.
"""

from __future__ import annotations

from typing import NamedTuple

from lsmkv.policy.base import Policy, Task
from lsmkv.policy.ranges import deepest_level, overlapping, whole
from lsmkv.version.shape import TreeShape

__all__ = ["Place", "make_way", "place"]


class Place(NamedTuple):
    """A level, and the resident run to join there; None: a run of its own (at level 0: one for each table)."""

    level: int
    run: int | None


def place(shape: TreeShape, low: bytes, high: bytes, policy: Policy, room: int) -> Place | None:
    """Where tables with keys from ``low`` to ``high``, newer than all of ``shape``, go.

    - A policy that forgets the oldest (``forgets_oldest``) takes the depth of data for its age: level 0.
    - What meets level 0 goes there, too, if it is no more than ``room`` tables; else None: level 0 has to be merged away first.
    - What meets level 1 becomes the youngest run of level 1.
    - What meets a deeper level goes to the one above it; what meets nothing, to the deepest level there is.
    """
    if getattr(policy, "forgets_oldest", False):
        return Place(0, None)
    meets = (n for n, level in enumerate(shape.levels) if any(overlapping(run, low, high) for run in level.runs))
    first = next(meets, None)
    if first == 0:
        return Place(0, None) if room > 0 else None
    level = deepest_level(shape) if first is None else max(first - 1, 1)
    runs = shape.levels[level].runs if level < len(shape.levels) else ()
    return Place(level, runs[0].id if runs and not overlapping(runs[0], low, high) else None)


def make_way(shape: TreeShape) -> Task:
    """The task that merges level 0 away, as one arrival at level 1."""
    return Task(tuple(whole(0, run) for run in shape.levels[0].runs), 1, None, "level 0 makes way for what is loaded")
