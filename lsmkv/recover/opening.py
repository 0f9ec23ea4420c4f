"""Opening a directory: lock it, read what the manifest says, remove what nobody names, replay the logs.

After it the directory is as a clean close would leave it: replayed entries are in durable tables, one edit of the manifest says
so, old logs are gone. Nothing is appended to an old log, so a damaged tail is never built upon. Only files with names that the
engine gives (:mod:`lsmkv.base.filenames`) are read or removed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from lsmkv.base.events import EventLog
from lsmkv.base.filenames import Kind, parse_name
from lsmkv.base.ledger import Ledger
from lsmkv.base.status import STATUS, StatusFile
from lsmkv.cache.blockcache import BlockCache
from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.fs import FileLock, FileSystem, make_durable_dir
from lsmkv.env.posix import PosixFileSystem
from lsmkv.env.rng import seeded
from lsmkv.errors import CorruptionError, InvalidArgumentError, io_failed
from lsmkv.live.batches import memtables_of
from lsmkv.live.core import Core, wal_path
from lsmkv.live.snapshots import SnapshotRegistry
from lsmkv.live.state import ReadState, StateBox, View
from lsmkv.live.tables import TableCache, table_path
from lsmkv.maintain.build import withdraw
from lsmkv.maintain.flush import memtable_to_table
from lsmkv.maintain.install import install, remove_logs_below
from lsmkv.maintain.switching import planned, switch_event, tell_if_done
from lsmkv.memtable import new_memtable
from lsmkv.options import Options
from lsmkv.policy.base import Policy
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.registry import describe_policy, from_description
from lsmkv.policy.transition import TransitionReport
from lsmkv.recover.orphans import unexplained
from lsmkv.recover.replay import Replayed, replay
from lsmkv.version.edit import VersionEdit
from lsmkv.version.manifest import Manifest, ManifestState
from lsmkv.version.rangedeletes import RangeDelete
from lsmkv.version.shape import TableMeta

__all__ = ["Opened", "open_store"]

MANIFEST = "MANIFEST"
LOCK = "LOCK"


@dataclass(frozen=True, slots=True)
class Opened:
    """An open store without its write path."""

    core: Core
    lock: FileLock
    last_seq: int
    report: tuple[str, ...]
    """What recovery found worth telling (dropped log tails, removed files)."""

    def release(self) -> None:
        """Let go of files and, last, of the lock. IOFailedError if something could not be closed; the rest is."""
        failed: OSError | None = None
        logs, status = (self.core.events, self.core.journal), self.core.status
        for let_go in (
            *(log.close for log in logs if log is not None),
            *([status.remove] if status is not None else []),
            self.core.manifest.close,
            self.core.tables.clear,
            self.lock.release,
        ):
            try:
                let_go()
            except OSError as error:
                failed = failed or error
        if failed is not None:
            raise io_failed("close", self.core.path, failed) from failed


def open_store(path: str, options: Options) -> Opened:
    """Open or create the store at ``path``.

    Raises LockedError, CorruptionError (naming file and offset), FormatTooNewError, IOFailedError, InvalidArgumentError
    when there is no store and ``create`` is off. Whatever fails, the lock is given back and no committed entry is lost; files
    that nothing names any more may be gone already, and replayed entries may be in tables as well as in their logs.

    I/O: the manifest and the logs once; writes tables if the logs held entries, appends one edit to the manifest (synced);
    one sync of the directory if there is anything to replay or to remove.
    """
    fs: FileSystem = options.fs if options.fs is not None else PosixFileSystem()
    clock: Clock = options.clock if options.clock is not None else SystemClock()
    try:
        exists = fs.exists(f"{path}/{MANIFEST}")
        if not exists and not options.create:
            msg = f"{path} holds no lsmkv store (no {MANIFEST} there) and Options.create is off"
            raise InvalidArgumentError(msg)
        if fs.exists(path) and not fs.isdir(path):
            msg = f"{path} is a file: a store is a directory"
            raise InvalidArgumentError(msg)
        make_durable_dir(fs, path)
        lock = fs.lock(f"{path}/{LOCK}")
    except OSError as error:
        raise io_failed("open", path, error) from error
    try:
        return _open_locked(fs, clock, path, options, lock)
    except OSError as error:
        lock.release()
        raise io_failed("open", path, error) from error
    except BaseException:
        lock.release()
        raise


def _open_locked(fs: FileSystem, clock: Clock, path: str, options: Options, lock: FileLock) -> Opened:
    """The rest of opening, with the lock held."""
    manifest, state, policy, created = _manifest(fs, path, options)
    try:
        core, replayed, report = _assembled(fs, clock, path, options, (manifest, state, policy))
        last_seq = _settle_logs(core, replayed, state.last_seq, created=created)
    except BaseException:
        with suppress(OSError):  # the failure before it tells more
            manifest.close()
        raise
    return Opened(core, lock, last_seq, tuple(report))


def _assembled(
    fs: FileSystem, clock: Clock, path: str, options: Options, read: tuple[Manifest, ManifestState, Policy]
) -> tuple[Core, Replayed, list[str]]:
    """The parts of the store as they were found, what its logs hold, and what is worth telling."""
    manifest, state, policy = read
    for table in state.shape.tables:
        _check_present(fs, path, table)
    logs = sorted(number for number in _numbered(fs, path, "wal") if number >= state.wal_floor)
    replayed = replay(fs, path, logs, state.last_seq)
    report = [*_tidy(fs, path, state, logs, replayed), *replayed.report]
    ledger = Ledger(state.ledger, manifest.counts)
    ledger.wal.reads, ledger.wal.read_bytes = len(logs), replayed.read_bytes
    taken = [found.number for name in fs.listdir(path) if (found := parse_name(name))]
    first = max([state.next_file, *(number + 1 for number in taken)])
    rng = options.rng if options.rng is not None else seeded()
    cache = BlockCache(options.block_cache_bytes, seeded().getrandbits(64)) if options.block_cache_bytes else None
    view = View(state.shape)
    core = Core(
        fs=fs,
        path=path,
        options=options,
        policy=policy,
        clock=clock,
        rng=rng,
        ledger=ledger,
        cache=cache,
        tables=TableCache(fs, path, cache, ledger, options.max_open_tables, options.hash_column_bytes),
        manifest=manifest,
        state=state,
        numbers=itertools.count(first),
        box=StateBox(ReadState(new_memtable(options.memtable, rng), (), view, 0).ranged()),
        snapshots=SnapshotRegistry(),
        transition=TransitionReport.from_dict(state.transition) if state.transition else None,
        events=EventLog(fs, path, clock) if options.event_log else None,
        status=StatusFile(fs, path) if options.status_interval_s is not None else None,
    )
    core.tables.place(state.as_edit().added)
    return core, replayed, report


def _manifest(fs: FileSystem, path: str, options: Options) -> tuple[Manifest, ManifestState, Policy, bool]:
    """The manifest of an existing store, or a first one for an empty directory; its policy, and whether it is the first."""
    created = not fs.exists(f"{path}/{MANIFEST}")
    if not created:
        manifest, state = Manifest.load(fs, path)
        try:
            policy = options.policy if options.policy is not None else from_description(state.policy)
        except BaseException:
            manifest.close()
            raise
    else:
        strays = _numbered(fs, path, "sst") | _numbered(fs, path, "wal")
        if strays:
            what = f"missing, but the directory holds {len(strays)} tables or logs (lsmkv.repair makes a new one of them)"
            raise CorruptionError(f"{path}/{MANIFEST}", -1, what)
        policy = options.policy if options.policy is not None else Leveled()
        state = ManifestState(policy=describe_policy(policy))
        manifest = Manifest.create(fs, path, state)
    shape = replace(state.shape, level0_runs=options.level0_runs)
    return manifest, replace(state, shape=shape), policy, created


def _switched(core: Core) -> TransitionReport | None:
    """The transition that opening with another policy than the recorded one begins; None if it is the same."""
    recorded = core.state.policy
    try:
        same = recorded == describe_policy(core.policy) or from_description(recorded) == core.policy
    except InvalidArgumentError:  # one that only another version, or another program, knows
        same = False
    return None if same else planned(core, recorded, core.policy, "greedy")


def _numbered(fs: FileSystem, path: str, kind: Kind) -> set[int]:
    """Numbers of the tables or of the logs in a directory."""
    found = [(name, parse_name(name)) for name in fs.listdir(path)]
    return {file.number for name, file in found if file and file.kind == kind and not fs.isdir(f"{path}/{name}")}


def _tidy(fs: FileSystem, path: str, state: ManifestState, logs: Sequence[int], replayed: Replayed) -> list[str]:
    """Remove unfinished and orphaned files; what is worth telling.

    Call with every named table there: where one is missing, a file that nobody names may be what is left of it, and a repair
    wants it. Raises CorruptionError, and removes nothing, if a table holds what nobody else knows of.
    """
    report: list[str] = []
    orphans = sorted(_numbered(fs, path, "sst") - {t.number for t in state.shape.tables})
    for found in unexplained(fs, path, state, orphans, logs, replayed.batches):
        raise CorruptionError(found.file, found.offset, found.what)
    if fs.exists(f"{path}/{MANIFEST}.tmp"):
        fs.unlink(f"{path}/{MANIFEST}.tmp")
    with suppress(OSError):  # the last words of a writer that died; they never matter
        fs.unlink(f"{path}/{STATUS}")
    for number in orphans:
        fs.unlink(table_path(path, number))
        report.append(f"removed {table_path(path, number)}: an unfinished flush or compaction")
    for number in sorted(_numbered(fs, path, "wal")):
        if number < state.wal_floor:
            fs.unlink(wal_path(path, number))
    if orphans or replayed.batches:
        fs.sync_dir(path)  # no orphan may come back when its log is gone; no table may be there while its log is not
    return report


def _check_present(fs: FileSystem, path: str, table: TableMeta) -> None:
    """Raise CorruptionError unless a named table is there at its size."""
    file = table_path(path, table.number)
    if not fs.exists(file):
        raise CorruptionError(file, -1, "the manifest names this table, but it is missing")
    size = fs.size(file)
    if size != table.bytes:
        raise CorruptionError(file, min(size, table.bytes), f"table has {size} bytes, the manifest says {table.bytes}")


def _settle_logs(core: Core, replayed: Replayed, last_seq: int, *, created: bool) -> int:
    """Put replayed batches into tables and make that official in one edit, with the policy; the last sequence number."""
    report = _switched(core)  # before anything is written: it may refuse the policy
    tables: list[TableMeta] = []
    deletes: list[RangeDelete] = []
    try:
        for mem, ranges in memtables_of(replayed.batches, core.new_mem, core.options.memtable_bytes):
            tables += memtable_to_table(core, mem)
            deletes += ranges
        last_seq = max([last_seq, *(batch.first_seq + len(batch.keys) - 1 for batch in replayed.batches)])
        floor = next(core.numbers)
        with core.install_lock:
            run = core.state.next_run
            if report is not None:
                core.ledger.note_switch()
            edit = VersionEdit(
                added=tuple((0, run + i, table) for i, table in enumerate(tables)),
                wal_floor=floor,
                next_run=run + len(tables),
                last_seq=last_seq,
                policy=describe_policy(core.policy),
                transition=report.to_dict() if report is not None else None,
                ledger=core.ledger.record() if report is not None else None,
            )
            install(core, edit, deletes=tuple(deletes))
            core.transition = report if report is not None else core.transition
            _tell(core, report, created=created)
    except BaseException:
        withdraw(core, [table.number for table in tables])
        raise
    remove_logs_below(core, floor)
    return last_seq


def _tell(core: Core, report: TransitionReport | None, *, created: bool) -> None:
    """Note the opening in the event log."""
    level0_runs, policy = core.options.level0_runs, core.state.policy
    core.note("open", {"version": 1, "policy": policy, "level0_runs": level0_runs, "created": created})
    if report is not None:
        core.note("switch", switch_event(report))
        tell_if_done(core, report)
