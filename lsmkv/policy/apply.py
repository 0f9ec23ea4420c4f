"""Carrying out a task on paper: the shape of the tree afterwards.

The engine's installation does the same with real tables through an edit; a simulator needs nothing else. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Task
from lsmkv.policy.ranges import Ranges, older_overlaps, overlapping, runs_in_order
from lsmkv.version.shape import Run, TableMeta, TreeShape
from lsmkv.version.version import rebuild

__all__ = ["apply", "check_task", "count_arrival", "input_tables", "merged_table"]

ARRIVALS_REMEMBERED = 256
"""Beyond it both counts are halved: a store whose memtable size was changed finds its new geometry."""


DEEPEST = 63
"""No level lies below: at size ratio 2, with one entry a memtable, the levels above hold more keys than there are numbers."""


def apply(shape: TreeShape, task: Task, outputs: Sequence[TableMeta] | None = None, run_id: int | None = None) -> TreeShape:
    """The shape after ``task`` has replaced its inputs by ``outputs``.

    Without ``outputs`` the inputs become one synthetic table in which nothing was dropped (an upper bound, exact when all
    keys differ), numbered after the largest number in the tree. ``run_id`` is the id of a new run (default: one above the
    largest); it is not used when the task names the run it joins. A task that drops its inputs has no outputs.

    Raises InvalidArgumentError for a task that :func:`check_task` refuses.
    """
    check_task(shape, task)
    merged = input_tables(shape, task)
    if task.drops:
        return rebuild(shape, frozenset(t.number for t in merged), ())
    if outputs is None:
        one = merged_table(merged, max(t.number for t in shape.tables) + 1)
        outputs = [replace(one, swept=shape.ranges.newest)]
    run = task.output_run
    if run is None:
        run = run_id if run_id is not None else max(r.id for level in shape.levels for r in level.runs) + 1
    added = tuple((task.output_level, run, table) for table in outputs)
    return rebuild(shape, frozenset(t.number for t in merged), added)


def input_tables(shape: TreeShape, task: Task) -> list[TableMeta]:
    """The tables a task consumes, newest run first, in key order within a run.

    Raises InvalidArgumentError if the tree does not hold one of them.
    """
    wanted = {number for one in task.inputs for number in one.tables}
    places = {(one.level, one.run) for one in task.inputs}
    found = [
        table
        for number, level in enumerate(shape.levels)
        for run in level.runs
        if (number, run.id) in places
        for table in run.tables
        if table.number in wanted
    ]
    if len(found) != sum(len(one.tables) for one in task.inputs):
        missing = sorted(wanted - {t.number for t in found}) or sorted(wanted)
        raise InvalidArgumentError(f"task names tables {missing}, which the tree does not hold where it says, or twice")
    return found


def check_task(shape: TreeShape, task: Task) -> None:
    """Refuse a task that would break the level rule: the merged run must not pass anything that meets one of its inputs.

    Level 0 takes nothing but flushes, whose order is that of their runs; and no tree is deeper than DEEPEST. What it says is
    recorded, so it has to be made of ints and a str.

    Raises InvalidArgumentError; the message names the table that would end up on the wrong side.
    """
    _check_fields(task)
    merged = input_tables(shape, task)
    if not merged:
        raise InvalidArgumentError(f"task has no inputs: {task.reason}")
    if len({(one.level, one.run) for one in task.inputs}) < len(task.inputs):
        raise InvalidArgumentError("task names one run in several inputs")
    if task.drops:
        hidden = all(shape.ranges.hides(t.smallest, t.largest, t.max_seq) for t in merged)
        if not hidden and older_overlaps(shape, task, merged):
            raise InvalidArgumentError("task drops tables, but leaves older ones that meet them: old values would come back")
        return
    if task.output_level < 0 or (task.output_run is not None and task.output_run not in _runs_at(shape, task.output_level)):
        raise InvalidArgumentError(f"task joins run {task.output_run} at level {task.output_level}, which is not there")
    gone = {t.number for t in merged}
    low, high = min(t.smallest for t in merged), max(t.largest for t in merged)
    newest_first = list(runs_in_order(shape))
    for level, run in newest_first:
        if level == task.output_level and run.id == task.output_run:
            left = [t.number for t in overlapping(run, low, high) if t.number not in gone]
            if left:
                raise InvalidArgumentError(f"task joins run {run.id} but leaves its table {left[0]}, which overlaps the result")
    _check_side(newest_first, gone, lambda level, run: not _above(task, level, run))
    _check_side(newest_first[::-1], gone, lambda level, run: _above(task, level, run))
    if not 1 <= task.output_level <= DEEPEST:
        raise InvalidArgumentError(f"task writes to level {task.output_level}: must be a level from 1 to {DEEPEST}")


def _check_fields(task: Task) -> None:
    """Refuse numbers and sentences that only look like some (NumPy's, say): manifest and event log record them as JSON."""
    numbers: list[object] = [task.output_level, task.debt, *(number for one in task.inputs for number in (one.level, one.run))]
    numbers += [] if task.output_run is None else [task.output_run]
    for number in numbers:
        if not isinstance(number, int):
            raise InvalidArgumentError(f"task holds {number!r}, a {type(number).__name__}, where an int belongs: {task.reason}")
    reason: object = task.reason
    if not isinstance(reason, str):
        raise InvalidArgumentError(f"task gives the reason {reason!r}: must be a sentence")


def _above(task: Task, level: int, run: int) -> bool:
    """Whether the result of a task lies above a run that is not the one it joins."""
    if level != task.output_level:
        return level > task.output_level
    return task.output_run is None or run < task.output_run


def _check_side(runs: Iterable[tuple[int, Run]], gone: set[int], wrong: Callable[[int, int], bool]) -> None:
    """Walk away from the inputs: a table that stays and meets one passed before must not be where it is ``wrong``."""
    passed = Ranges()
    for level, run in runs:
        if wrong(level, run.id):
            for table in run.tables:
                if table.number not in gone and passed.meets(table):
                    raise InvalidArgumentError(
                        f"task would carry its result past table {table.number} of level {level}, which overlaps it"
                    )
        for table in run.tables:
            if table.number in gone:
                passed.add(table)


def _runs_at(shape: TreeShape, level: int) -> set[int]:
    """Ids of the runs of a level; none for one that does not exist."""
    return {run.id for run in shape.levels[level].runs} if level < len(shape.levels) else set()


def merged_table(tables: Sequence[TableMeta], number: int) -> TableMeta:
    """One table that holds everything in ``tables``."""
    return TableMeta(
        number=number,
        bytes=sum(t.bytes for t in tables),
        entries=sum(t.entries for t in tables),
        tombstones=sum(t.tombstones for t in tables),
        smallest=min(t.smallest for t in tables),
        largest=max(t.largest for t in tables),
        min_seq=min(t.min_seq for t in tables),
        max_seq=max(t.max_seq for t in tables),
        raw_bytes=sum(t.raw_bytes for t in tables),
        filter_bits=sum(t.filter_bits for t in tables),
        born_s=min(t.born_s for t in tables),
        newest_s=max(t.newest_s for t in tables),
        tombstone_s=min((t.tombstone_s for t in tables if t.tombstones), default=0.0),
        shadowed=sum(t.shadowed for t in tables),
        swept=min(t.swept for t in tables),
    )


def count_arrival(arrivals: tuple[int, int], shape: TreeShape, task: Task) -> tuple[int, int]:
    """``arrivals`` (how many, their entries) after ``task``: one more if it takes level-0 runs down, else unchanged.

    A chore is none: single tables on their way to the bottom would make the mean small and the levels with it.
    """
    if task.drops or task.chore or task.output_level == 0 or all(one.level > 0 for one in task.inputs):
        return arrivals
    numbers = {number for one in task.inputs if one.level == 0 for number in one.tables}
    entries = sum(t.entries for run in shape.levels[0].runs for t in run.tables if t.number in numbers)
    count, total = arrivals[0] + 1, arrivals[1] + entries
    return (count // 2, total // 2) if count > ARRIVALS_REMEMBERED else (count, total)
