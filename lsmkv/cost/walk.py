"""A policy walked on paper: flush after flush, task after task, with sizes only.

It serves what the closed count does not know, custom policies and FIFO among them, and it is what the count is tested against.
Every table spans all keys. Versions of U overwritten keys collapse as they do on average: runs of a and b entries become one of
``a + b - ab/U``. A tree that was begun with (``start``) holds each key once: these first versions never collapse among
themselves, so a table is known by how many of them it has and by what was overwritten beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from math import log2

from lsmkv.cost.checks import number, whole
from lsmkv.cost.filters import ALLOCATIONS, filter_bits
from lsmkv.cost.planned import planned_bits
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.apply import apply, count_arrival, input_tables, merged_table
from lsmkv.policy.base import Policy, Task
from lsmkv.policy.ranges import is_move
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape
from lsmkv.version.state import mean_arrival

__all__ = ["Walk", "walk", "walks"]

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
    passes: float = 0.0
    """Entries that merges read, each times log2 of the runs merged with it: what sorting them together takes."""


def walk(
    policy: Policy,
    flushes: int,
    flush_entries: int,
    *,
    level0_runs: int = 4,
    entry_bytes: int = 100,
    live_entries: float | None = None,
    filter_bits_per_key: float | None = None,
    filter_allocation: str = "monkey",
    start: TreeShape | None = None,
) -> Walk:
    """Flush ``flushes`` memtables of ``flush_entries`` entries into a tree and run every task that ``policy`` picks.

    ``start``: the tree to begin with, settled (None: an empty one), whose own ``level0_runs`` hold. ``filter_bits_per_key``: each
    run gets the filter that the engine would give it when it is written (None: filters are left out). Takes 0.1 to 0.2 ms a
    flush.

    Raises InvalidArgumentError for meaningless numbers, and for a policy that never comes to rest.
    """
    walked = walks(
        policy,
        flush_entries,
        level0_runs=level0_runs,
        entry_bytes=entry_bytes,
        live_entries=live_entries,
        filter_bits_per_key=filter_bits_per_key,
        filter_allocation=filter_allocation,
        start=start,
    )
    return next(islice(walked, whole("flushes", flushes, 0), None))


def walks(
    policy: Policy,
    flush_entries: int,
    *,
    level0_runs: int = 4,
    entry_bytes: int = 100,
    live_entries: float | None = None,
    filter_bits_per_key: float | None = None,
    filter_allocation: str = "monkey",
    start: TreeShape | None = None,
) -> Iterator[Walk]:
    """The walk after no flush, after one, after two, and so on without end; arguments and errors as :func:`walk`."""
    whole("flush_entries", flush_entries, 1)
    live = None if live_entries is None else number("live_entries", live_entries, 1)
    bits = None if filter_bits_per_key is None else number("filter_bits_per_key", filter_bits_per_key)
    if filter_allocation not in ALLOCATIONS:
        raise InvalidArgumentError(f"filter_allocation must be one of {ALLOCATIONS}, not {filter_allocation!r}")
    monkey = filter_allocation == "monkey"
    shape, written = start or TreeShape(level0_runs=whole("level0_runs", level0_runs, 0)), [0]
    made = max((t.number for t in shape.tables), default=0)
    versions = _Versions(live, {t.number: t.entries for t in shape.tables})
    arrivals, passes = (1, shape.buffer_entries) if shape.buffer_entries else (0, 0), 0.0

    def filtered(table: TableMeta, level: int, task: Task | None) -> TableMeta:
        """A table that is being written, with its filter."""
        if not bits or not table.entries:
            return table
        taken = input_tables(shape, task) if task else []
        planned = sum(t.entries for t in taken) or table.entries  # what collapses is not known when a merge begins
        gone, joined = [t.number for t in taken], task.output_run if task else None
        each = planned_bits(shape, policy, level, planned, bits, gone=gone, joined=joined) if monkey else bits
        return replace(table, filter_bits=filter_bits(table.entries, each))

    for flushes in count():
        yield Walk(shape, flushes, tuple(written), passes)
        made += 1
        shape = _flushed(shape, filtered(_flush_table(made, flush_entries, entry_bytes), 0, None))
        written[0] += flush_entries
        for _ in range(TASKS_PER_FLUSH):
            task = policy.pick(shape)
            if task is None:
                break
            made += 1
            arrivals = count_arrival(arrivals, shape, task)
            sizes = [t.entries for t in input_tables(shape, task)]
            shape, wrote = _done(shape, task, made, versions, filtered)
            passes += sum(sizes) * log2(len(sizes)) if wrote else 0.0
            shape = replace(shape, buffer_entries=mean_arrival(arrivals))
            written += [0] * (task.output_level + 1 - len(written))
            written[task.output_level] += wrote
        else:
            raise InvalidArgumentError(f"{policy!r} does not come to rest: {TASKS_PER_FLUSH} tasks after one flush")


class _Versions:
    """How many different keys tables hold together."""

    def __init__(self, live: float | None, first: dict[int, int]) -> None:
        """``live`` keys are overwritten (None: none); ``first``: first versions in each table, by its number."""
        self._live = live
        self._first = first

    def merged(self, tables: Sequence[TableMeta], made: int) -> int:
        """Entries of these tables made one, which gets the number ``made``."""
        entries = sum(t.entries for t in tables)
        if self._live is None:
            return entries
        first = sum(self._first.get(t.number, 0) for t in tables)
        self._first[made] = first
        absent = max(0.0, 1 - first / self._live)
        for table in tables:
            own = max(0.0, 1 - self._first.get(table.number, 0) / self._live)
            if own:
                absent *= min(1.0, max(0.0, 1 - table.entries / self._live) / own)
        return max(1, round(self._live * (1 - absent)))


def _flush_table(made: int, entries: int, entry_bytes: int) -> TableMeta:
    """A memtable as a table."""
    return TableMeta(made, entries * entry_bytes, entries, 0, LOW, HIGH, made, made, born_s=float(made), newest_s=float(made))


def _flushed(shape: TreeShape, table: TableMeta) -> TreeShape:
    """The shape with one more run at level 0."""
    level = Level((Run(table.number, (table,)), *shape.levels[0].runs))
    return replace(shape.with_level(0, level), now_s=float(table.number))


def _done(
    shape: TreeShape,
    task: Task,
    made: int,
    versions: _Versions,
    filtered: Callable[[TableMeta, int, Task | None], TableMeta],
) -> tuple[TreeShape, int]:
    """The shape after a task, and how many entries that wrote."""
    if task.drops:
        return apply(shape, task), 0
    merged = input_tables(shape, task)
    if is_move(shape, task, merged):
        return apply(shape, task, merged, run_id=made), 0
    entries = versions.merged(merged, made)
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
    return apply(shape, task, [filtered(output, task.output_level, task)], run_id=made), entries
