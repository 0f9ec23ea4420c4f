"""Running one compaction task: read the inputs in order, merge, write, install.

Which tables to merge is the policy's business (:mod:`lsmkv.policy`); here is how. Entries that nobody can see any more are
dropped on the way: versions shadowed by a newer one, what range deletes cover, and tombstones when nothing older lies below,
all only as far as no snapshot needs them (LevelDB's rule). A run that meets nothing at its target only changes its level; a
task that drops its inputs writes nothing and waits for snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from lsmkv.base.columns import Columns
from lsmkv.base.counters import WorkCounters
from lsmkv.live.core import Core
from lsmkv.maintain.apart import merge_apart
from lsmkv.maintain.build import Part, Plan, build_tables, withdraw
from lsmkv.maintain.filters import bits_per_key
from lsmkv.maintain.helper import Job
from lsmkv.maintain.install import install
from lsmkv.maintain.look import seen_shape
from lsmkv.maintain.spend import spend
from lsmkv.maintain.switching import paid, tell_if_done
from lsmkv.maintain.telling import compaction_event
from lsmkv.policy.apply import check_task, count_arrival, input_tables
from lsmkv.policy.base import Task
from lsmkv.policy.ranges import is_move, older_overlaps
from lsmkv.read.merge import merge_streams, uncovered, visible
from lsmkv.version.edit import VersionEdit
from lsmkv.version.shape import TableMeta

__all__ = ["run_task"]

SLICE_BYTES = 1 << 20
"""Bytes merged at once: bounds memory and how long NumPy works between two looks at the clock."""

FEWEST_BYTES = 64 << 10
"""Bytes read at once of each run; runs share SLICE_BYTES as long as that leaves more."""


def run_task(core: Core, task: Task, *, by_hand: bool = False) -> bool:
    """Carry out one task; False if it would drop what a snapshot reads, and nothing was done.

    What a task takes from level 0 is an arrival that shapes the levels, unless it is a chore.

    Raises InvalidArgumentError for a task that would break the level rule, CorruptionError when an input is damaged,
    IOFailedError, NoSpaceError; the outputs are then removed and the tree is as before.

    I/O: reads every input once, writes every output once, one manifest edit; a move or a drop is the edit only.
    """
    core.check_poison()
    shape = seen_shape(core)
    check_task(shape, task)
    merged = input_tables(shape, task)
    counts = core.ledger.level(task.output_level).merges
    if task.drops:
        return _drop(core, task, merged)
    if is_move(shape, task, merged):
        with core.install_lock:
            _install(core, task, merged, merged, by_hand=by_hand, moved=True)
        counts.moves += len(merged)
        core.work.moves += len(merged)
        return True
    outputs = _merge(core, task, merged, bottom=not older_overlaps(shape, task, merged), by_hand=by_hand)
    try:
        with core.install_lock:
            _install(core, task, merged, outputs, by_hand=by_hand)
    except BaseException:
        withdraw(core, [t.number for t in outputs])
        core.tables.stay(t.number for t in merged)
        raise
    counts.tasks += 1
    core.work.compactions += 1
    core.work.read_bytes += sum(t.bytes for t in merged)
    core.work.written_bytes += sum(t.bytes for t in outputs)
    return True


def _merge(core: Core, task: Task, merged: list[TableMeta], *, bottom: bool, by_hand: bool) -> list[TableMeta]:
    """The inputs as new tables."""
    counts = core.ledger.level(task.output_level).merges
    newest_first = sorted(task.inputs, key=lambda one: (one.level, -one.run))
    chunk_bytes = max(SLICE_BYTES // len(newest_first), FEWEST_BYTES)
    streams = [_read_run(core, [t for t in merged if t.number in one.tables], chunk_bytes, counts) for one in newest_first]
    entries = sum(t.entries for t in merged)
    gone = {t.number for t in merged}
    sweep = _Sweep(core)
    plan = Plan(
        level=task.output_level,
        table_bytes=core.options.table_bytes if task.output_level else None,  # a run of level 0 is one table
        filter_bits_per_key=bits_per_key(core, task.output_level, entries, gone, task.output_run, at_rest=by_hand),
        stamped=lambda table: replace(_stamped(table, merged), swept=sweep.upto),
        counts=counts,
    )
    if not sweep.ranges:
        job = Job(
            path=core.path,
            inputs=tuple(tuple(t.number for t in merged if t.number in one.tables) for one in newest_first),
            chunk_bytes=chunk_bytes,
            slice_bytes=SLICE_BYTES,
            snapshots=tuple(core.snapshots.numbers()),
            bottom=bottom,
            level=plan.level,
            table_bytes=plan.table_bytes,
            filter_bits_per_key=plan.filter_bits_per_key,
            block_bytes=core.options.block_bytes,
            compression=core.options.compression_at(plan.level),
            finders=None,
        )
        apart = merge_apart(core, job, merged)
        if apart is not None:
            return [plan.stamped(table) for table in apart]
    tables = build_tables(core, _kept(core, merge_streams(streams, SLICE_BYTES), sweep, bottom=bottom), plan)
    core.helping.done_here()
    return tables


class _Sweep:
    """What range deletes take out of a merge: those of the manifest when it began, as far as no snapshot is in the way."""

    def __init__(self, core: Core) -> None:
        self._work = core.work
        self.ranges = core.state.shape.ranges
        self.upto = self.ranges.newest
        """No entry that a range delete up to this number covers has passed."""

    def through(self, part: Columns, snapshots: list[int]) -> Columns:
        """A part without what is covered."""
        if not self.ranges:
            return part
        self.upto = min([self.upto, *snapshots[:1]])
        left = uncovered(part, self.ranges, snapshots)
        self._work.range_deleted += len(part) - len(left)
        return left


def _kept(core: Core, parts: Iterator[Columns], sweep: _Sweep, *, bottom: bool) -> Iterator[Part]:
    """What somebody may still read."""
    for part in parts:
        snapshots = core.snapshots.numbers()
        yield visible(sweep.through(part, snapshots), snapshots, bottom=bottom), bool(snapshots)


def _read_run(core: Core, tables: list[TableMeta], chunk_bytes: int, counts: WorkCounters) -> Iterator[Columns]:
    """The entries of disjoint tables in key order, within the limit on background reading."""
    read = counts.read_bytes
    for columns in chain.from_iterable(core.tables.stream(table.number, chunk_bytes, counts) for table in tables):
        spend(core, "compact", counts.read_bytes - read)
        yield columns
        read = counts.read_bytes


def _stamped(table: TableMeta, merged: list[TableMeta]) -> TableMeta:
    """An output with the times of the inputs that may have given it entries."""
    sources = [t for t in merged if t.smallest <= table.largest and t.largest >= table.smallest]
    deleted = min((t.tombstone_s for t in sources if t.tombstones), default=0.0) if table.tombstones else 0.0
    return replace(table, born_s=min(t.born_s for t in sources), newest_s=max(t.newest_s for t in sources), tombstone_s=deleted)


def _install(
    core: Core, task: Task, removed: list[TableMeta], added: list[TableMeta], *, by_hand: bool = False, moved: bool = False
) -> None:
    """Replace the inputs by the outputs, in one edit with what that paid of a transition (install lock held)."""
    before = core.state
    run = before.next_run if task.output_run is None else task.output_run
    edit = VersionEdit(
        added=tuple((task.output_level, run, t) for t in added),
        removed=tuple(t.number for t in removed),
        next_run=before.next_run + (task.output_run is None),
        arrivals=count_arrival(before.arrivals, before.shape, task),
    )
    report = paid(core, task, edit)
    if report is not None:
        edit = replace(edit, transition=report.to_dict())
    if task.drops:
        if not core.snapshots.if_none(lambda: install(core, edit)):
            raise _ReadError
    else:
        install(core, edit)
    by = "compact" if by_hand else "policy"
    if report is not None:
        core.transition = report
    core.note("compaction", compaction_event(before.shape, core.state.shape, task, added, run=run, moved=moved, by=by))
    tell_if_done(core, report)


class _ReadError(Exception):
    """Somebody reads what was to be dropped."""


def _drop(core: Core, task: Task, merged: list[TableMeta]) -> bool:
    """Let go of tables as they are; False if some snapshot reads them."""
    ranges = core.state.shape.ranges
    try:
        with core.install_lock:
            _install(core, task, merged, [])
    except _ReadError:
        return False
    for one in task.inputs:
        core.ledger.level(one.level).merges.drops += len(one.tables)
    core.work.range_deleted += sum(t.entries for t in merged if ranges.hides(t.smallest, t.largest, t.max_seq))
    return True
