"""The tree as a picture: one row per level, one strip of key space per run. Pure: data in, data or text out.

A row states what a level holds against what it may hold (level 0: runs; deeper: entries, as the leveled geometry sizes
them). A strip shows where in the key space a run has tables: cells go from the smallest key of the store to the largest,
by rank among all table bounds, and neighbouring tables differ in shade. Colour is the terminal's business
(:mod:`lsmkv.observe.tree`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lsmkv.version.shape import Level, Run, TreeShape

__all__ = ["LevelRow", "bar", "draw", "human_bytes", "policy_line", "range_line", "rows", "strip_lines", "text_picture"]

SHADES = ("█", "▓")
STRIP_CELLS = 60
BAR_CELLS = 24
MOST_STRIPS = 6
"""Runs drawn per level; the rest are counted."""

_KIB = 1024


@dataclass(frozen=True, slots=True)
class LevelRow:
    """One level: what is in it, and what may be. ``bytes`` are file bytes."""

    level: int
    runs: int
    tables: int
    entries: int
    tombstones: int
    bytes: int
    capacity_runs: int | None
    """Runs that level 0 may hold when settled; None at the other levels."""
    capacity_entries: int | None
    """Entries that a deeper level may hold; None at level 0, or before anything has arrived."""
    fill: float | None
    """Share of the capacity in use, 1.0: full."""
    filter_bits_per_key: float


def rows(shape: TreeShape, policy: Mapping[str, object]) -> tuple[LevelRow, ...]:
    """One row per level, shallow first; ``policy`` is a policy's own description."""
    return tuple(_row(number, level, shape, policy) for number, level in enumerate(shape.levels))


def _row(number: int, level: Level, shape: TreeShape, policy: Mapping[str, object]) -> LevelRow:
    """One level."""
    tables = [t for run in level.runs for t in run.tables]
    entries = level.entries
    ratio = policy.get("size_ratio")
    capacity_runs = shape.level0_runs if number == 0 else None
    capacity_entries = None
    if number and isinstance(ratio, int) and shape.buffer_entries:
        capacity_entries = (ratio - 1) * ratio ** (number - 1) * shape.buffer_entries
    fill = None
    if capacity_runs:
        fill = len(level.runs) / capacity_runs
    elif capacity_entries:
        fill = entries / capacity_entries
    return LevelRow(
        level=number,
        runs=len(level.runs),
        tables=len(tables),
        entries=entries,
        tombstones=sum(t.tombstones for t in tables),
        bytes=level.bytes,
        capacity_runs=capacity_runs,
        capacity_entries=capacity_entries,
        fill=fill,
        filter_bits_per_key=sum(t.filter_bits for t in tables) / entries if entries else 0.0,
    )


def bar(fill: float | None, cells: int = BAR_CELLS) -> str:
    """A bar of ``cells`` characters; an arrow at its end says that the level holds more than it may."""
    if fill is None:
        return "░" * cells
    full = min(cells, round(fill * cells))
    if fill > 0 and not full:
        full = 1
    drawn = "█" * full + "░" * (cells - full)
    return drawn[:-1] + "▶" if fill > 1.0 + 1.0 / cells else drawn


def draw(run: Run, bounds: Sequence[bytes], cells: int = STRIP_CELLS) -> str:
    """Where the tables of a run lie between ``bounds``, the sorted smallest and largest keys of every table."""
    strip = ["·"] * cells
    last = max(len(bounds) - 1, 1)
    for i, table in enumerate(run.tables):
        first_cell = bisect_left(bounds, table.smallest) * (cells - 1) // last
        last_cell = bisect_left(bounds, table.largest) * (cells - 1) // last
        strip[first_cell : last_cell + 1] = SHADES[i % len(SHADES)] * (last_cell + 1 - first_cell)
    return "".join(strip)


def strip_lines(shape: TreeShape, cells: int = STRIP_CELLS) -> list[tuple[int, str, str]]:
    """(level, strip, note) of every run, newest first; a level with many runs ends in one line that counts the rest."""
    bounds = sorted({key for t in shape.tables for key in (t.smallest, t.largest)})
    if len(bounds) == 1:
        bounds = bounds * 2
    lines: list[tuple[int, str, str]] = []
    for number, level in enumerate(shape.levels):
        lines += [
            (number, draw(run, bounds, cells), f"{run.entries:,} entries, {_count(len(run.tables), 'table')}")
            for run in level.runs[:MOST_STRIPS]
        ]
        if len(level.runs) > MOST_STRIPS:
            lines.append((number, " " * cells, f"and {len(level.runs) - MOST_STRIPS} older runs"))
    return lines


def policy_line(policy: Mapping[str, object]) -> str:
    """``leveled (size_ratio 10)``."""
    rest = ", ".join(f"{name} {value}" for name, value in policy.items() if name != "name")
    return f"{policy.get('name', 'unknown')}" + (f" ({rest})" if rest else "")


def human_bytes(count: float) -> str:
    """``13.2 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.1f} TiB"


def text_picture(shape: TreeShape, policy: Mapping[str, object]) -> str:
    """The whole picture as plain text of about 96 columns, as documentation and pipes want it."""
    head = (
        f"{_count(len(shape.tables), 'table')}, {shape.entries:,} entries, {human_bytes(shape.bytes)}, "
        f"policy {policy_line(policy)}{range_line(shape)}"
    )
    lines = [head, "", f"level    runs  tables      entries       bytes  {'fill':<{BAR_CELLS}}         bits/key"]
    for row in rows(shape, policy):
        runs = f"{row.runs} of {row.capacity_runs}" if row.capacity_runs is not None else f"{row.runs}"
        fill = f"{row.fill:5.0%}" if row.fill is not None else "    -"
        lines.append(
            f"{row.level:>5}  {runs:>6}  {row.tables:>6}  {row.entries:>11,}  {human_bytes(row.bytes):>10}  "
            f"{bar(row.fill)}  {fill}  {row.filter_bits_per_key:>8.1f}"
        )
    strips = strip_lines(shape)
    if strips:
        lines += ["", "level  key space, newest run on top"]
        lines += [f"{level:>5}  {strip}  {note}".rstrip() for level, strip, note in strips]
    return "\n".join(lines)


def range_line(shape: TreeShape) -> str:
    """What to add about range deletes; empty if there are none."""
    held = len(shape.ranges.fragments)
    return f"; {_count(held, 'range delete')} held" if held else ""


def _count(n: int, noun: str) -> str:
    """A number and its noun."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
