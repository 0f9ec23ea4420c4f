"""Running one compaction task: read the inputs in order, merge, write, install.

Which tables to merge is the policy's business (:mod:`lsmkv.policy`); here is how. Entries that nobody can see any more are
dropped on the way: versions shadowed by a newer one, and tombstones when nothing older lies below, both only as far as no
snapshot needs them (LevelDB's rule).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from lsmkv.base.columns import Columns
from lsmkv.errors import LsmError
from lsmkv.live.core import Core
from lsmkv.maintain.build import build_tables, discard
from lsmkv.maintain.install import install
from lsmkv.policy.apply import check_task, count_arrival, input_tables
from lsmkv.policy.base import RunInput, Task
from lsmkv.read.merge import merge_streams, visible
from lsmkv.version.edit import VersionEdit
from lsmkv.version.shape import Run, TableMeta, TreeShape

__all__ = ["manual_task", "run_task"]

SLICE_BYTES = 1 << 20
"""Bytes merged at once: bounds memory and how long NumPy works between two looks at the clock."""


def run_task(core: Core, task: Task, *, counted: bool = True) -> None:
    """Carry out one task; ``counted``: what it takes from level 0 is an arrival that shapes the levels.

    Raises InvalidArgumentError for a task that would break the level rule, CorruptionError when an input is damaged,
    IOFailedError, NoSpaceError; the outputs are then removed and the tree is as before.

    I/O: reads every input once, writes every output once, one manifest edit.
    """
    core.check_poison()
    shape = core.state.shape
    check_task(shape, task)
    merged = input_tables(shape, task)
    arrivals = count_arrival(core.state.arrivals, shape, task) if counted else core.state.arrivals
    if _is_move(shape, task, merged):
        with core.install_lock:
            install(core, _edit(core, task, merged, merged, arrivals))
        core.work.moves += len(merged)
        return
    bottom = not _older_overlaps(shape, task, merged)
    newest_first = sorted(task.inputs, key=lambda one: (one.level, -one.run))
    streams = [_read_run(core, [t for t in merged if t.number in one.tables]) for one in newest_first]
    kept = (visible(part, core.snapshots.numbers(), bottom=bottom) for part in merge_streams(streams, SLICE_BYTES))
    outputs = build_tables(core, kept, task.output_level, core.options.table_bytes)
    try:
        with core.install_lock:
            install(core, _edit(core, task, merged, outputs, arrivals))
    except LsmError:
        if core.poison is None:  # the edit is certainly not on disk
            discard(core, [t.number for t in outputs])
        raise
    core.work.compactions += 1
    core.work.read_bytes += sum(t.bytes for t in merged)
    core.work.written_bytes += sum(t.bytes for t in outputs)


def _edit(core: Core, task: Task, removed: list[TableMeta], added: list[TableMeta], arrivals: tuple[int, int]) -> VersionEdit:
    """The edit that replaces the inputs by the outputs (install lock held)."""
    new_run = task.output_run is None
    run = core.state.next_run if task.output_run is None else task.output_run
    return VersionEdit(
        added=tuple((task.output_level, run, t) for t in added),
        removed=tuple(t.number for t in removed),
        next_run=core.state.next_run + int(new_run),
        arrivals=arrivals,
    )


def _read_run(core: Core, tables: list[TableMeta]) -> Iterator[Columns]:
    """The entries of disjoint tables in key order."""
    return chain.from_iterable(core.tables.get(table.number).columns_chunks(None, None, SLICE_BYTES) for table in tables)


def _is_move(shape: TreeShape, task: Task, merged: list[TableMeta]) -> bool:
    """One input run that meets nothing at its target and leaves nothing to drop only changes its level."""
    if len(task.inputs) != 1 or task.inputs[0].level == task.output_level:
        return False
    if task.output_run is not None:
        resident = next(r for r in shape.levels[task.output_level].runs if r.id == task.output_run)
        low, high = _range(merged)
        if any(t.smallest <= high and t.largest >= low for t in resident.tables):
            return False
    return _older_overlaps(shape, task, merged) or not any(t.tombstones for t in merged)


def _range(tables: list[TableMeta]) -> tuple[bytes, bytes]:
    """Smallest and largest key of some tables."""
    return min(t.smallest for t in tables), max(t.largest for t in tables)


def _older_overlaps(shape: TreeShape, task: Task, merged: list[TableMeta]) -> bool:
    """Whether anything older than the inputs, and outside them, shares their key range: then tombstones must stay."""
    low, high = _range(merged)
    gone = {t.number for t in merged}
    oldest_level = max(i.level for i in task.inputs)
    oldest_run = min(i.run for i in task.inputs if i.level == oldest_level)
    for number, level in enumerate(shape.levels):
        for run in level.runs:
            older = number > oldest_level or (number == oldest_level and run.id <= oldest_run)
            if older and any(t.number not in gone and t.smallest <= high and t.largest >= low for t in run.tables):
                return True
    return False


def manual_task(shape: TreeShape, start: bytes | None, stop: bytes | None) -> Task | None:
    """The task of ``compact(start, stop)``: everything that overlaps the range, down to the deepest level holding data.

    The range grows until the tables chosen in one run do not reach into unchosen tables of another, so the level rule
    holds for what stays.
    """
    chosen = _closure(shape, start, stop)
    if not chosen:
        return None
    deepest = max((n for n, level in enumerate(shape.levels) if level.runs), default=0)
    target = max(deepest, 1)
    resident: tuple[Run, ...] = shape.levels[target].runs if target < len(shape.levels) else ()
    whole_run_stays = len(resident) == 1
    return Task(tuple(chosen), target, resident[0].id if whole_run_stays else None, "asked for by compact()")


def _closure(shape: TreeShape, start: bytes | None, stop: bytes | None) -> list[RunInput]:
    """Tables overlapping [start, stop), closed under overlap, newest run first."""
    chosen: set[int] = set()
    low, high = start, stop
    grown = True
    inclusive = False
    while grown:
        grown = False
        for table in shape.tables:
            below = high is not None and (table.smallest > high if inclusive else table.smallest >= high)
            if table.number in chosen or below or (low is not None and table.largest < low):
                continue
            chosen.add(table.number)
            grown = True
            low = None if low is None else min(low, table.smallest)
            if high is not None and table.largest >= high:
                high, inclusive = table.largest, True
    return [
        RunInput(number, run.id, tuple(t.number for t in run.tables if t.number in chosen))
        for number, level in enumerate(shape.levels)
        for run in level.runs
        if any(t.number in chosen for t in run.tables)
    ]
