"""What must hold of every tree, whatever policy shaped it.

- Numbers of tables and ids of runs are unique.
- A run's tables are in key order and disjoint: all versions of one key are in one table of the run.
- Runs of a level are newest first, by id.
- The level rule: for one key, what lies in a younger run or a shallower level is newer. From the outside it can be decided
  where two tables share their first or last key, and at level 0, where every run was flushed after the one below it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from lsmkv.errors import CorruptionError
from lsmkv.version.shape import Run, TableMeta, TreeShape

__all__ = ["check_level_rule", "problems"]


def check_level_rule(shape: TreeShape) -> None:
    """Raise CorruptionError naming every violation; its file is ``tree``, since no single file is to blame."""
    found = problems(shape)
    if found:
        raise CorruptionError("tree", -1, "; ".join(found))


def problems(shape: TreeShape) -> tuple[str, ...]:
    """Every violated rule as a sentence; empty for a sound tree. Pure."""
    return (*_twice(shape), *_within_runs(shape), *_order_of_runs(shape), *_level_rule(shape))


def _twice(shape: TreeShape) -> Iterator[str]:
    """Numbers and ids that are not unique."""
    for number, times in Counter(t.number for t in shape.tables).items():
        if times > 1:
            yield f"table {number} is named {times} times"
    for run, times in Counter(run.id for level in shape.levels for run in level.runs).items():
        if times > 1:
            yield f"run id {run} is used {times} times"


def _within_runs(shape: TreeShape) -> Iterator[str]:
    """Runs that are not one sorted, disjoint sequence of sound tables."""
    for number, level in enumerate(shape.levels):
        for run in level.runs:
            where = f"run {run.id} of level {number}"
            if not run.tables:
                yield f"{where} has no tables"
            if number == 0 and len(run.tables) > 1:
                yield f"{where} has {len(run.tables)} tables, a flush makes one"
            yield from (f"table {t.number} in {where} {wrong}" for t in run.tables if (wrong := _table(t)))
            for a, b in pairwise(run.tables):
                if a.largest >= b.smallest:
                    yield f"tables {a.number} and {b.number} in {where} overlap or are out of order"


def _table(table: TableMeta) -> str:
    """What is wrong with one table; empty if nothing is."""
    if table.smallest > table.largest:
        return "ends before it begins"
    if table.min_seq > table.max_seq:
        return f"has sequence numbers from {table.min_seq} to {table.max_seq}"
    if not 0 <= table.tombstones <= table.entries or not table.entries:
        return f"has {table.entries} entries and {table.tombstones} tombstones"
    return ""


def _order_of_runs(shape: TreeShape) -> Iterator[str]:
    """Runs of a level that are not newest first."""
    for number, level in enumerate(shape.levels):
        for newer, older in pairwise(level.runs):
            if newer.id <= older.id:
                yield f"run {newer.id} stands before run {older.id} at level {number}"
            if number == 0 and _min_seq(newer) <= _max_seq(older):
                yield f"run {newer.id} of level 0 is not newer than run {older.id} below it"


def _min_seq(run: Run) -> int:
    """Oldest sequence number of a run."""
    return min((t.min_seq for t in run.tables), default=0)


def _max_seq(run: Run) -> int:
    """Newest sequence number of a run."""
    return max((t.max_seq for t in run.tables), default=0)


def _level_rule(shape: TreeShape) -> Iterator[str]:
    """Tables that hold one key for certain (it is a boundary of both), newest first, must not be in reverse order."""
    holders: defaultdict[bytes, list[TableMeta]] = defaultdict(list)
    for table in shape.tables:
        for key in {table.smallest, table.largest}:
            holders[key].append(table)
    for key, tables in holders.items():
        newer = tables[0]
        for older in tables[1:]:
            if newer.max_seq < older.min_seq:
                yield f"key {key!r} is older in table {newer.number} than in table {older.number} below it"
            newer = min(newer, older, key=lambda t: t.max_seq)
