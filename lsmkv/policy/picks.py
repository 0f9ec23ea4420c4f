"""What is picked: one table out of a run by a named rule, and the work that is due whatever the policy.

Rules in the terms of the compaction design space (Sarkar et al., VLDB 2021: "data movement policy"), for policies that pass
on one table at a time:

    least_overlap     the table that drags along the fewest bytes of the next level for each byte of its own
    oldest            the table with the oldest data: its range has not been passed on for the longest time
    round_robin       the table behind the one passed on last, in key order, from the beginning after the end
    most_tombstones   the table with the largest share of tombstones

A rule is a pure function of the two runs. Round robin has no cursor of its own: the table written last in the next level
has the highest number there, and its last key is where the previous pass ended.

Three kinds of work do not depend on the policy. *Expired tombstones*: with a bound on the age of tombstones, a table whose
oldest one is past it is merged to the bottom, where the tombstone has done its work. *Garbage at the bottom*: a table with
entries that only a snapshot needed, closed since, is rewritten where it is. *What range deletes cover* goes too
(:mod:`lsmkv.policy.sweep`). All are chores: they do not count as arrivals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lsmkv.policy.base import Policy, RunInput, Task
from lsmkv.policy.ranges import overlapping, runs_in_order, sinking_task
from lsmkv.policy.sweep import hidden_tables, sweep
from lsmkv.version.shape import Run, TableMeta, TreeShape

__all__ = ["RULES", "bottom_garbage", "expired_tombstones", "next_expiry", "next_task"]

Rule = Callable[[Run, Run | None], TableMeta]
"""From a run and the run of the next level (None: it is empty) to the table to pass on."""


def next_task(policy: Policy, shape: TreeShape) -> Task | None:
    """What is to be done next: hidden tables dropped, expired tombstones, else what the policy picks, else what else is garbage.

    None when all is at rest.
    """
    return hidden_tables(shape) or expired_tombstones(shape) or policy.pick(shape) or sweep(shape) or bottom_garbage(shape)


def expired_tombstones(shape: TreeShape) -> Task | None:
    """Merge a table whose oldest tombstone is past ``shape.tombstone_age_s`` to the bottom, with all it has to pass.

    A tombstone of unknown age counts as past the bound. What a snapshot still needs stays, at the bottom; there it is left
    alone until no snapshot needs anything older than the table, so no task repeats itself.
    """
    bound = shape.tombstone_age_s
    if bound is None:
        return None
    for level, run, table, older in _oldest_first(shape, lambda t: t.tombstones > 0 and shape.now_s - t.tombstone_s >= bound):
        if not older and table.max_seq > shape.snapshot_floor:
            continue
        known = f"{shape.now_s - table.tombstone_s:,.0f} s old" if table.tombstone_s else "of unknown age"
        reason = f"table {table.number} of level {level} has tombstones {known}, the bound is {bound:g} s"
        if not older and level > 0:
            return Task((RunInput(level, run.id, (table.number,)),), level, run.id, reason, chore=True)
        number = table.number
        return sinking_task(shape, lambda one: one.number == number, reason)  # noqa: B023  asked before the loop goes on
    return None


def next_expiry(shape: TreeShape) -> float | None:
    """The next time at which :func:`expired_tombstones` may find something that it does not find now; None: never."""
    if shape.tombstone_age_s is None:
        return None
    due = (t.tombstone_s + shape.tombstone_age_s for t in shape.tables if t.tombstones)
    return min((at for at in due if at > shape.now_s), default=None)


def bottom_garbage(shape: TreeShape) -> Task | None:
    """Rewrite a table of a level >= 1 in place once nobody needs some of its entries: after that it has none of them.

    These are tombstones with nothing older below, and versions that a newer one in the same table hides; both may go when
    every snapshot reads at the newest of the table or later.
    """
    floor = shape.snapshot_floor
    for level, run, table, older in _oldest_first(shape, lambda t: t.max_seq <= floor and bool(t.tombstones or t.shadowed)):
        count = table.shadowed + (0 if older else table.tombstones)
        if level > 0 and count:
            reason = f"table {table.number} of level {level} keeps {count:,} entries that no snapshot needs any more"
            return Task((RunInput(level, run.id, (table.number,)),), level, run.id, reason, chore=True)
    return None


def _oldest_first(shape: TreeShape, wanted: Callable[[TableMeta], bool]) -> Iterator[tuple[int, Run, TableMeta, bool]]:
    """(level, run, table, whether something older meets it) of the wanted tables, from the bottom of the tree up."""
    older: list[Run] = []
    for level, run in reversed(list(runs_in_order(shape))):
        for table in run.tables:
            if wanted(table):
                met = any(overlapping(other, table.smallest, table.largest) for other in older)  # the largest run comes first
                yield level, run, table, met
        older.append(run)


def _least_overlap(source: Run, target: Run | None) -> TableMeta:
    """The fewest bytes of ``target`` for each byte of the table; of equals the first."""

    def dragged(table: TableMeta) -> float:
        """Bytes of the next level for each byte of the table."""
        met = overlapping(target, table.smallest, table.largest) if target is not None else ()
        return sum(t.bytes for t in met) / max(table.bytes, 1)

    return min(source.tables, key=dragged)


def _oldest(source: Run, target: Run | None) -> TableMeta:
    """The smallest sequence number; of equals the first."""
    del target
    return min(source.tables, key=lambda table: table.min_seq)


def _round_robin(source: Run, target: Run | None) -> TableMeta:
    """The first table that begins beyond the last key written to ``target``, else the first of all."""
    if target is not None:
        cursor = max(target.tables, key=lambda table: table.number).largest
        for table in source.tables:
            if table.smallest > cursor:
                return table
    return source.tables[0]


def _most_tombstones(source: Run, target: Run | None) -> TableMeta:
    """The largest share of tombstones; of equals the one that drags along least."""
    del target
    return max(source.tables, key=lambda table: table.tombstones / max(table.entries, 1))


RULES: dict[str, Rule] = {
    "least_overlap": _least_overlap,
    "oldest": _oldest,
    "round_robin": _round_robin,
    "most_tombstones": _most_tombstones,
}
