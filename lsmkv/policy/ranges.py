"""Which tables meet which: key ranges, what lies below, what has to go together. Pure.

The age of tables follows from their place alone: a deeper level is older, within a level the run with the smaller id. Two
tables *meet* when their key ranges do; whether they share a key cannot be seen from here, so it is assumed.

A set of tables may sink to a deeper place if everything older that meets one of them sinks along. That is a closure
downwards only: what is newer may stay where it is, above. So little more than the range asked for is touched, even where
the boundaries of tables in different levels never fall together.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from lsmkv.policy.base import RunInput, Task
from lsmkv.version.shape import Run, TableMeta, TreeShape

__all__ = ["deepest_level", "is_move", "manual_task", "older_overlaps", "overlapping", "runs_in_order", "sinking_task", "whole"]

_smallest, _largest = attrgetter("smallest"), attrgetter("largest")


def overlapping(run: Run, low: bytes, high: bytes) -> tuple[TableMeta, ...]:
    """The tables of a run that meet [low, high]."""
    first = bisect_left(run.tables, low, key=_largest)
    return run.tables[first : bisect_right(run.tables, high, lo=first, key=_smallest)]


def runs_in_order(shape: TreeShape) -> Iterator[tuple[int, Run]]:
    """(level, run) of the whole tree, newest first."""
    return ((number, run) for number, level in enumerate(shape.levels) for run in level.runs)


def deepest_level(shape: TreeShape) -> int:
    """The deepest level that holds anything, at least 1."""
    return max([1, *(number for number, level in enumerate(shape.levels) if level.runs)])


def whole(number: int, run: Run) -> RunInput:
    """All of a run."""
    return RunInput(number, run.id, tuple(t.number for t in run.tables))


class Ranges:
    """A set of keys as disjoint closed ranges; grows by those of tables."""

    def __init__(self) -> None:
        self._low: list[bytes] = []
        self._high: list[bytes] = []

    def meets(self, table: TableMeta) -> bool:
        """Whether the table's range shares a key with the set."""
        at = bisect_left(self._high, table.smallest)
        return at < len(self._low) and self._low[at] <= table.largest

    def add(self, table: TableMeta) -> None:
        """Include the table's range, joined with those it meets."""
        first = bisect_left(self._high, table.smallest)
        after = bisect_right(self._low, table.largest, lo=first)
        low = min([table.smallest, *self._low[first : first + 1]]) if first < after else table.smallest
        high = max([table.largest, *self._high[after - 1 : after]]) if first < after else table.largest
        self._low[first:after], self._high[first:after] = [low], [high]


def older_overlaps(shape: TreeShape, task: Task, merged: Sequence[TableMeta]) -> bool:
    """Whether anything outside ``merged`` (the inputs of ``task``) is older than one of them and meets it.

    Then tombstones must stay: there may be something for them to hide.
    """
    gone = {t.number for t in merged}
    places = {(one.level, one.run) for one in task.inputs}
    newer = Ranges()
    for number, run in runs_in_order(shape):
        if any(t.number not in gone and newer.meets(t) for t in run.tables):
            return True
        if (number, run.id) in places:
            for table in run.tables:
                if table.number in gone:
                    newer.add(table)
    return False


def is_move(shape: TreeShape, task: Task, merged: Sequence[TableMeta]) -> bool:
    """Whether a task only changes the level of one run: nothing at its target meets it, and it has nothing to lose.

    It has something to lose if it holds tombstones that hide nothing any more and that no snapshot needs, or entries that
    only a snapshot, closed since, kept.
    """
    if task.drops or len(task.inputs) != 1 or task.inputs[0].level == task.output_level:
        return False
    if task.output_run is not None:
        resident = next(run for run in shape.levels[task.output_level].runs if run.id == task.output_run)
        if overlapping(resident, min(map(_smallest, merged)), max(map(_largest, merged))):
            return False
    settled = [t for t in merged if t.max_seq <= shape.snapshot_floor]
    if any(t.shadowed for t in settled):
        return False
    return not any(t.tombstones for t in settled) or older_overlaps(shape, task, merged)


def manual_task(shape: TreeShape, start: bytes | None, stop: bytes | None) -> Task | None:
    """The task of ``compact(start, stop)``: what overlaps the range, down to the deepest level that holds data.

    None stands for the first and for the end of all keys. Tables beyond the range come along only where they are older and
    meet a chosen one. None if nothing overlaps.
    """

    def asked(table: TableMeta) -> bool:
        """Whether the table holds keys of the range, as far as can be seen."""
        return (stop is None or table.smallest < stop) and (start is None or table.largest >= start)

    return sinking_task(shape, asked, "asked for by compact()")


def sinking_task(shape: TreeShape, asked: Callable[[TableMeta], bool], reason: str) -> Task | None:
    """The chore of merging what ``asked`` names, and what has to sink along, into the oldest run of the deepest level.

    ``asked`` names everything that overlaps some range, or one table; then nothing of that run lies between the inputs.
    None if it names no table.
    """
    deepest = deepest_level(shape)
    resident = shape.levels[deepest].runs if deepest < len(shape.levels) else ()
    chosen, inputs = Ranges(), []
    for number, run in runs_in_order(shape):
        tables = [t for t in run.tables if asked(t) or chosen.meets(t)]
        for table in tables:
            chosen.add(table)
        if tables:
            inputs.append(RunInput(number, run.id, tuple(t.number for t in tables)))
    if not inputs:
        return None
    return Task(tuple(inputs), deepest, resident[-1].id if resident else None, reason, chore=True)
