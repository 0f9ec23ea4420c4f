"""The picture of lesson 8: what static shapes and the controller pay over one day, and the runs of the controller's tree."""

from __future__ import annotations

from sketch import Chart, Sketch

from lsmkv import LazyLeveling, Leveled, Tiered
from lsmkv.controller import Adaptive, Prices
from lsmkv.controller.prices import Mix
from lsmkv.controller.sizes import SizeTree
from lsmkv.lab.phases.play import Strategy, loaded, play
from lsmkv.lab.phases.sequences import KINDS, Phase, Sequence
from lsmkv.lab.phases.strategies import Controlled

DAY = [("ingest", 400), ("probe-heavy", 400), ("write burst", 200), ("seek-only", 200), ("chat", 400), ("seek-only", 120)]
SHAPES = [("leveled, T = 10", Leveled(10), 4), ("lazy, T = 4", LazyLeveling(4), 1), ("tiered, T = 4", Tiered(4), 0)]
MILLION = 1e6
EVERY = 8
"""Ticks between two points of a line."""


class Watched:
    """Plays a strategy, or none, and writes down what was paid and how many runs there are, tick by tick."""

    def __init__(self, strategy: Strategy | None = None) -> None:
        self.strategy = strategy
        self.paid: list[float] = []
        self.runs: list[float] = []

    def tick(self, tree: SizeTree, done: Mix, blocks: float) -> None:
        """One tick."""
        self.paid.append(blocks + (self.paid[-1] if self.paid else 0.0))
        self.runs.append(float(sum(1 for _ in tree.runs())))
        if self.strategy is not None:
            self.strategy.tick(tree, done, blocks)


def picture() -> str:
    """The SVG."""
    day = Sequence(0, 200, False, tuple(Phase(kind, ticks, KINDS[kind], KINDS[kind]) for kind, ticks in DAY))
    sketch = Sketch(720, 450, "Blocks paid over a day by three static shapes and by the controller, and the runs of its tree")
    sketch.text(0, 14, "millions of blocks paid since the morning", "b")
    area = (56, 60, 530, 190)
    ticks = range(0, day.ticks + 1, 400)
    top = Chart(sketch, (0, day.ticks), (0, 2.2), ticks, (0, 0.5, 1, 1.5, 2), "", "", area=area)
    _phases(sketch, top, 42)
    for _, shape, colour in SHAPES:
        watched = Watched()
        play(day, loaded(shape.geometry, day), Prices(), watched)
        top.series(_line([paid / MILLION for paid in watched.paid]), colour, dots=False)
    watched = Watched(Controlled(Adaptive()))
    play(day, loaded(Leveled(10).geometry, day), Prices(), watched)
    top.series(_line([paid / MILLION for paid in watched.paid]), 3, dots=False)
    top.legend([(name, colour) for name, _, colour in SHAPES] + [("the controller", 3)], 604, 90)
    sketch.text(0, 300, "runs of the controller's tree", "b")
    area = (56, 326, 530, 80)
    most = max(watched.runs) + 1
    low = Chart(sketch, (0, day.ticks), (0, most), ticks, range(0, int(most), 5), "time, in ticks", "", area=area)
    low.series(_line(watched.runs), 3, dots=False)
    return sketch.svg()


def _phases(sketch: Sketch, chart: Chart, y: float) -> None:
    """Names of the phases, and lines between them."""
    begun = 0
    for kind, ticks in DAY:
        left, right = chart.at(begun, 0)[0], chart.at(begun + ticks, 0)[0]
        sketch.text((left + right) / 2, y, kind.replace("-only", "").replace("-heavy", ""), "s mid")
        begun += ticks
        sketch.line([(right, y + 6), (right, 406)], "g dash")


def _line(values: list[float]) -> list[tuple[float, float]]:
    """Some of the values over their ticks."""
    return [(float(tick), value) for tick, value in enumerate(values) if tick % EVERY == 0]
