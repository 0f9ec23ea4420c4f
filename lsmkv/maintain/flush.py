"""Flush: the oldest full memtable becomes a table at level 0."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lsmkv.base.pauses import UNMINDED, Pause
from lsmkv.live.core import Core
from lsmkv.live.state import Immutable
from lsmkv.maintain.build import Part, Plan, build_tables, withdraw
from lsmkv.maintain.filters import bits_per_key
from lsmkv.maintain.install import install
from lsmkv.maintain.telling import flush_event
from lsmkv.memtable import Memtable
from lsmkv.read.merge import visible
from lsmkv.version.edit import VersionEdit
from lsmkv.version.shape import TableMeta

__all__ = ["flush_oldest", "memtable_to_table"]

PART_BYTES = 2 << 20
"""Of keys and values that are gathered, framed and written at once. Each step of that asks for the interpreter, and a writer has
to wake up for it again: small parts cost him more than they save in the processor's cache."""


def memtable_to_table(core: Core, mem: Memtable, deleted_s: float = 0.0) -> list[TableMeta]:
    """Write what snapshots and readers may still need of a memtable as one level-0 table (none if it is empty).

    ``deleted_s``: when the first deletion in it was written, if that is known (else: now). Tombstones stay: older versions may
    lie below. I/O: writes one table, one fdatasync.
    """
    snapshots = core.snapshots.numbers()
    courtesy = pause = UNMINDED
    if core.options.compression_at(0) == "none":  # else blocks are made one by one, for which writers would wait long
        courtesy, pause = core.courtesy, core.courtesy.pause
    with courtesy:
        rows = mem.rows(pause)
        if rows is not None:  # each key once, and no tombstone: nothing to drop, no versions of a key to keep together
            parts = ((part, False) for part in rows.parts(PART_BYTES))
            return _written(core, mem, deleted_s, parts, len(rows), pause)
    columns = visible(mem.columns(), snapshots, bottom=False)
    return _written(core, mem, deleted_s, [(columns, bool(snapshots))], len(columns), UNMINDED)


def _written(core: Core, mem: Memtable, deleted_s: float, stream: Iterable[Part], entries: int, pause: Pause) -> list[TableMeta]:
    """The table of these entries, which are those of ``mem``."""
    now, counts = core.clock.now(), core.ledger.flush
    plan = Plan(
        level=0,
        table_bytes=None,
        filter_bits_per_key=bits_per_key(core, 0, entries),
        stamped=lambda table: replace(
            table, born_s=now, newest_s=now, tombstone_s=(deleted_s or now) if table.tombstones else 0.0
        ),
        counts=counts,
        work="flush",
        pause=pause,
    )
    tables = build_tables(core, stream, plan)
    counts.tasks += 1
    counts.read_entries += mem.entries
    return tables


def flush_oldest(core: Core) -> int | None:
    """Flush one memtable; the number of the oldest log still needed, or None if none was waiting.

    The table, the range deletes of its log and the new floor of the logs become official in one edit: a log is never
    replayed over its own table. The log's name is durable before its table is begun, so that after a crash a table without
    its log tells of an old manifest.

    I/O: writes one table, one manifest edit; before the first flush, and where range deletes are all there is to flush, one sync
    of the directory.
    """
    state = core.box.current
    if state is None or not state.imms:
        return None
    core.check_poison()
    oldest: Immutable = state.imms[-1]
    floor = state.imms[-2].wal_number if len(state.imms) > 1 else state.wal_number
    if oldest.wal_number >= core.logs_named or not oldest.mem.entries:  # an edit without tables makes no names durable
        core.name_logs()
        core.logs_named = floor + 1
    tables = memtable_to_table(core, oldest.mem, oldest.deleted_s)
    try:
        with core.install_lock:
            run = core.state.next_run
            last_seq = max([core.state.last_seq, *(t.max_seq for t in tables), *(one.seq for one in oldest.ranges)])
            if len(tables) == 1:
                core.tables.keep(tables[0], oldest.mem.newest, oldest.mem.bytes)
            added = tuple((0, run + i, t) for i, t in enumerate(tables))
            edit = VersionEdit(added=added, wal_floor=floor, next_run=run + len(tables), last_seq=last_seq)
            install(core, edit, flushed=frozenset([oldest.wal_number]), deletes=oldest.ranges)
            core.logs_named = floor + 1 if tables else core.logs_named  # new names of tables: the edit synced the directory
            core.note("flush", flush_event(tables))
    except BaseException:
        withdraw(core, [t.number for t in tables])
        raise
    core.work.flushes += 1
    core.work.flush_bytes += sum(t.bytes for t in tables)
    return floor
