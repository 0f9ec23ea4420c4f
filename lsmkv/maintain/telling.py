"""What the event log says of a flush or a compaction (format: docs/format/events.md)."""

from __future__ import annotations

from collections.abc import Sequence

from lsmkv.policy.base import Task
from lsmkv.version.shape import Run, TableMeta, TreeShape

__all__ = ["compaction_event", "flush_event"]


def flush_event(tables: Sequence[TableMeta]) -> dict[str, object]:
    """One memtable became these tables (none: nobody needed its entries)."""
    return {
        "bytes": sum(t.bytes for t in tables),
        "raw_bytes": sum(t.raw_bytes for t in tables),
        "entries": sum(t.entries for t in tables),
    }


def compaction_event(
    before: TreeShape, after: TreeShape, task: Task, outputs: Sequence[TableMeta], *, run: int, moved: bool, by: str
) -> dict[str, object]:
    """One task turned ``before`` into ``after``; its outputs are in run ``run``."""
    numbers = {number for one in task.inputs for number in one.tables}
    merged = [t for t in before.tables if t.number in numbers]
    read = [] if moved or task.drops else merged
    written = [] if moved or task.drops else outputs
    fields: dict[str, object] = {
        "reason": task.reason,
        "task": "drop" if task.drops else "move" if moved else "merge",
        "by": by,
        "inputs": [_input(before, one.level, one.run, numbers) for one in task.inputs],
        "output_level": task.output_level,
        "joins": None if task.drops or task.output_run is None else _position(before, task.output_level, task.output_run),
        "output_position": None if task.drops else _position(after, task.output_level, run),
        "read_bytes": sum(t.bytes for t in read),
        "read_entries": sum(t.entries for t in read),
        "written_bytes": sum(t.bytes for t in written),
        "written_entries": sum(t.entries for t in written),
        "debt_bytes": task.debt,
    }
    if task.drops:
        fields |= {"dropped_bytes": sum(t.bytes for t in merged), "dropped_entries": sum(t.entries for t in merged)}
    return fields


def _input(shape: TreeShape, level: int, run: int, numbers: set[int]) -> list[int]:
    """Level, position of the run, tables taken of it, tables it has, bytes taken."""
    tables = _run(shape, level, run).tables
    taken = [t for t in tables if t.number in numbers]
    return [level, _position(shape, level, run) or 0, len(taken), len(tables), sum(t.bytes for t in taken)]


def _run(shape: TreeShape, level: int, run: int) -> Run:
    """A run by its id."""
    return next(r for r in shape.levels[level].runs if r.id == run)


def _position(shape: TreeShape, level: int, run: int) -> int | None:
    """Where in its level a run is, 0 the newest; None if it is not there (every entry of it was dropped)."""
    runs = shape.levels[level].runs if level < len(shape.levels) else ()
    return next((at for at, one in enumerate(runs) if one.id == run), None)
