"""What a repair makes of a directory whose manifest does not count: a tree of the tables and logs that are there.

Policy, ages and the names of tables that are gone come from what is intact of the manifest (:mod:`lsmkv.recover.recorded`),
the order of tables from their sequence numbers (:mod:`lsmkv.recover.arrange`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from posixpath import join

from lsmkv.base.keys import MAX_SEQ
from lsmkv.base.problem import Problem
from lsmkv.env.fs import FileSystem
from lsmkv.maintain.load import GAP
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.registry import describe_policy
from lsmkv.recover.arrange import groups
from lsmkv.recover.plan import Diagnosis, Job, Tally, numbered
from lsmkv.recover.recorded import Recorded, aged, contains, recorded
from lsmkv.recover.repair_report import Loss, Range
from lsmkv.recover.salvage import Judged, judge
from lsmkv.recover.salvage_logs import SalvagedLogs, live_chain, salvage_logs
from lsmkv.recover.survivors import Source, holds_entries, log_source, table_source
from lsmkv.version.shape import TableMeta
from lsmkv.version.state import ManifestState

__all__ = ["from_tables"]

MISSING_TABLES = (
    "without its manifest a store does not know which tables it had: of those missing altogether nothing is told, and one that "
    "had been replaced already may be back, with values deleted since"
)
NO_POLICY = (
    "which policy shaped the tree stands in the manifest alone: the store opens as Leveled() and is reshaped, unless "
    "Options.policy names its own"
)
UNFINISHED_LOAD = (
    "tables are numbered far beyond the logs: a load of sorted data was going on, and without the manifest nobody knows whether "
    "it came about: what it had written counts, and wins over what was written meanwhile"
)
MOST_NAMES = 5
"""Tables named in a doubt; of more only the number is told."""


def from_tables(fs: FileSystem, path: str, now_s: float, *why: Problem, left_out: frozenset[int] = frozenset()) -> Diagnosis:
    """A tree made of the tables and logs that are there; ``why`` the manifest does not say what it is.

    ``now_s``: when tables of unknown age count as flushed. ``left_out``: tables that are another store's. Raises
    FormatTooNewError, IOFailedError. I/O: reads every file.
    """
    told = recorded(fs, path)
    numbers = [number for number in numbered(fs, path, "sst") if number not in left_out]
    judged = [judge(fs, join(path, f"{number:06d}.sst")) for number in numbers]
    losses = [loss for one in judged for loss in _loss_alone(one)]
    sources = [table_source(fs, one) for one in judged if one.meta is not None]
    gone = told.named - {one.number for one in judged}
    logs, top, ahead = _live_logs(fs, path, [source.meta for source in sources], damaged=bool(losses or gone))
    deletes = sorted(told.deletes.union(logs.deletes), key=lambda one: one.seq)
    tally = Tally(
        found=len(judged),
        sound=sum(source.sound for source in sources),
        salvaged=sum(not source.sound for source in sources),
        entries_sound=sum(source.meta.entries for source in sources if source.sound),
        entries_salvaged=sum(source.meta.entries for source in sources if not source.sound),
        entries_replayed=sum(len(b.keys) for b in logs.batches),
    )
    doubts = (*_doubts(told, sources, gone, logs, top), *([UNFINISHED_LOAD] if ahead and logs.batches else []))
    if holds_entries(logs.batches):
        sources.append(log_source(logs.batches))
    sources = [replace(source, meta=aged(source.meta, told.tables, now_s)) for source in sources]
    sets = [[sources[i] for i in group] for group in groups([source.meta for source in sources])]
    return Diagnosis(
        manifest="rebuilt",
        state=ManifestState(policy=told.policy or describe_policy(Leveled())),
        removed=(),
        kept=tuple(one[0].meta for one in sets if len(one) == 1 and one[0].sound),
        jobs=tuple(Job(tuple(one)) for one in sets if len(one) > 1 or not one[0].sound),
        settled=True,
        last_seq=max(
            [
                top,
                *(source.meta.max_seq for source in sources),
                *(b.first_seq + len(b.keys) - 1 for b in logs.batches),
                *(one.seq for one in deletes),
            ]
        ),
        findings=(*why, *(finding for one in judged for finding in one.findings)),
        losses=(*losses, *logs.losses),
        doubts=doubts,
        deletions_lost=True,
        tally=tally,
        deletes=tuple(deletes),
    )


def _doubts(told: Recorded, sources: list[Source], gone: set[int], logs: SalvagedLogs, top: int) -> tuple[str, ...]:
    """What the files that are left cannot tell."""
    doubts = [MISSING_TABLES]
    if gone:
        names = ", ".join(f"{number:06d}.sst" for number in sorted(gone)[:MOST_NAMES])
        more = f" and {len(gone) - MOST_NAMES:,} more" if len(gone) > MOST_NAMES else ""
        doubts.append(f"what is left of the manifest names {names}{more}: not there, replaced since or lost")
    if told.policy is None:
        doubts.append(NO_POLICY)
    ages = [s.meta.number in told.tables and contains(told.tables[s.meta.number], s.meta) for s in sources]
    if not all(ages):
        doubts.append(
            f"when {ages.count(False):,} of {len(ages):,} tables were flushed is not known: they count as flushed now, for "
            "policies that forget by age and for the bound on the age of tombstones"
        )
    if logs.batches and logs.first_seq > top + 1:
        doubts.append(
            f"the tables end at sequence number {top}, the logs begin at {logs.first_seq}: deletions that had done "
            "their work were between, or commits that are lost"
        )
    return tuple(doubts)


def _loss_alone(judged: Judged) -> list[Loss]:
    """What a table that no manifest describes has lost, as far as it says so itself."""
    kept = judged.meta.entries if judged.meta is not None else 0
    total = judged.total[0] if judged.total is not None else None
    if judged.sound or kept == total or (kept and not judged.gaps):
        return []
    ranges: tuple[Range, ...] = judged.gaps if kept else ((None, None),)
    what = "nothing in it can be used" if not kept else f"{kept:,} entries are left"
    return [Loss(judged.file, what, ranges, None if total is None else total - kept)]


def _live_logs(
    fs: FileSystem, path: str, tables: Sequence[TableMeta], *, damaged: bool
) -> tuple[SalvagedLogs, int, list[TableMeta]]:
    """What the logs give beyond the tables, the sequence number where these end, and the tables of what may be half a load.

    Flushes are in the order of commits: what is not newer than the newest table is in tables. Unless tables are damaged:
    then it may be in the logs alone, and all of it is taken; what is there twice is merged. Nor does it hold for the tables of
    a load: they are numbered far ahead while they are written, and everything in memory is flushed only when they are done.
    """
    chain = live_chain(fs, path, numbered(fs, path, "wal"))
    every = salvage_logs(fs, path, chain, 0, adjoining=False)
    last = max((b.first_seq + len(b.keys) - 1 for b in every.batches), default=MAX_SEQ)
    ahead = [table for table in tables if table.min_seq > last + GAP // 2]
    top = max((table.max_seq for table in tables if table not in ahead), default=0)
    return every if damaged else salvage_logs(fs, path, chain, top, adjoining=False), top, ahead
