"""The picture of lesson 5: the runs of four policies after the same writes, and what each writes and reads."""

from __future__ import annotations

from math import log

from sketch import Chart, Sketch

from lsmkv import Fluid, LazyLeveling, Leveled, Tiered, Writes, simulate
from lsmkv.cost import closed_forms
from lsmkv.policy.base import Policy

NAMES = ["leveled", "fluid, K = 2", "lazy leveling", "tiered"]
COLOURS = [4, 5, 3, 0]
RATIOS = [2 + step / 4 for step in range(41)]
MEMTABLES = 126  # 63 arrivals of two: three full levels at T = 4
BITS = 5


def policies(ratio: int) -> list[Policy]:
    """The four of the lesson."""
    return [Leveled(ratio), Fluid(ratio, K=2, Z=1), LazyLeveling(ratio), Tiered(ratio)]


def formula(ratio: float, place: int) -> tuple[float, float]:
    """Copies per entry and blocks for an absent key in a full tree: inner levels and last level, by the closed forms."""
    inner = (1, 2, ratio - 1, ratio - 1)[place]
    last = ratio - 1 if place == 3 else 1
    levels = log(MEMTABLES / 2 + 1) / log(ratio)
    each = (ratio - 1) * (ratio - 1 + inner) / (2 * inner * ratio)  # closed_forms.update_exact, for any real T
    copies = 1 + (levels - 1) * each + (ratio - 1 + last) / (2 * last)
    return copies, closed_forms.zero_lookup(BITS, ratio, inner, last)


def picture() -> str:
    """The SVG."""
    sketch = Sketch(720, 510, "Runs of four policies after the same writes, and copies written against blocks read by each")
    sketch.text(
        0, 14, f"the same {MEMTABLES} memtables under each policy, T = 4: a bar a run, as long as the root of its entries", "b"
    )
    for place, policy in enumerate(policies(4)):
        _tree(sketch, place, policy)
    sketch.text(0, 196, "what each policy writes and reads, T from 2 to 12", "b")
    chart = Chart(
        sketch,
        x=(2, 10),
        y=(0, 1),
        x_ticks=range(2, 11),
        y_ticks=(0, 0.2, 0.4, 0.6, 0.8, 1),
        x_label="copies written per entry",
        y_label=f"blocks for an absent key ({BITS} filter bits a key)",
        area=(56, 230, 480, 230),
    )
    for place in range(4):
        pairs = [formula(ratio, place) for ratio in RATIOS if ratio >= 3 or place != 1]
        chart.series([pair for pair in pairs if pair[1] <= 1 and pair[0] <= 10], COLOURS[place], dots=False)
        row = simulate(policies(4)[place], Writes(entries=MEMTABLES * 100, memtable=100), filter_bits_per_key=BITS).last
        chart.series([(row.update_copies, row.zero_lookup_blocks or 0)], COLOURS[place], line=False)
    chart.legend(list(zip(NAMES, COLOURS, strict=True)), 560, 250)
    for row, words in enumerate(("lines: the formulas, for", "full and endless trees;", "dots: simulated, T = 4")):
        sketch.text(554, 340 + 16 * row, words, "s")
    return sketch.svg()


def _tree(sketch: Sketch, place: int, policy: Policy) -> None:
    """The runs of each level, one tree beside the other."""
    left = place * 182.0
    levels = simulate(policy, Writes(entries=MEMTABLES * 100, memtable=100)).last.levels
    sketch.text(left, 40, NAMES[place])
    for number, level in enumerate(levels[1:], 1):
        top = 52 + (number - 1) * 38
        x = left
        for run in level:
            width = 1.22 * run.entries**0.5 if len(level) < 3 else 0.66 * run.entries**0.5
            sketch.box(x, top, width, 26, f"c{COLOURS[place]}")
            x += width + 3
