"""The picture of lesson 3: a table file, and the false-positive rate of its filter, predicted and measured."""

from __future__ import annotations

from sketch import Chart, Sketch

from lsmkv.base.hashing import hash_keys
from lsmkv.cost import closed_forms, filter_fpr
from lsmkv.sstable.bloom import Bloom, build

ENTRIES, ASKED = 4_000, 40_000
PARTS = [
    ("block 0", 4),
    ("block 1", 4),
    ("block 2", 4),
    ("...", 4),
    ("filter", 3),
    ("fences", 1),
    ("properties", 1),
    ("footer", 1),
]


def measured(bits: int) -> float:
    """The share of absent keys that pass a real filter."""
    data, m, k = build(hash_keys([b"here:%d" % i for i in range(ENTRIES)]), bits)
    asked = hash_keys([b"there:%d" % i for i in range(ASKED)])
    return float(Bloom(data, m, k).check_many(asked).mean())


def picture() -> str:
    """The SVG."""
    sketch = Sketch(720, 420, "The parts of a table file, and a chart: each bit a key divides the false-positive rate by 1.6")
    sketch.text(0, 14, "a table file", "b")
    for place, (name, colour) in enumerate(PARTS):
        sketch.box(place * 88, 26, 85, 28, f"c{colour}", name)
    sketch.text(0, 74, "on disk; one block is read for a key that passes", "s")
    sketch.text(352, 94, "in memory while the table is open: filter, fences, bounds", "s")
    sketch.line([(352, 60), (352, 80), (613, 80), (613, 60)])
    sketch.text(0, 136, "absent keys that pass the filter", "b")
    chart = Chart(
        sketch,
        x=(0, 16),
        y=(0.0003, 1),
        x_ticks=range(0, 17, 2),
        y_ticks=[1, 0.1, 0.01, 0.001],
        x_label="filter bits per key",
        y_label="false-positive rate",
        log="y",
        area=(56, 166, 420, 210),
    )
    bits = range(17)
    chart.series([(b, closed_forms.bloom_fpr(b)) for b in bits], 4, dots=False)
    built = [(b / 4, filter_fpr(int(ENTRIES * b / 4), ENTRIES)) for b in range(1, 65)]
    chart.series(built, 1, dots=False, dash="dash")
    chart.series([(b, measured(b)) for b in range(1, 15)], 0, line=False)
    names = [("ideal: e^(-bits ln2^2)", 4), ("with a whole number of probes", 1), (f"measured, {ASKED:,} absent keys", 0)]
    chart.legend(names, 500, 190)
    return sketch.svg()
