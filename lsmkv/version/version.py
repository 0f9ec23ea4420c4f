"""From one version of the tree to the next: applying an edit. Pure; nothing is changed in place.

Versions are plain immutable shapes: whoever holds one keeps reading it, whatever is installed meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from lsmkv.errors import InvalidArgumentError
from lsmkv.version.edit import Added, VersionEdit
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape
from lsmkv.version.state import ManifestState, mean_arrival

__all__ = ["apply", "apply_edit", "rebuild"]


def apply(shape: TreeShape, edit: VersionEdit) -> TreeShape:
    """The shape after ``edit``: tables sorted by key, runs by id (newest first), no empty runs, no empty last levels.

    Raises InvalidArgumentError if it removes a table that is not there or adds one that is.
    """
    return rebuild(shape, frozenset(edit.removed), edit.added)


def apply_edit(state: ManifestState, edit: VersionEdit) -> ManifestState:
    """The state after ``edit``: its tables as :func:`apply`, its other fields as given.

    Raises InvalidArgumentError as :func:`apply`.
    """
    arrivals = edit.arrivals if edit.arrivals is not None else state.arrivals
    shape = replace(apply(state.shape, edit), buffer_entries=mean_arrival(arrivals))
    if edit.ranges is not None:
        shape = replace(shape, ranges=edit.ranges)
    return ManifestState(
        shape=shape,
        wal_floor=edit.wal_floor if edit.wal_floor is not None else state.wal_floor,
        next_file=edit.next_file if edit.next_file is not None else state.next_file,
        last_seq=edit.last_seq if edit.last_seq is not None else state.last_seq,
        next_run=edit.next_run if edit.next_run is not None else state.next_run,
        policy=edit.policy if edit.policy is not None else state.policy,
        arrivals=arrivals,
        transition=edit.transition if edit.transition is not None else state.transition,
        ledger=edit.ledger if edit.ledger is not None else state.ledger,
    )


def rebuild(shape: TreeShape, removed: frozenset[int], added: Sequence[Added]) -> TreeShape:
    """``shape`` without the tables numbered in ``removed`` and with those of ``added``; as :func:`apply`."""
    _check_numbers({t.number for t in shape.tables}, removed, [t.number for *_, t in added])
    fresh: defaultdict[tuple[int, int], list[TableMeta]] = defaultdict(list)
    for number, run_id, table in added:
        fresh[number, run_id].append(table)
    levels: list[list[Run]] = []
    for number, level in enumerate(shape.levels):
        runs: list[Run] = []
        for run in level.runs:
            kept = tuple(t for t in run.tables if t.number not in removed)
            joined = fresh.pop((number, run.id), None)
            if joined is not None:
                runs.append(_in_key_order(run.id, [*kept, *joined]))
            elif kept:
                runs.append(run if len(kept) == len(run.tables) else Run(run.id, kept))
        levels.append(runs)
    for (number, run_id), tables in fresh.items():
        levels += [[] for _ in range(number + 1 - len(levels))]
        levels[number].append(_in_key_order(run_id, tables))
    while len(levels) > 1 and not levels[-1]:
        levels.pop()
    ordered = (Level(tuple(sorted(runs, key=lambda run: -run.id))) for runs in levels)
    return replace(shape, levels=tuple(ordered))


def _in_key_order(run_id: int, tables: list[TableMeta]) -> Run:
    """A run of these tables."""
    return Run(run_id, tuple(sorted(tables, key=lambda t: t.smallest)))


def _check_numbers(there: set[int], removed: frozenset[int], added: list[int]) -> None:
    """Refuse to remove what is not there and to add what is."""
    if not removed <= there:
        raise InvalidArgumentError(f"edit removes tables {sorted(removed - there)}, which the tree does not hold")
    twice = (there - removed).intersection(added)
    if twice or len(set(added)) != len(added):
        raise InvalidArgumentError(f"edit adds tables {sorted(twice) or sorted(added)}: one of them is in the tree already")
