"""A tree in characters: one line for a step, a bar a run for a closer look. Pure; colours are the terminal's business."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from lsmkv.lab.rows import Levels, Row
from lsmkv.observe.picture import human_bytes

__all__ = ["bar_lines", "glyphs", "heading", "what_happened"]

HEIGHTS = "▁▂▃▄▅▆▇█"
MOST_GLYPHS = 9
"""Runs of one level that a line draws; more are counted."""

MOST_BARS = 12
"""Runs of one level that get a bar of their own; more are drawn as one."""

SHADES = ("█", "▓")


def glyphs(level: Sequence[int], smallest: int, largest: int) -> str:
    """The runs of a level, newest first, one character each: its height grows with the logarithm of the entries.

    ``smallest`` entries are the lowest character, ``largest`` the highest. An empty level is a dot.
    """
    if not level:
        return "·"
    span = log(max(largest / smallest, 2))
    shown = level if len(level) <= MOST_GLYPHS else level[: MOST_GLYPHS - 1]
    drawn = "".join(
        HEIGHTS[max(0, min(len(HEIGHTS) - 1, round(log(max(entries / smallest, 1)) / span * (len(HEIGHTS) - 1))))]
        for entries in shown
    )
    return drawn if shown is level else f"{drawn}+{len(level) - len(shown)}"


def what_happened(row: Row) -> str:
    """A step in a few characters: ``flush``, ``merge 0+1 → 2``."""
    if row.kind != "compaction":
        return row.kind
    levels = sorted({one.level for one in row.inputs})
    source = f"{levels[0]}-{levels[-1]}" if len(levels) > 2 else "+".join(map(str, levels))
    return f"{row.task} {source}" if row.task == "drop" else f"{row.task} {source} → {row.output_level}"


def heading(row: Row) -> str:
    """The state after a step as a sentence."""
    return (
        f"after {row.writes:,} writes: {row.entries:,} entries, {human_bytes(row.bytes)} in {row.runs} run"
        + ("" if row.runs == 1 else "s")
        + f" on {row.depth} level"
        + ("" if row.depth == 1 else "s")
    )


def bar_lines(levels: Levels, cells: int) -> list[tuple[int, str, str]]:
    """(level, bars, note) of each level: a bar a run, newest first, together as long as the level has bytes.

    The largest level is ``cells`` characters long; a run is at least one. Neighbouring runs differ in shade.
    """
    largest = max((sum(run.bytes for run in level) for level in levels), default=0)
    lines: list[tuple[int, str, str]] = []
    for number, level in enumerate(levels):
        drawn = [run.bytes for run in level[:MOST_BARS]]
        rest = sum(run.bytes for run in level[MOST_BARS:])
        parts = [max(1, round(size / largest * cells)) for size in drawn]
        bars = "".join(SHADES[i % len(SHADES)] * width for i, width in enumerate(parts))
        if rest:
            bars += "░" * max(1, round(rest / largest * cells))
        tables = sum(run.tables for run in level)
        runs = f"{len(level)} run" + ("" if len(level) == 1 else "s") + (f" of {tables} tables" if tables > len(level) else "")
        total = sum(run.bytes for run in level)
        note = f"{runs}, {sum(run.entries for run in level):,} entries, {human_bytes(total)}" if level else "empty"
        lines.append((number, bars, note))
    return lines
