"""The picture of lesson 7: segments before and after garbage collection, and hit rates of four eviction policies."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
from sketch import Chart, Sketch

from lsmkv.env.rng import seeded
from lsmkv_tensor.retention.admission import AdmitAll
from lsmkv_tensor.trace import replay
from lsmkv_tensor.trace.blocks import BlockCache
from lsmkv_tensor.trace.generate import Phase, generate

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
SLOTS = 14
SEED = 1


def picture() -> str:
    """The SVG."""
    sketch = Sketch(720, 330, "A log of four segments half dead is moved into two; hit rates of fifo, lru, mq and the solution")
    sketch.text(0, 14, "a value log", "b")
    alive = np.random.default_rng(SEED).random((4, SLOTS)) < 0.5
    _segments(sketch, 26, "half of the pages were deleted", [list(row) for row in alive])
    left = int(alive.sum())
    moved = [[at < left - segment * SLOTS for at in range(SLOTS)] for segment in range(4)]
    _segments(sketch, 180, f"after collection: {left} pages copied, two segments free", moved)
    sketch.text(330, 14, "hit rate over capacity, a made-up trace", "b")
    chart = Chart(
        sketch,
        x=(0.01, 0.2),
        y=(0, 0.6),
        x_ticks=SHARES,
        y_ticks=(0, 0.2, 0.4, 0.6),
        x_label="capacity, share of the distinct blocks",
        y_label="blocks that were there",
        log="x",
        area=(372, 52, 320, 220),
    )
    trace = generate([Phase(requests=500)], seeded(SEED))
    names = [("fifo", 2), ("lru", 0), ("mq", 4), ("the solution", 3)]
    for name, colour in names[:3]:
        chart.series([(row.capacity_share, row.hit_rate) for row in replay(trace, capacity=SHARES, eviction=name)], colour)
    solution, pairs = _solution(), []
    for share in SHARES:
        blocks = int(share * trace.unique_blocks)
        cache = BlockCache(blocks, trace.unique_blocks, solution.Keep(blocks), AdmitAll(blocks))
        hits = sum(cache.serve(request) for request in trace.requests)
        pairs.append((share, hits / sum(len(request.blocks) for request in trace.requests)))
    chart.series(pairs, 3, dash="dash")
    chart.legend(names, 390, 78)
    return sketch.svg()


def _segments(sketch: Sketch, top: float, words: str, rows: list[list[bool]]) -> None:
    """Segments, one below the other; a page that lives is filled."""
    sketch.text(0, top + 12, words, "s")
    for number, row in enumerate(rows):
        for at, lives in enumerate(row):
            sketch.box(at * 20, top + 22 + number * 26, 18, 22, "c4" if lives else "w")


def _solution() -> ModuleType:
    """``solution.py`` beside this file."""
    spec = importlib.util.spec_from_file_location("solution_07", Path(__file__).parent / "solution.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
