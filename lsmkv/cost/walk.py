"""A policy walked on paper: flush after flush, task after task, with sizes only.

It serves what the closed count does not know, custom policies and FIFO among them, and it is what the count is tested against.
Every table spans all keys. Versions of U overwritten keys collapse as they do on average: runs of a and b entries become one of
``a + b - ab/U``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lsmkv.cost.checks import number, whole
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.apply import apply, count_arrival, input_tables, merged_table
from lsmkv.policy.base import Policy, Task
from lsmkv.policy.ranges import is_move
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape
from lsmkv.version.state import mean_arrival

__all__ = ["Walk", "walk"]

LOW, HIGH = b"\0", b"\xff" * 16
TASKS_PER_FLUSH = 200
"""A policy that picks more tasks than this after one flush does not come to rest."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a walk ended and what it wrote."""

    shape: TreeShape
    flushes: int
    written: tuple[int, ...]
    """Entries written into each level; level 0: flushed. Moves write nothing."""


def walk(
    policy: Policy,
    flushes: int,
    flush_entries: int,
    *,
    level0_runs: int = 4,
    entry_bytes: int = 100,
    live_entries: float | None = None,
) -> Walk:
    """Flush ``flushes`` memtables of ``flush_entries`` entries into an empty tree and run every task that ``policy`` picks.

    Takes about 0.1 ms a flush.

    Raises InvalidArgumentError for meaningless numbers, and for a policy that never comes to rest.
    """
    whole("flushes", flushes, 0)
    whole("flush_entries", flush_entries, 1)
    live = None if live_entries is None else number("live_entries", live_entries, 1)
    shape, written = TreeShape(level0_runs=whole("level0_runs", level0_runs, 0)), [0]
    arrivals, made = (0, 0), 0
    for _ in range(flushes):
        made += 1
        shape = _flushed(shape, made, flush_entries, entry_bytes)
        written[0] += flush_entries
        for _ in range(TASKS_PER_FLUSH):
            task = policy.pick(shape)
            if task is None:
                break
            made += 1
            arrivals = count_arrival(arrivals, shape, task)
            shape, wrote = _done(shape, task, made, live)
            shape = replace(shape, buffer_entries=mean_arrival(arrivals))
            written += [0] * (task.output_level + 1 - len(written))
            written[task.output_level] += wrote
        else:
            raise InvalidArgumentError(f"{policy!r} does not come to rest: {TASKS_PER_FLUSH} tasks after one flush")
    return Walk(shape, flushes, tuple(written))


def _flushed(shape: TreeShape, made: int, entries: int, entry_bytes: int) -> TreeShape:
    """The shape with one more run at level 0."""
    table = TableMeta(made, entries * entry_bytes, entries, 0, LOW, HIGH, made, made, born_s=float(made), newest_s=float(made))
    return replace(shape.with_level(0, Level((Run(made, (table,)), *shape.levels[0].runs))), now_s=float(made))


def _done(shape: TreeShape, task: Task, made: int, live: float | None) -> tuple[TreeShape, int]:
    """The shape after a task, and how many entries that wrote."""
    if task.drops:
        return apply(shape, task), 0
    merged = input_tables(shape, task)
    if is_move(shape, task, merged):
        return apply(shape, task, merged, run_id=made), 0
    entries = sum(t.entries for t in merged)
    if live is not None:
        absent = 1.0
        for table in merged:
            absent *= max(0.0, 1 - table.entries / live)
        entries = max(1, round(live * (1 - absent)))
    whole_table = merged_table(merged, made)
    output = replace(
        whole_table,
        bytes=whole_table.bytes * entries // max(1, whole_table.entries),
        entries=entries,
        tombstones=0,
        raw_bytes=0,
        filter_bits=0,
        tombstone_s=0.0,
        shadowed=0,
    )
    return apply(shape, task, [output], run_id=made), entries
