"""Loading sorted data: tables are built straight from what is given, then shown in one edit of the manifest.

Nothing of it passes the log or a memtable. While tables are written, writes and snapshots go on; the load takes its place in the
order of commits when it is installed: it is newer than every write before, a snapshot taken before does not see it.

Numbers. Entries carry sequence numbers, and the tables are written before that moment. So a load takes numbers ``GAP`` above the
newest, and when it is installed the count of commits jumps there. A log must not have a hole, so before that everything in
memory goes to tables: then no log holds entries from before the jump, and everything committed before is as durable as the load.

Exclusion. While it is placed and installed no write commits and no compaction runs (:meth:`Upkeep.alone`): a merge whose output
spans the keys of the load could otherwise end up in the run that it joins. A crash, Ctrl-C or a failure before the edit leaves
tables that nobody names: removed here, or by the next opening.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from operator import lt

import numpy as np

from lsmkv.arguments import checked_iter_of_pairs
from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.base.keys import MAX_SEQ, PUT
from lsmkv.errors import BusyError, InvalidArgumentError
from lsmkv.framing import Frame, frames_of_pairs
from lsmkv.live.core import Core
from lsmkv.maintain.build import Part, Plan, build_tables, withdraw
from lsmkv.maintain.compact import run_task
from lsmkv.maintain.install import install
from lsmkv.maintain.look import due_task, seen_shape
from lsmkv.policy.loading import Place, make_way, place
from lsmkv.policy.ranges import deepest_level
from lsmkv.version.edit import VersionEdit
from lsmkv.version.shape import TableMeta
from lsmkv.version.version import apply_edit
from lsmkv.write.commit import Committer

__all__ = ["GAP", "LoadReport", "build", "install_load", "needs_way", "report_of", "withdrawn_on_failure"]

GAP = 1 << 34
"""Commits that may happen while a load is written: five hours at a million a second. Four million loads use up all numbers."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did."""

    entries: int
    raw_bytes: int
    """Of keys and values."""
    tables: int
    bytes: int
    """Of the table files."""
    level: int | None
    """Where in the tree it is; None: there was nothing to load."""

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return asdict(self)


def build(core: Core, pairs: Iterable[tuple[bytes, bytes]], first_seq: int) -> list[TableMeta]:
    """Durable tables of ``pairs``, numbered from ``first_seq`` on; on any failure, none.

    Raises InvalidArgumentError naming the position of a pair that is none or does not sort after the one before, IOFailedError,
    NoSpaceError, ClosedError when the store closes meanwhile; whatever ``pairs`` raises.

    I/O: one sync of the directory; writes the tables, one fdatasync each.
    """
    core.check_poison()
    core.name_logs()
    now, counts, options = core.clock.now(), core.ledger.load, core.options
    plan = Plan(
        level=deepest_level(core.state.shape),
        table_bytes=options.table_bytes,
        filter_bits_per_key=options.filter_bits_per_key,
        stamped=lambda table: replace(table, born_s=now, newest_s=now),
        counts=counts,
        work=None,
    )
    return build_tables(core, _parts(pairs, first_seq), plan)


def _parts(pairs: Iterable[tuple[bytes, bytes]], seq: int) -> Iterator[Part]:
    """The pairs as columns, as they come."""
    start, last = 0, None
    for frame in _frames(pairs):
        keys, n = _in_order(frame, start, last), len(frame[0])
        last = keys[-1]
        if seq + n > MAX_SEQ:
            raise InvalidArgumentError("the sequence numbers of this store are used up: load into a new one")
        tags = np.arange(seq, seq + n, dtype=np.uint64) << np.uint64(8) | np.uint64(PUT)
        values = [value for value in frame[1] if value is not None]
        yield Columns(ByteColumn.from_list(keys), tags, ByteColumn.from_list(values)), False
        seq += n
        start += n


