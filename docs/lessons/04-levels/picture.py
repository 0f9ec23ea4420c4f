"""The picture of lesson 4: the levels of a leveled tree after each arrival, and what each arrival made it write."""

from __future__ import annotations

from sketch import Chart, Sketch

from lsmkv import Leveled, Writes, simulate
from lsmkv.lab import Row

RATIO, ARRIVALS = 4, 64
COLOURS = {1: 1, 2: 3, 3: 4, 4: 5}


def picture() -> str:
    """The SVG."""
    rows = simulate(Leveled(size_ratio=RATIO), Writes(entries=2 * ARRIVALS * 100, memtable=100)).rows
    after: dict[int, Row] = {}
    wrote: dict[int, int] = {}
    for row in rows:
        arrival = -(-row.writes // 200)
        if row.kind == "compaction":
            after[arrival] = row
            wrote[arrival] = wrote.get(arrival, 0) + row.written_entries
    sketch = Sketch(
        720, 440, f"A leveled tree of ratio {RATIO}: levels fill and carry like digits; cost of each of {ARRIVALS} arrivals"
    )
    sketch.text(0, 14, f"the tree after each arrival (leveled, T = {RATIO})", "b")
    area = (56, 46, 560, 190)
    top = Chart(
        sketch,
        (0, ARRIVALS),
        (0, ARRIVALS),
        range(0, ARRIVALS + 1, 16),
        (0, 16, 32, 48, 64),
        "",
        "arrivals in the tree",
        area=area,
    )
    for arrival, row in after.items():
        below = 0.0
        for level in range(len(row.levels) - 1, 0, -1):
            held = sum(run.entries for run in row.levels[level]) / 200
            _tower(sketch, top, arrival, below, held, COLOURS[level])
            below += held
    sketch.text(0, 290, "arrivals written by the merges of each arrival", "b")
    area = (56, 318, 560, 80)
    low = Chart(sketch, (0, ARRIVALS), (0, ARRIVALS), range(0, ARRIVALS + 1, 16), (0, 32, 64), "arrival", "", area=area)
    for arrival, entries in wrote.items():
        _tower(sketch, low, arrival, 0, entries / 200, 0)
    for place, level in enumerate((1, 2, 3, 4)):
        sketch.box(632, 60 + place * 26, 80, 22, f"c{COLOURS[level]}", f"level {level}")
    return sketch.svg()


def _tower(sketch: Sketch, chart: Chart, arrival: int, below: float, height: float, colour: int) -> None:
    """A part of the bar of one arrival."""
    if not height:
        return
    left, top = chart.at(arrival - 1 + 0.1, below + height)
    right, bottom = chart.at(arrival - 0.1, below)
    sketch.parts.append(
        f'<rect class="c{colour}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"/>'
    )
