"""The picture of lesson 2: a log with a torn tail, and what survived each of 300 crashes."""

from __future__ import annotations

from collections import Counter

from sketch import Sketch, bars

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.testing import ManualScheduler, MemoryFileSystem

BATCHES, SYNCED, CRASHES = 20, 8, 300
TORN = {11: "torn", 12: "gone", 13: "", 14: "", 15: "gone", 16: ""}


def crashes() -> Counter[int]:
    """How many batches survived, counted over all crashes; the same store as in the lesson."""
    disk, survived = MemoryFileSystem(), Counter[int]()
    db = _open(disk)
    for number in range(1, BATCHES + 1):
        with db.batch(sync=number == SYNCED) as batch:
            batch.put(b"a", b"%d" % number).put(b"b", b"%d" % number)
    for seed in range(CRASHES):
        with _open(disk.crash(seeded(seed))) as found:
            survived[int(found.get(b"a") or b"0")] += 1
    return survived


def _open(disk: MemoryFileSystem) -> lsmkv.DB:
    """A store without threads."""
    return lsmkv.open("/db", lsmkv.Options(fs=disk, scheduler=ManualScheduler(), wal_sync="off"))


def picture() -> str:
    """The SVG."""
    sketch = Sketch(720, 330, "A log of frames with a torn tail, and a histogram of the batches that survived 300 crashes")
    sketch.text(0, 14, "a log after a crash", "b")
    for number in range(1, 17):
        left = (number - 1) * 42.0
        state = TORN.get(number, "good")
        if state == "good":
            sketch.box(left, 26, 39, 28, "c3" if number <= SYNCED else "c4", str(number))
        elif state:
            sketch.box(left, 26, 39, 28, "w o dash", state)
        else:
            sketch.box(left, 26, 39, 28, "c1", str(number))
    sketch.arrow((SYNCED * 42 - 1, 78), (SYNCED * 42 - 1, 58))
    sketch.text(SYNCED * 42 - 1, 92, "sync: durable up to here", "s mid")
    sketch.arrow((10 * 42 - 1, 78), (10 * 42 - 1, 58))
    sketch.text(10 * 42 + 8, 78, "the prefix ends: all behind is dropped, whole or not", "s")
    sketch.text(0, 128, f"batches that survived, {CRASHES} crashes after {BATCHES} batches, the {SYNCED}th synced", "b")
    found = crashes()
    values = [(str(n), float(found[n]), 3 if n == SYNCED else 4) for n in range(1, BATCHES + 1)]
    bars(sketch, values, (0, 152, 720, 150), max(found.values()))
    return sketch.svg()
