"""The picture of the tree in a terminal's colours. Needs ``rich`` (the ``cli`` extra); the engine never imports this.

What is drawn is decided in :mod:`lsmkv.observe.picture`; here it gets tables and colours. Levels go from warm (level 0, few
and new entries) to cold.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lsmkv.observe.picture import LevelRow, bar, human_bytes, policy_line, range_line, rows, strip_lines
from lsmkv.version.shape import TreeShape

__all__ = ["render_tree"]

COLOURS = ("bright_red", "orange1", "yellow3", "green3", "dodger_blue1", "medium_purple1")


def render_tree(shape: TreeShape, policy: Mapping[str, object], *, title: str = "") -> RenderableType:
    """The tree as a rich renderable: levels with fill and filter bits, then every run's place in the key space.

    ``policy`` is a policy's own description (``db.stats().policy``, ``Leveled().describe()``).
    """
    head = Text()
    if title:
        head.append(f"{title}: ", style="bold")
    head.append(f"{shape.entries:,} entries in {len(shape.tables):,} tables, {human_bytes(shape.bytes)}; {policy_line(policy)}")
    head.append(range_line(shape))
    parts: list[RenderableType] = [head, _levels(rows(shape, policy))]
    strips = strip_lines(shape)
    if strips:
        parts.append(_strips(strips))
    return Group(*parts)


def _levels(levels: tuple[LevelRow, ...]) -> Table:
    """The table of levels."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("level", "runs", "tables", "entries", "tombstones", "bytes"):
        table.add_column(name, justify="right")
    table.add_column("fill")
    table.add_column("", justify="right")
    table.add_column("bits/key", justify="right")
    for row in levels:
        colour = _colour(row.level)
        table.add_row(
            Text(str(row.level), style=colour),
            f"{row.runs} of {row.capacity_runs}" if row.capacity_runs is not None else str(row.runs),
            f"{row.tables:,}",
            f"{row.entries:,}",
            f"{row.tombstones:,}",
            human_bytes(row.bytes),
            Text(bar(row.fill), style=colour),
            f"{row.fill:.0%}" if row.fill is not None else "-",
            f"{row.filter_bits_per_key:.1f}",
        )
    return table


def _strips(lines: list[tuple[int, str, str]]) -> Table:
    """The table of runs."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("level", justify="right")
    table.add_column("key space, newest run on top", no_wrap=True)
    table.add_column("", no_wrap=True, style="dim")
    for level, strip, note in lines:
        colour = _colour(level)
        table.add_row(Text(str(level), style=colour), Text(strip, style=colour), note)
    return table


def _colour(level: int) -> str:
    """Warm above, cold below."""
    return COLOURS[min(level, len(COLOURS) - 1)]
