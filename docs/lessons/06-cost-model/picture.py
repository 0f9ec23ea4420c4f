"""The picture of lesson 6: filter bits as water over the levels, and blocks of absent keys predicted and measured."""

from __future__ import annotations

from math import log

from sketch import Chart, Sketch

import lsmkv
from lsmkv import Leveled, cost
from lsmkv.cost import System, Workload
from lsmkv.testing import ManualScheduler, MemoryFileSystem

SIZES = [1_000, 4_000, 16_000]
LN2_SQUARED = log(2) ** 2
BITS = (1, 3, 5, 7, 9)
COUNT, PORTION = 7_800, 150


def picture() -> str:
    """The SVG."""
    sketch = Sketch(
        720, 380, "Filter bits as water over three levels, for a rich and a poor budget; predicted and measured blocks"
    )
    sketch.text(0, 14, "5 bits a key: the water covers all", "b")
    _water(sketch, 0, 5)
    sketch.text(0, 204, "half a bit a key: the large run stays dry", "b")
    _water(sketch, 190, 0.5)
    sketch.text(330, 14, "blocks for an absent key, leveled T = 3, three full levels", "b")
    chart = Chart(
        sketch,
        x=(0, 10),
        y=(0.01, 3),
        x_ticks=range(0, 11, 2),
        y_ticks=(0.01, 0.1, 1),
        x_label="filter bits per key",
        y_label="lines: predicted; dots: measured",
        log="y",
        area=(372, 52, 320, 270),
    )
    for sharing, colour in (("uniform", 0), ("monkey", 4)):
        pairs = [_blocks(sharing, bits) for bits in BITS]
        chart.series([(bits, said) for bits, (said, _) in zip(BITS, pairs, strict=True)], colour, dots=False)
        chart.series([(bits, seen) for bits, (_, seen) in zip(BITS, pairs, strict=True)], colour, line=False)
    chart.legend([("the same for every key", 0), ("water-filled (Monkey)", 4)], 530, 80)
    return sketch.svg()


def _water(sketch: Sketch, top: float, bits: float) -> None:
    """A ground of heights ln n, and the water over it; widths show the entries."""
    depths = cost.allocate(SIZES, bits * sum(SIZES))
    bottom, scale, left = top + 170, 11.0, 0.0
    for entries, depth, width in zip(SIZES, depths, (50, 80, 150), strict=True):
        ground, water = log(entries) * scale, depth * LN2_SQUARED * scale
        sketch.box(left, bottom - ground, width - 2, ground, "c1", f"{entries:,}")
        if water:
            sketch.box(left, bottom - ground - water, width - 2, water, "c4")
        sketch.text(left + width / 2, bottom - ground - water - 5, f"{depth:.1f} bits", "s mid")
        left += width


def _blocks(sharing: str, bits: float) -> tuple[float, float]:
    """Predicted and measured blocks for an absent key in a real store."""
    options = lsmkv.Options(
        policy=Leveled(3),
        level0_runs=1,
        filter_bits_per_key=bits,
        filter_allocation="monkey" if sharing == "monkey" else "uniform",
        fs=MemoryFileSystem(),
        scheduler=ManualScheduler(),
    )
    with lsmkv.open("/db", options) as db:
        for start in range(0, COUNT, PORTION):
            db.put_many((b"key:%08d" % (i * 7919 % COUNT), b"v") for i in range(start, start + PORTION))
            db.flush()
            db.settle()
        with cost.window(db) as seen:
            for i in range(COUNT):
                db.get(b"key:%08d!" % i)
        said = cost.predict(Workload(), db.tree(), System(Leveled(3)))
        return said.zero_lookup_blocks, seen.delta.zero_lookup_blocks or 0.0
