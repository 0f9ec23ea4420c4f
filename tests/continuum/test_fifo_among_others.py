"""FIFO taking turns with other policies: newest value or nothing, no value comes back, what is being read stays."""

from __future__ import annotations

import random

import pytest

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler, ThreadedScheduler
from lsmkv.policy import FIFO, LazyLeveling, Leveled, Tiered
from lsmkv.testing import ManualClock, MemoryFileSystem

from .conftest import SMALL, key

POLICIES = [
    FIFO(6_000),
    FIFO(20_000, ttl_s=3.0),
    FIFO(1 << 30, ttl_s=2.0),
    Leveled(2),
    Tiered(3),
    LazyLeveling(4),
    Leveled(2, partial="oldest"),
]
KEYS = 150


class Turns:
    """A store, the newest value of every key, keys that were forgotten, and what is being read."""

    def __init__(self, seed, scheduler):
        self.rng, self.scheduler = random.Random(seed), scheduler
        self.fs, self.clock = MemoryFileSystem(), ManualClock()
        self.newest, self.forgotten, self.views, self.scans = {}, set(), [], []
        self.writes = 0
        self.open(POLICIES[0])

    def open(self, policy):
        options = {"level0_runs": self.rng.choice([1, 3]), "tombstone_age_s": self.rng.choice([None, 1.5]), "block_bytes": 256}
        more = {"fs": self.fs, "clock": self.clock, "scheduler": self.scheduler(), "policy": policy}
        self.db = lsmkv.open("/db", lsmkv.Options(**(SMALL | options | more)))

    def write(self):
        keys = [key(self.rng.randrange(KEYS)) for _ in range(self.rng.randrange(1, 25))]
        self.writes += 1
        if self.rng.random() < 0.3:
            self.db.delete_many(keys)
            for one in keys:
                self.newest.pop(one, None)
        else:
            pairs = [(one, b"%d.%d" % (self.writes, i)) for i, one in enumerate(keys)]
            self.db.put_many(pairs)
            self.newest.update(pairs)
        self.forgotten -= set(keys)

    def work(self):
        self.rng.choice([self.db.flush, self.db.flush, self.db.step, self.db.settle])()

    def tick(self):
        self.clock.advance(self.rng.random())

    def switch(self):
        self.db.set_policy(self.rng.choice(POLICIES), self.rng.choice(["greedy", "lazy"]))

    def compact(self):
        self.db.compact(key(self.rng.randrange(KEYS)), key(self.rng.randrange(KEYS)))

    def view(self):
        if len(self.views) == 3:
            self.views.pop(self.rng.randrange(3))[0].close()
        view = self.db.snapshot()
        self.views.append((view, list(view.scan())))

    def scan(self):
        """Begin one, end another."""
        reverse = self.rng.random() < 0.5
        view = self.db.snapshot()
        seen = list(view.scan(reverse=reverse))
        scan = iter(view.scan(reverse=reverse))
        view.close()
        self.scans.append((scan, [pair for pair in [next(scan, None)] if pair], seen))
        if len(self.scans) > 2:
            self.end_scan()

    def end_scan(self):
        scan, first, seen = self.scans.pop(0)
        assert first + list(scan) == seen

    def reopen(self):
        while self.scans:
            self.end_scan()
        while self.views:
            self.views.pop()[0].close()
        self.db.close()
        self.open(self.rng.choice([None, *POLICIES]))

    def check(self):
        seen = dict(self.db.scan())
        assert seen.items() <= self.newest.items()
        assert not self.forgotten & seen.keys(), "came back"
        self.forgotten |= self.newest.keys() - seen.keys()
        for view, before in self.views:
            assert list(view.scan()) == before
        self.db.check()


@pytest.mark.parametrize("scheduler", [ManualScheduler, ThreadedScheduler])
@pytest.mark.parametrize("seed", range(5))
def test_newest_or_nothing_and_nothing_comes_back(seed, scheduler):
    turns = Turns(seed, scheduler)
    kinds = {"write": 45, "work": 22, "tick": 5, "view": 6, "scan": 5, "switch": 5, "compact": 1, "reopen": 1}
    for kind in turns.rng.choices(list(kinds), list(kinds.values()), k=250):
        getattr(turns, kind)()
        turns.check()
    turns.reopen()
    turns.db.settle()
    turns.check()
    assert turns.db.stats().background_failures == 0
    turns.db.close()
    assert lsmkv.verify("/db", fs=turns.fs).ok