def _frames(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[Frame]:
    """Frames of the pairs; an error names the position of the pair that is none. What the iterable raises is its own affair."""
    drawn, drawing = 0, False

    def counted() -> Iterator[tuple[bytes, bytes]]:
        """The pairs, one by one."""
        nonlocal drawn, drawing
        drawing = True
        for pair in given:
            drawn, drawing = drawn + 1, False
            yield pair
            drawing = True
        drawing = False

    if isinstance(pairs, list | tuple):
        with suppress(InvalidArgumentError):  # the fast way; whatever is wrong is found again below, with its place
            checked = 0
            for frame in frames_of_pairs(pairs):
                checked += len(frame[0])
                yield frame
            return
        pairs, drawn = pairs[checked:], checked
    given = checked_iter_of_pairs(pairs)
    try:
        yield from frames_of_pairs(counted())
    except InvalidArgumentError as error:
        if drawing:
            raise
        raise InvalidArgumentError(f"pair {drawn - 1} (counted from 0): {error}. Nothing was loaded") from error


def _in_order(frame: Frame, start: int, last: bytes | None) -> list[bytes]:
    """The keys of a frame, if they ascend and the first sorts after ``last``; ``start`` is the position of the first."""
    keys = list(frame[0])
    before = [last, *keys] if last is not None else keys
    if all(map(lt, before, islice(before, 1, None))):
        return keys
    shift = len(before) - len(keys)
    at = next(i for i in range(1, len(before)) if before[i - 1] >= before[i])
    how = "is the same as" if before[at - 1] == before[at] else "sorts before"
    what = f"key {_short(before[at])} {how} the key before it, {_short(before[at - 1])}"
    raise InvalidArgumentError(
        f"pair {start + at - shift} (counted from 0): {what}; keys must ascend strictly. Nothing was loaded"
    )


def _short(key: bytes) -> str:
    """A key for a message."""
    return repr(key) if len(key) <= 48 else f"{key[:48]!r}..."


def needs_way(core: Core, tables: list[TableMeta]) -> bool:
    """Whether level 0 has to be merged away first."""
    return _place(core, tables) is None


def _place(core: Core, tables: list[TableMeta]) -> Place | None:
    """Where they go now."""
    shape = core.state.shape
    room = core.options.slowdown_runs - len(shape.levels[0].runs) - len(tables)
    return place(shape, tables[0].smallest, tables[-1].largest, core.policy, room)


def install_load(core: Core, committer: Committer, tables: list[TableMeta], flush: Callable[[], None]) -> int:
    """Show the tables of a load, and return their level (no write commits and no compaction runs: :meth:`Upkeep.alone`).

    ``flush`` puts everything in memory into tables.

    I/O: one manifest edit, and what ``flush`` does; rarely a merge of level 0.
    """
    flush()
    if needs_way(core, tables):
        run_task(core, make_way(seen_shape(core)))
    at = _place(core, tables)
    assert at is not None
    if committer.last_seq >= tables[0].min_seq:
        raise BusyError(f"{GAP} writes were committed while this load was written: load while less is going on")
    with core.install_lock:
        edit = _edit(core, tables, at)
        _check_policy(core, edit)
        try:
            committer.jump(tables[-1].max_seq, lambda: _show(core, edit))
        except BaseException as error:
            if core.state.last_seq >= tables[-1].max_seq:  # Ctrl-C behind the edit: it shows, but may not be counted
                core.poisoned(error)
            raise
        core.note("load", report_of(tables, at.level).to_dict())
    core.ledger.load.tasks += 1
    return at.level


def _show(core: Core, edit: VersionEdit) -> None:
    """Install the edit, and begin a memtable: who reads a state from before must not find in it what is written afterwards."""
    install(core, edit)
    with core.box.lock:
        now = core.box.current
        if now is not None:
            core.box.swap(now._replace(mem=core.new_mem()))


def _edit(core: Core, tables: list[TableMeta], at: Place) -> VersionEdit:
    """The one edit."""
    run = core.state.next_run
    if at.level == 0:
        added = tuple((0, run + i, table) for i, table in enumerate(tables))
        return VersionEdit(added=added, next_run=run + len(tables), last_seq=tables[-1].max_seq)
    joined = at.run if at.run is not None else run
    added = tuple((at.level, joined, table) for table in tables)
    return VersionEdit(added=added, next_run=run + (at.run is None), last_seq=tables[-1].max_seq)


def _check_policy(core: Core, edit: VersionEdit) -> None:
    """Refuse a load that the policy cannot go on from."""
    after = replace(seen_shape(core), levels=apply_edit(core.state, edit).shape.levels)
    try:
        due_task(core.policy, after)
    except Exception as error:
        raise InvalidArgumentError(f"policy {core.policy!r} fails on the tree with what was loaded: {error!r}") from error


@contextmanager
def withdrawn_on_failure(core: Core, tables: list[TableMeta]) -> Iterator[None]:
    """Take the tables of a load away again if it does not come about."""
    try:
        yield
    except BaseException:
        withdraw(core, [table.number for table in tables])
        raise


def report_of(tables: list[TableMeta], level: int | None) -> LoadReport:
    """The report of a load."""
    return LoadReport(
        entries=sum(t.entries for t in tables),
        raw_bytes=sum(t.raw_bytes for t in tables),
        tables=len(tables),
        bytes=sum(t.bytes for t in tables),
        level=level,
    )
