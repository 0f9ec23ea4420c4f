"""What is wrong with a directory, and what a repair would make of it. Nothing is changed here.

With a manifest that can be believed, the tree stays as it is: a damaged table gives its place to what is left of it, a lost
one leaves. Without one the tree is made of the tables alone (:mod:`lsmkv.recover.arrange`). Logs are left to opening if it
can replay them; if not, or if there is no manifest to say which ones count, their commits become a table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from posixpath import join

from lsmkv.base.filenames import Kind, parse_name
from lsmkv.base.problem import Problem
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError
from lsmkv.live.batches import range_deletes
from lsmkv.recover.arrange import groups
from lsmkv.recover.repair_report import Loss, ManifestFate, Range
from lsmkv.recover.replay import replay
from lsmkv.recover.salvage import Judged, judge, written_as
from lsmkv.recover.salvage_logs import SalvagedLogs, live_chain, salvage_logs
from lsmkv.recover.shreds import recorded_deletes, recorded_policy
from lsmkv.recover.survivors import Source, holds_entries, log_source, table_source
from lsmkv.version.journal import read_manifest
from lsmkv.version.rangedeletes import RangeDelete
from lsmkv.version.rules import check_level_rule
from lsmkv.version.shape import TableMeta
from lsmkv.version.state import ManifestState

__all__ = ["Diagnosis", "Job", "Tally", "diagnose", "numbered"]

MANIFEST = "MANIFEST"
MISSING_TABLES = (
    "without its manifest a store does not know which tables it had: of those missing altogether nothing is told, and one that "
    "had been replaced already may be back, with values deleted since"
)


@dataclass(frozen=True, slots=True)
class Job:
    """A table to be written from surviving entries (several, if they are many and have no place given)."""

    sources: tuple[Source, ...]
    slot: tuple[int, int, TableMeta | None] | None = None
    """(level, run id, the table it replaces); None: wherever the level rule lets it."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts for the report; see :class:`~lsmkv.recover.repair_report.RepairReport`."""

    found: int = 0
    sound: int = 0
    salvaged: int = 0
    missing: int = 0
    entries_sound: int = 0
    entries_salvaged: int = 0
    entries_replayed: int = 0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, and what to do about it."""

    manifest: ManifestFate
    state: ManifestState
    """The recorded one, or an empty one."""
    removed: tuple[int, ...]
    """Tables of the recorded tree that leave it."""
    kept: tuple[TableMeta, ...]
    """Tables of no recorded tree that stay as they are."""
    jobs: tuple[Job, ...]
    settled: bool
    """What the logs give is in a table: none is needed any more."""
    last_seq: int
    findings: tuple[Problem, ...]
    losses: tuple[Loss, ...]
    doubts: tuple[str, ...]
    deletions_lost: bool
    tally: Tally
    deletes: tuple[RangeDelete, ...] = ()
    """Range deletes that the new manifest must hold beside those of ``state``: of logs, and of a manifest that is given up."""


def diagnose(fs: FileSystem, path: str, *, rebuild: bool) -> Diagnosis:
    """Look at every file of the store at ``path``; ``rebuild``: as if it had no manifest.

    Raises FormatTooNewError, IOFailedError, InvalidArgumentError. I/O: reads every file once, damaged ones and logs up to
    three times.
    """
    manifest = join(path, MANIFEST)
    if rebuild:
        return _from_tables(fs, path, Problem(manifest, -1, "is left out of account, as asked"))
    if not fs.exists(manifest):
        return _from_tables(fs, path, Problem(manifest, -1, "missing"))
    try:
        state = read_manifest(fs, path).state
        check_level_rule(state.shape)
    except CorruptionError as error:
        return _from_tables(fs, path, Problem(manifest, error.offset, error.what))
    return _from_manifest(fs, path, state)


def numbered(fs: FileSystem, path: str, kind: Kind) -> list[int]:
    """Numbers of the tables or of the logs in a directory, ascending. I/O: one listing, one stat each."""
    found = [(name, parse_name(name)) for name in fs.listdir(path)]
    return sorted(file.number for name, file in found if file and file.kind == kind and not fs.isdir(join(path, name)))


# with a manifest


def _from_manifest(fs: FileSystem, path: str, state: ManifestState) -> Diagnosis:
    """The recorded tree without what is lost."""
    places = {t.number: (i, run.id, t) for i, level in enumerate(state.shape.levels) for run in level.runs for t in run.tables}
    there = numbered(fs, path, "sst")
    judged = {number: judge(fs, join(path, f"{number:06d}.sst")) for number in sorted(places) if number in there}
    elsewhere = {
        number: join(path, f"{name:06d}.sst")
        for name in there
        if (number := written_as(fs, join(path, f"{name:06d}.sst"))) in places and number != name
    }
    findings: list[Problem] = []
    losses: list[Loss] = []
    jobs: list[Job] = []
    removed: list[int] = []
    tally, deletions_lost = Tally(missing=len(places) - len(judged), found=len(judged)), False
    for number, (level, run, table) in sorted(places.items()):
        mine = judged.get(number)
        found = _not_the_table(mine, table)
        if mine is not None and not found:
            tally = replace(tally, sound=tally.sound + 1, entries_sound=tally.entries_sound + table.entries)
            continue
        findings += found or [Problem(join(path, f"{number:06d}.sst"), -1, "missing, although the manifest names it")]
        removed.append(number)
        best = mine if _usable(mine, table) else None
        if best is None and number in elsewhere:
            best = other if _usable(other := judge(fs, elsewhere[number]), table) else None
        kept = best.meta if best is not None else None
        if best is not None and kept is not None:
            jobs.append(Job((table_source(fs, best),), (level, run, table)))
            salvaged, entries = tally.salvaged + 1, tally.entries_salvaged + kept.entries
            tally = replace(tally, salvaged=salvaged, entries_salvaged=entries)
            if mine is None:  # found under another name: looked at, and not missing
                tally = replace(tally, found=tally.found + 1, missing=tally.missing - 1)
        losses += _loss_of(join(path, f"{number:06d}.sst"), table, best)
        deletions_lost |= table.tombstones > (kept.tombstones if kept is not None else 0)
    logs, dropped = _damaged_logs(fs, path, state, findings)
    if logs is not None and holds_entries(logs.batches):
        jobs.append(Job((log_source(logs.batches),), (0, state.next_run, None)))
    replayed = sum(len(b.keys) for b in logs.batches) if logs is not None else 0
    return Diagnosis(
        manifest="edited" if findings else "kept",
        state=state,
        removed=tuple(removed),
        kept=(),
        jobs=tuple(jobs),
        settled=logs is not None,
        last_seq=max([state.last_seq, *(b.first_seq + len(b.keys) - 1 for b in (logs.batches if logs is not None else ()))]),
        findings=tuple(findings),
        losses=(*losses, *(logs.losses if logs is not None else dropped if findings else ())),
        doubts=(),
        deletions_lost=deletions_lost or bool(findings and (logs.losses if logs is not None else dropped)),
        tally=replace(tally, entries_replayed=replayed),
        deletes=tuple(one for b in (logs.batches if logs is not None else ()) for one in range_deletes(b)),
    )


def _not_the_table(judged: Judged | None, table: TableMeta) -> list[Problem]:
    """Why a file is not, byte for byte, the table that the manifest describes (nothing about one that is missing)."""
    if judged is None or judged.findings:
        return list(judged.findings) if judged is not None else []
    assert judged.meta is not None, "a sound table has entries"
    times = {name: getattr(table, name) for name in ("born_s", "newest_s", "tombstone_s", "shadowed", "swept")}
    if replace(judged.meta, **times) == table:
        return []
    return [Problem(judged.file, -1, "a sound table, but not the one that the manifest describes")]


def _usable(judged: Judged | None, table: TableMeta) -> bool:
    """Whether the intact blocks of a file can be those of the table that the manifest describes."""
    if judged is None or judged.meta is None or judged.number != table.number or judged.sound:
        return False  # a sound file that differs from the manifest's record is another store's table
    meta = judged.meta
    return (
        table.smallest <= meta.smallest
        and meta.largest <= table.largest
        and table.min_seq <= meta.min_seq
        and meta.max_seq <= table.max_seq
        and meta.entries <= table.entries
    )


def _loss_of(file: str, table: TableMeta, left: Judged | None) -> list[Loss]:
    """What a recorded table has lost."""
    kept = left.meta.entries if left is not None and left.meta is not None else 0
    if kept == table.entries:
        return []
    gaps = left.gaps if left is not None and kept else ()
    ranges = [(table.smallest if a is None else a, table.largest if b is None else b) for a, b in gaps]
    what = "lost as a whole" if not kept else f"{kept:,} of {table.entries:,} entries are left"
    return [Loss(file, what, tuple(ranges) or ((table.smallest, table.largest),), table.entries - kept)]


def _damaged_logs(
    fs: FileSystem, path: str, state: ManifestState, findings: list[Problem]
) -> tuple[SalvagedLogs | None, list[Loss]]:
    """What the logs give if opening could not replay them; None if it can, and what it will drop then."""
    numbers = [number for number in numbered(fs, path, "wal") if number >= state.wal_floor]
    try:
        replayed = replay(fs, path, numbers, state.last_seq)
    except CorruptionError as error:
        findings.append(Problem(error.file, error.offset, error.what))
        return salvage_logs(fs, path, numbers, state.last_seq, adjoining=True), []
    said = [line.partition(": ") for line in replayed.report]
    return None, [Loss(log, what, ((None, None),), None) for log, _, what in said]


# without a manifest


def _from_tables(fs: FileSystem, path: str, first: Problem) -> Diagnosis:
    """A tree made of the tables and logs that are there."""
    judged = [judge(fs, join(path, f"{number:06d}.sst")) for number in numbered(fs, path, "sst")]
    findings = [first, *(finding for one in judged for finding in one.findings)]
    losses = [loss for one in judged for loss in _loss_alone(one)]
    sources = [table_source(fs, one) for one in judged if one.meta is not None]
    top = max((source.meta.max_seq for source in sources), default=0)
    logs = _live_logs(fs, path, top, damaged=bool(losses))
    deletes = sorted(recorded_deletes(fs, path).union(logs.deletes), key=lambda one: one.seq)
    doubts = [MISSING_TABLES]
    if logs.batches and logs.first_seq > top + 1:
        doubts.append(f"the tables end at sequence number {top}, the logs begin at {logs.first_seq}: deletions that had done "
                      "their work were between, or commits that are lost")  # fmt: skip
    ends = [b.first_seq + len(b.keys) - 1 for b in logs.batches]
    last_seq = max([top, *ends, *(one.seq for one in deletes)])  # what is written later must be newer than any range delete
    tally = Tally(
        found=len(judged),
        sound=sum(source.sound for source in sources),
        salvaged=sum(not source.sound for source in sources),
        entries_sound=sum(source.meta.entries for source in sources if source.sound),
        entries_salvaged=sum(source.meta.entries for source in sources if not source.sound),
        entries_replayed=sum(len(b.keys) for b in logs.batches),
    )
    if holds_entries(logs.batches):
        sources.append(log_source(logs.batches))
    sets = [[sources[i] for i in group] for group in groups([source.meta for source in sources])]
    alone = [one[0].meta for one in sets if len(one) == 1 and one[0].sound]
    return Diagnosis(
        manifest="rebuilt",
        state=ManifestState(policy=recorded_policy(fs, path)),
        removed=(),
        kept=tuple(alone),
        jobs=tuple(Job(tuple(one)) for one in sets if len(one) > 1 or not one[0].sound),
        settled=True,
        last_seq=last_seq,
        findings=tuple(findings),
        losses=(*losses, *logs.losses),
        doubts=tuple(doubts),
        deletions_lost=True,
        tally=tally,
        deletes=tuple(deletes),
    )


def _loss_alone(judged: Judged) -> list[Loss]:
    """What a table that no manifest describes has lost, as far as it says so itself."""
    kept = judged.meta.entries if judged.meta is not None else 0
    total = judged.total[0] if judged.total is not None else None
    if judged.sound or kept == total or (kept and not judged.gaps):
        return []
    ranges: tuple[Range, ...] = judged.gaps if kept else ((None, None),)
    what = "nothing in it can be used" if not kept else f"{kept:,} entries are left"
    return [Loss(judged.file, what, ranges, None if total is None else total - kept)]


def _live_logs(fs: FileSystem, path: str, top: int, *, damaged: bool) -> SalvagedLogs:
    """What the logs give beyond the tables, which end at sequence number ``top``.

    Flushes are in the order of commits: what is not newer than the newest table is in tables. Unless tables are damaged:
    then it may be in the logs alone, and all of it is taken; what is there twice is merged.
    """
    chain = live_chain(fs, path, numbered(fs, path, "wal"))
    return salvage_logs(fs, path, chain, 0 if damaged else top, adjoining=False)
