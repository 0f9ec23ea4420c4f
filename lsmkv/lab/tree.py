"""A tree without files: the engine's rules for flush and compaction, carried out on integer keys.

Whatever decides here decides in the engine: the policy, :func:`~lsmkv.policy.picks.next_task` (tombstone bounds and garbage
beside the policy), :mod:`~lsmkv.policy.ranges` (what is only moved, when tombstones go), :func:`~lsmkv.policy.apply.apply`
and its ``count_arrival``. Only the merge itself is another: :func:`lsmkv.lab.entries.merge`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.entries import Entries, Sizes, key_bytes_of, merge
from lsmkv.lab.rows import Levels, RunSize, TaskInput
from lsmkv.policy.apply import apply, count_arrival, input_tables
from lsmkv.policy.base import Policy, Task
from lsmkv.policy.picks import next_task
from lsmkv.policy.ranges import is_move, older_overlaps
from lsmkv.policy.transition import Debt, Pace, debt
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape
from lsmkv.version.state import mean_arrival

__all__ = ["Change", "Counts", "SimulatedTree"]


BLOCK_BYTES = 4096
"""The engine's default; debts are counted in blocks too."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one task did."""

    task: Task
    kind: Literal["merge", "move", "drop"]
    inputs: tuple[TaskInput, ...]
    joins: int | None
    output_position: int | None
    read_bytes: int = 0
    read_entries: int = 0
    written_bytes: int = 0
    written_entries: int = 0


@dataclass(slots=True)
class Counts:
    """What was written to tables so far."""

    bytes: int = 0
    entries: int = 0


@dataclass(frozen=True, slots=True)
class _Counted:
    """A run (held, so that its id is not another's) and what it adds up to."""

    run: Run
    size: RunSize
    tombstones: int


