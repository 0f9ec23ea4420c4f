"""What is wrong with a directory, and what a repair would make of it. Nothing is changed here.

With a manifest that can be believed, the tree stays as it is: a damaged table gives its place to what is left of it, a lost
one leaves. Without one the tree is made of the tables alone (:mod:`lsmkv.recover.arrange`). Logs are left to opening if it
can replay them; if not, or if there is no manifest to say which ones count, their commits become a table.
"""

from __future__ import annotations

from dataclasses import replace
from posixpath import basename, join

from lsmkv.base.filenames import parse_name
from lsmkv.base.problem import Problem
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError
from lsmkv.live.batches import range_deletes
from lsmkv.recover.foreign import strangers
from lsmkv.recover.orphans import unexplained
from lsmkv.recover.plan import MANIFEST, Diagnosis, Job, Tally, numbered
from lsmkv.recover.recorded import aged, contains
from lsmkv.recover.repair_report import Loss
from lsmkv.recover.replay import replay
from lsmkv.recover.salvage import Judged, judge, written_as
from lsmkv.recover.salvage_logs import SalvagedLogs, salvage_logs
from lsmkv.recover.survivors import Source, covers, holds_entries, log_source, table_source, within
from lsmkv.recover.without_manifest import from_tables
from lsmkv.version.journal import read_manifest
from lsmkv.version.rules import check_level_rule
from lsmkv.version.shape import TableMeta
from lsmkv.version.state import ManifestState

__all__ = ["diagnose"]


def diagnose(fs: FileSystem, path: str, now_s: float, *, rebuild: bool) -> Diagnosis:
    """Look at every file of the store at ``path``; ``rebuild``: as if it had no manifest. ``now_s``: the time.

    Raises FormatTooNewError, IOFailedError, InvalidArgumentError. I/O: reads every file once, damaged ones and logs up to
    three times.
    """
    manifest = join(path, MANIFEST)
    if rebuild:
        return from_tables(fs, path, now_s, Problem(manifest, -1, "is left out of account, as asked"))
    if not fs.exists(manifest):
        return from_tables(fs, path, now_s, Problem(manifest, -1, "missing"))
    if fs.isdir(manifest):
        return from_tables(fs, path, now_s, Problem(manifest, -1, "a directory, not a file"))
    try:
        state = read_manifest(fs, path).state
        check_level_rule(state.shape)
    except CorruptionError as error:
        return from_tables(fs, path, now_s, Problem(manifest, error.offset, error.what))
    newer = _newer_tables(fs, path, state)
    foreign = strangers(fs, path, state, [_number(problem) for problem in newer])
    if len(newer) == len(foreign):
        return _from_manifest(fs, path, state, now_s, foreign)
    left_out = {_number(problem) for problem in foreign}
    why = [problem for problem in newer if _number(problem) not in left_out]
    old = Problem(manifest, -1, "older than the tables beside it")
    return from_tables(fs, path, now_s, old, *why, *foreign, left_out=frozenset(left_out))


def _newer_tables(fs: FileSystem, path: str, state: ManifestState) -> list[Problem]:
    """Tables beyond the manifest that no crash explains. I/O: the ends of unnamed tables; if there are any, the logs."""
    logs = [number for number in numbered(fs, path, "wal") if number >= state.wal_floor]
    orphans = set(numbered(fs, path, "sst")) - {t.number for t in state.shape.tables}
    try:
        batches = replay(fs, path, logs, state.last_seq).batches if orphans else []
    except CorruptionError:
        batches = list(salvage_logs(fs, path, logs, state.last_seq, adjoining=True).batches)
    return unexplained(fs, path, state, orphans, logs, batches)


def _number(problem: Problem) -> int:
    """Of the table with a problem."""
    name = parse_name(basename(problem.file))
    assert name is not None, problem.file
    return name.number


# with a manifest


