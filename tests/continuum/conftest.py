"""What these tests share: a store with tiny buffers on an in-memory disk, and arrivals for it."""

from __future__ import annotations

import random

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.policy import Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.testing import ManualScheduler, MemoryFileSystem

CHAIN = [Leveled(4), Tiered(4), LazyLeveling(4), Fluid(4, K=2, Z=2), Leveled(4), Leveled(2), Leveled(6), Tiered(3), Leveled(3)]
KEYS = 400
SMALL = {"memtable_bytes": 4096, "table_bytes": 1024, "level0_stop_runs": 5}


def open_small(fs: MemoryFileSystem, **chosen):
    """A store that is driven by hand."""
    settings = {
        "scheduler": ManualScheduler(),
        "rng": seeded(1),
        "memtable_bytes": 1 << 20,
        "table_bytes": 2048,
        "block_bytes": 256,
        "level0_runs": 1,
        "level0_stop_runs": 8,
        "block_cache_bytes": 1 << 16,
    }
    return lsmkv.open("/db", lsmkv.Options(fs=fs, **(settings | chosen)))


def key(number: int) -> bytes:
    """Twelve bytes."""
    return b"key-%08d" % number


def arrive(db, pairs, *, settle=True):
    """One memtable."""
    db.put_many(pairs)
    db.flush()
    if settle:
        db.settle()


def runs(db):
    """Runs of each level."""
    return [len(level.runs) for level in db.tree().levels]


def load_new(db, arrivals, entries, rng=None, first=0):
    """``arrivals`` memtables of ``entries`` keys that were never there, in random order; what was written."""
    order = list(range(first, first + arrivals * entries))
    (rng or random.Random(0)).shuffle(order)
    for at in range(0, len(order), entries):
        arrive(db, [(key(n), b"v%07d" % n) for n in order[at : at + entries]])
    return {key(n): b"v%07d" % n for n in order}