class SimulatedTree:
    """The tree and its policy. ``policy`` may be replaced at any time, as an open store's may."""

    def __init__(
        self,
        policy: Policy,
        sizes: Sizes,
        *,
        level0_runs: int,
        table_bytes: int,
        filter_bits_per_key: float,
        tombstone_age_s: float | None = None,
        file_bytes: Callable[[Entries], int] | None = None,
    ) -> None:
        """``file_bytes``: the size of the file that holds such entries; None: keys, values and filter, nothing else."""
        self.policy = policy
        self.shape = TreeShape(level0_runs=level0_runs, table_bytes=table_bytes, tombstone_age_s=tombstone_age_s)
        self.flushed, self.merged = Counts(), Counts()
        self._sizes = sizes
        self._filter_bits_per_key = filter_bits_per_key
        self._file_bytes = file_bytes
        self._contents: dict[int, Entries] = {}
        self._counted: dict[int, _Counted] = {}
        self._arrivals = (0, 0)
        self._next_run = self._next_table = 1

    def flush(self, entries: Entries, now_s: float) -> TableMeta:
        """A memtable's entries (at least one) become a run of level 0."""
        self._look(now_s)
        table = self._table(entries)
        run = Run(self._next_run, (table,))
        self._next_run += 1
        self.shape = self.shape.with_level(0, Level((run, *self.shape.levels[0].runs)))
        _add(self.flushed, [table])
        return table

    def switch(self, policy: Policy, pace: Pace, now_s: float) -> Debt:
        """Another policy from now on; what the change is predicted to cost."""
        self._look(now_s)
        predicted = debt(self.shape, policy, block_bytes=BLOCK_BYTES)
        self.policy = policy
        self.shape = replace(self.shape, patient=pace == "lazy" and predicted.steps > 0)
        return predicted

    def step(self, now_s: float) -> Change | None:
        """Carry out the next task; None: settled. Raises InvalidArgumentError for a task that breaks the level rule."""
        self._look(now_s)
        task = next_task(self.policy, self.shape)
        return self._run(task) if task is not None else None

    def entries_of(self, table: int) -> Entries:
        """What a table holds."""
        return self._contents[table]

    def sizes(self) -> tuple[Levels, int]:
        """The sizes of all runs, and how many tombstones are in them. Runs that did not change are not counted again."""
        known, self._counted = self._counted, {}
        for level in self.shape.levels:
            for run in level.runs:
                self._counted[id(run)] = known.get(id(run)) or _counted(run)
        levels = tuple(tuple(self._counted[id(run)].size for run in level.runs) for level in self.shape.levels)
        return levels, sum(one.tombstones for one in self._counted.values())

    def _look(self, now_s: float) -> None:
        """Tell the shape the time."""
        self.shape = replace(self.shape, now_s=now_s)

    def _run(self, task: Task) -> Change:
        """Carry out one task as the engine does."""
        before = self.shape
        merged = input_tables(before, task)
        inputs = _inputs(before, task)
        self._arrivals = count_arrival(self._arrivals, before, task)
        if task.drops:
            after = apply(before, task)
            self._install(after, merged)
            return Change(task, "drop", inputs, None, None)
        joins = _position(before, task.output_level, task.output_run)
        move = is_move(before, task, merged)
        outputs = merged if move else self._merge(task, merged, bottom=not older_overlaps(before, task, merged))
        run = self._next_run if task.output_run is None else task.output_run
        after = apply(before, task, outputs, run)
        self._next_run += task.output_run is None
        self._install(after, [] if move else merged)
        where = _position(after, task.output_level, run)
        if move:
            return Change(task, "move", inputs, joins, where)
        _add(self.merged, outputs)
        return Change(
            task,
            "merge",
            inputs,
            joins,
            where,
            sum(t.bytes for t in merged),
            sum(t.entries for t in merged),
            sum(t.bytes for t in outputs),
            sum(t.entries for t in outputs),
        )

    def _merge(self, task: Task, merged: Sequence[TableMeta], *, bottom: bool) -> list[TableMeta]:
        """The tables that the inputs become."""
        newest_first = sorted(task.inputs, key=lambda one: (one.level, -one.run))
        parts = [self._contents[number] for one in newest_first for number in one.tables]
        kept = merge(parts, bottom=bottom)
        table_bytes = self.shape.table_bytes if task.output_level else None  # a run of level 0 is one table
        return [self._table(part, merged) for part in kept.cut(table_bytes, self._sizes)]

    def _table(self, entries: Entries, sources: Sequence[TableMeta] = ()) -> TableMeta:
        """A new table that holds ``entries``, merged from ``sources`` or, without any, flushed now."""
        number = self._next_table
        self._next_table += 1
        self._contents[number] = entries
        count, tombstones = len(entries), entries.tombstones
        raw_bytes = self._sizes.raw(count, tombstones)
        filter_bits = round(count * self._filter_bits_per_key)
        smallest, largest = key_bytes_of(int(entries.keys[0])), key_bytes_of(int(entries.keys[-1]))
        sources = [t for t in sources if t.smallest <= largest and t.largest >= smallest]
        now = self.shape.now_s
        return TableMeta(
            number=number,
            bytes=self._file_bytes(entries) if self._file_bytes is not None else raw_bytes + filter_bits // 8,
            entries=count,
            tombstones=tombstones,
            smallest=smallest,
            largest=largest,
            min_seq=int(entries.tags.min()) >> 1,
            max_seq=int(entries.tags.max()) >> 1,
            raw_bytes=raw_bytes,
            filter_bits=filter_bits,
            born_s=min((t.born_s for t in sources), default=now),
            newest_s=max((t.newest_s for t in sources), default=now),
            tombstone_s=min((t.tombstone_s for t in sources if t.tombstones), default=now) if tombstones else 0.0,
        )

    def _install(self, after: TreeShape, dead: Sequence[TableMeta]) -> None:
        """Show the new tree and forget what died; a lazy switch is over when nothing is owed any more."""
        patient = after.patient and debt(after, self.policy, block_bytes=BLOCK_BYTES).steps > 0
        self.shape = replace(after, buffer_entries=mean_arrival(self._arrivals), patient=patient)
        for table in dead:
            del self._contents[table.number]


def _counted(run: Run) -> _Counted:
    """Add up a run."""
    return _Counted(run, RunSize(run.bytes, run.entries, len(run.tables)), sum(t.tombstones for t in run.tables))


def _add(counts: Counts, tables: Sequence[TableMeta]) -> None:
    """Add tables to what was written."""
    counts.bytes += sum(t.bytes for t in tables)
    counts.entries += sum(t.entries for t in tables)


def _inputs(shape: TreeShape, task: Task) -> tuple[TaskInput, ...]:
    """What the task takes from each run, newest run first."""
    taken: list[TaskInput] = []
    for one in sorted(task.inputs, key=lambda one: (one.level, -one.run)):
        position = _position(shape, one.level, one.run)
        if position is None:
            msg = f"task takes from run {one.run} at level {one.level}, which is not there: {task.reason}"
            raise InvalidArgumentError(msg)
        tables = shape.levels[one.level].runs[position].tables
        taken_bytes = sum(t.bytes for t in tables if t.number in one.tables)
        taken.append(TaskInput(one.level, position, len(one.tables), len(tables), taken_bytes))
    return tuple(taken)


def _position(shape: TreeShape, level: int, run: int | None) -> int | None:
    """The place of a run in its level, 0: newest; None where it is not there."""
    if run is None or level >= len(shape.levels):
        return None
    return next((at for at, one in enumerate(shape.levels[level].runs) if one.id == run), None)