def _from_manifest(fs: FileSystem, path: str, state: ManifestState, now_s: float, foreign: list[Problem]) -> Diagnosis:
    """The recorded tree without what is lost; tables that are ``foreign`` leave."""
    places = {t.number: (i, run.id, t) for i, level in enumerate(state.shape.levels) for run in level.runs for t in run.tables}
    there = numbered(fs, path, "sst")
    judged = {number: judge(fs, join(path, f"{number:06d}.sst")) for number in sorted(places) if number in there}
    elsewhere = {
        number: join(path, f"{name:06d}.sst")
        for name in there
        if (number := written_as(fs, join(path, f"{name:06d}.sst"))) in places and number != name
    }
    findings = list(foreign)
    losses: list[Loss] = []
    jobs: list[Job] = []
    removed: list[int] = []
    old: SalvagedLogs | None = None
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
        old = old or _old_logs(fs, path, state)
        again = within(old.batches, table)
        sources = [*([table_source(fs, best)] if best is not None else []), *([again] if again is not None else [])]
        if sources:
            jobs.append(Job(tuple(sources), (level, run, table)))
        tally = _counted(tally, best, again, missing=mine is None)
        if not covers(old.batches, table):
            losses += _loss_of(join(path, f"{number:06d}.sst"), table, best, again)
            kept = best.meta.tombstones if best is not None and best.meta is not None else 0
            deletions_lost |= table.tombstones > kept
    logs, dropped = _damaged_logs(fs, path, state, findings)
    batches = logs.batches if logs is not None else ()
    given_up = logs.losses if logs is not None else dropped
    if holds_entries(batches):
        source = log_source(batches)
        jobs.append(Job((replace(source, meta=aged(source.meta, {}, now_s)),), (0, state.next_run, None)))
    return Diagnosis(
        manifest="edited" if findings else "kept",
        state=state,
        removed=tuple(removed),
        kept=(),
        jobs=tuple(jobs),
        settled=logs is not None,
        last_seq=max([state.last_seq, *(b.first_seq + len(b.keys) - 1 for b in batches)]),
        findings=tuple(findings),
        losses=(*losses, *given_up),
        doubts=(),
        deletions_lost=deletions_lost or bool(given_up),
        tally=replace(tally, entries_replayed=tally.entries_replayed + sum(len(b.keys) for b in batches)),
        deletes=(*(old.deletes if old is not None else ()), *(one for b in batches for one in range_deletes(b))),
    )


def _old_logs(fs: FileSystem, path: str, state: ManifestState) -> SalvagedLogs:
    """What logs still give whose entries are in tables: a crash came before they were removed. I/O: reads them."""
    numbers = [number for number in numbered(fs, path, "wal") if number < state.wal_floor]
    return salvage_logs(fs, path, numbers, 0, adjoining=False)


def _counted(tally: Tally, best: Judged | None, again: Source | None, *, missing: bool) -> Tally:
    """The counts with a table of which ``best`` is left, and ``again`` came from logs."""
    if best is not None and best.meta is not None:
        entries = tally.entries_salvaged + best.meta.entries
        tally = replace(tally, salvaged=tally.salvaged + 1, entries_salvaged=entries)
        if missing:  # found under another name: looked at, and not missing
            tally = replace(tally, found=tally.found + 1, missing=tally.missing - 1)
    return replace(tally, entries_replayed=tally.entries_replayed + (again.meta.entries if again is not None else 0))


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
    return contains(table, judged.meta)


def _loss_of(file: str, table: TableMeta, left: Judged | None, again: Source | None) -> list[Loss]:
    """What a recorded table has lost; ``again``: what old logs give in its place."""
    kept = left.meta.entries if left is not None and left.meta is not None else 0
    if kept == table.entries:
        return []
    gaps = left.gaps if left is not None and kept else ()
    ranges = [(table.smallest if a is None else a, table.largest if b is None else b) for a, b in gaps]
    what = "lost as a whole" if not kept else f"{kept:,} of {table.entries:,} entries are left"
    lost: int | None = table.entries - kept
    if again is not None:
        what, lost = f"{what}; {again.meta.entries:,} come from logs that were still there", None
    return [Loss(file, what, tuple(ranges) or ((table.smallest, table.largest),), lost)]


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
    return None, [Loss(one.file, one.what, ((None, None),), None) for one in replayed.dropped if one.bytes]
