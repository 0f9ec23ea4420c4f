"""The picture of lesson 1: a dict in order of arrival, and the chunks of sorted keys that a scan has fed."""

from __future__ import annotations

from sketch import Sketch

from lsmkv.env.rng import seeded

SEED = 6
FED, NEW = 13, 4
CHUNK = 4
WORDS = ["ant", "bee", "cat", "cow", "dog", "eel", "elk", "emu", "fox", "gnu", "hen", "jay", "owl", "pig", "ram", "rat", "yak"]


def picture() -> str:
    """The SVG."""
    rng = seeded(SEED)
    arrived = sorted(WORDS, key=lambda _: rng.random())
    fed, late = arrived[:FED], arrived[FED:]
    sketch = Sketch(720, 252, "A dict in order of arrival; below it a skiplist of four chunks that holds the keys fed so far")
    sketch.text(0, 14, "dict: key to newest version, in order of arrival", "b")
    for place, key in enumerate(arrived):
        new = place >= FED
        sketch.box(place * 42, 28, 39, 26, "w o dash" if new else "w", key)
    sketch.text(0, 74, f"the first {FED} have been fed", "s")
    sketch.text(FED * 42, 74, f"the last {NEW}: at the next scan", "s")
    chunks = [sorted(fed)[at : at + CHUNK] for at in range(0, FED, CHUNK)]
    heights = [1 + (rng.random() < 0.5) + (rng.random() < 0.25) for _ in chunks]
    _skiplist(sketch, chunks, heights)
    sketch.text(
        0,
        244,
        f"waiting: {', '.join(sorted(late))}. A scan sorts these four alone and walks down the lanes once for each chunk.",
        "s",
    )
    return sketch.svg()


def _skiplist(sketch: Sketch, chunks: list[list[str]], heights: list[int]) -> None:
    """Lanes over chunks; the head stands in every lane."""
    sketch.text(0, 112, "ordered set: an unrolled skiplist, keys only", "b")
    base, pitch, first = 190, 28, 96
    lefts = [first + place * 152 for place in range(len(chunks))]
    for lane in range(3):
        y = base - lane * pitch
        sketch.text(0, y + 16, f"lane {lane}", "s")
        here = 60.0
        for left, height in zip(lefts, heights, strict=True):
            if height > lane:
                sketch.arrow((here, y + 12), (left - 2, y + 12))
                here = left + 128.0 if lane == 0 else left + 24.0
        sketch.arrow((here, y + 12), (704, y + 12), "a dash")
        sketch.box(42, y, 18, 24, "c4")
    for left, height, chunk in zip(lefts, heights, chunks, strict=True):
        for lane in range(1, height):
            sketch.box(left, base - lane * pitch, 24, 24, "c4")
        sketch.box(left, base, 128, 26, "c4", " ".join(chunk))
