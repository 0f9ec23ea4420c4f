"""Rows as a player wants them: every run with an identity, every frame as little more than what it changed.

The document (see ``player.js``)::

    {"title", "note", "policy": {...}, "live": is it a live store's?, "steps": steps there were,
     "frames": [[step, at_s, writes, kind, what, reason, measures, changed, inputs, output, bytes, policy?], ...]}

    measures   [write amplification, space amplification | null, runs, predicted blocks | null]
    changed    {level: [run, ...]}: levels that differ from the frame before; a run is ``[id, bytes, entries, tables]`` where
               it is new or changed, its id alone where it is not
    inputs     [[id, share taken], ...]     output   [level, id] or null     bytes   [read, written, debt, buffer entries]

A run keeps its id while it is the same run: joined, moved or left alone. What does not fit into ``LIMIT_BYTES`` is thinned
out evenly; switches and steps that open a new level stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from lsmkv.lab.drawing import what_happened
from lsmkv.lab.rows import Levels, Row, RunSize, TaskInput

__all__ = ["LIMIT_BYTES", "encode"]

LIMIT_BYTES = 1_900_000
"""Most bytes of an encoded document: with the player around it a page stays below 2 MB."""

Ids = list[list[int]]


def encode(
    rows: Sequence[Row],
    *,
    title: str,
    note: str,
    policy: Mapping[str, object],
    live: bool = False,
    limit_bytes: int = LIMIT_BYTES,
) -> str:
    """The document as JSON, at most ``limit_bytes`` of it."""
    traced = list(zip(rows, _trace(rows), strict=True))
    head = {"title": title, "note": note, "policy": dict(policy), "live": live, "steps": len(rows)}
    every = 1
    while True:
        kept = [one for at, one in enumerate(traced) if _stays(traced, at, every)]
        text = json.dumps(head | {"frames": list(_frames(kept))}, separators=(",", ":"), ensure_ascii=False)
        size = len(text.encode())
        if size <= limit_bytes or every >= len(traced):
            return text
        every = max(every + 1, every * size // limit_bytes)


_Traced = tuple[Row, tuple[Ids, list[list[float]], list[int] | None]]


def _stays(traced: Sequence[_Traced], at: int, every: int) -> bool:
    """Whether a frame is kept when every ``every``-th is."""
    row = traced[at][0]
    if at % every == 0 or at == len(traced) - 1:
        return True
    return row.kind in ("switch", "open") or row.depth > traced[at - 1][0].depth


def _frames(kept: Sequence[_Traced]) -> Iterator[list[object]]:
    """The frames, each relative to the one before."""
    known: dict[int, RunSize] = {}
    before: Ids = []
    for row, (ids, inputs, output) in kept:
        changed: dict[int, list[object]] = {}
        for number in range(max(len(ids), len(before))):
            level = ids[number] if number < len(ids) else []
            sizes = row.levels[number] if number < len(row.levels) else ()
            pairs = list(zip(level, sizes, strict=True))
            shown: list[object] = [run if known.get(run) == size else [run, *size] for run, size in pairs]
            if number < len(before) and before[number] == shown:
                continue
            changed[number] = shown
            known.update(pairs)
        before = ids
        yield [
            row.step,
            round(row.at_s, 3),
            row.writes,
            row.task or row.kind,
            what_happened(row),
            row.reason,
            [_rounded(row.write_amplification), _rounded(row.space_amplification), row.runs, _rounded(row.zero_lookup_blocks)],
            changed,
            inputs,
            output,
            [row.read_bytes, row.written_bytes, row.debt_bytes, row.buffer_entries],
            *([row.policy] if row.policy else []),
        ]


def _rounded(value: float | None) -> float | None:
    """Four digits are plenty."""
    return round(value, 4) if value is not None else None


def _trace(rows: Sequence[Row]) -> Iterator[tuple[Ids, list[list[float]], list[int] | None]]:
    """For each row the ids of all runs after it, the runs that went in (before it) and the one that came out."""
    fresh = count(1)
    ids: Ids = [[]]
    for row in rows:
        inputs = [[ids[one.level][one.position], round(one.tables / one.of_tables, 3)] for one in row.inputs if _there(ids, one)]
        made = _follow(ids, row, fresh)
        _align(ids, row.levels, fresh)
        place = row.output_position
        output = None
        if row.kind in ("flush", "compaction") and made is not None and place is not None and _at(ids, row.output_level, place):
            output = [row.output_level, ids[row.output_level][place]]
        yield [list(level) for level in ids], inputs, output


def _there(ids: Ids, one: TaskInput) -> bool:
    """Whether the run that a task takes from is known (it is not where a log has a gap)."""
    return _at(ids, one.level, one.position)


def _at(ids: Ids, level: int, position: int) -> bool:
    """Whether there is a run at this place."""
    return level < len(ids) and 0 <= position < len(ids[level])


def _follow(ids: Ids, row: Row, fresh: Iterator[int]) -> int | None:
    """Do to the ids what the step did to the runs; the id of what came out."""
    if row.kind == "flush" and row.written_entries:
        ids[0].insert(0, next(fresh))
        return ids[0][0]
    if row.kind != "compaction":
        return None
    joined = ids[row.output_level][row.joins] if row.joins is not None and _at(ids, row.output_level, row.joins) else None
    whole = [ids[one.level][one.position] for one in row.inputs if one.tables == one.of_tables and _there(ids, one)]
    for level in ids:
        level[:] = [run for run in level if run not in whole or run == joined]
    made = joined
    if row.output_position is not None and joined is None:
        made = whole[0] if row.task == "move" and len(whole) == 1 else next(fresh)
        ids.extend([] for _ in range(row.output_level + 1 - len(ids)))
        ids[row.output_level].insert(row.output_position, made)
    return made


def _align(ids: Ids, levels: Levels, fresh: Iterator[int]) -> None:
    """As many ids as there are runs, whatever happened meanwhile: the oldest runs keep theirs."""
    del ids[len(levels) :]
    ids.extend([] for _ in range(len(levels) - len(ids)))
    for known, level in zip(ids, levels, strict=True):
        surplus = len(known) - len(level)
        if surplus > 0:
            del known[:surplus]
        else:
            known[:0] = [next(fresh) for _ in range(-surplus)]
