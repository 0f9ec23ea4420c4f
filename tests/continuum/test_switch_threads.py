"""Writers, readers and whoever switches the policy, all at once; and the power cut among them."""

from __future__ import annotations

import contextlib
import random
import threading

import pytest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ThreadedScheduler
from lsmkv.policy import LazyLeveling, Leveled
from lsmkv.testing import MemoryFileSystem

from .conftest import CHAIN, KEYS, SMALL, key, open_small


class Crowd:
    """Threads that write, read and switch; each writer owns every fourth key and knows what it wrote."""

    def __init__(self, db, rounds, *, paces=("greedy", "lazy")):
        self.db, self.rounds, self.paces = db, rounds, paces
        self.errors: list[BaseException] = []
        self.over = threading.Event()
        self.acknowledged = [0] * 4
        self.durable = [0] * 4

    def start(self, *work):
        threads = [threading.Thread(target=self.guarded, args=(one,)) for one in work]
        for thread in threads:
            thread.start()
        return threads

    def guarded(self, work):
        try:
            work()
        except BaseException as error:  # told by the test
            self.errors.append(error)

    def write(self, who):
        """Round n puts n under all of its keys at once, but deletes those that n says."""
        for n in range(1, self.rounds + 1):
            with self.db.batch() as batch:
                for i in range(who, KEYS, 4):
                    if (i // 4 + n) % 5:
                        batch.put(key(i), b"%06d" % n)
                    else:
                        batch.delete(key(i))
            self.acknowledged[who] = n
            if n % 7 == 0:
                self.db.sync()
                self.durable[who] = n

    def switch(self):
        rng = random.Random(1)
        while not self.over.is_set():
            for policy in CHAIN:
                self.db.set_policy(policy, rng.choice(self.paces))

    def read(self):
        """What is seen of a writer is one whole round, and never an older one than before."""
        newest = [0] * 4
        while not self.over.is_set():
            for who in range(4):
                low = self.acknowledged[who]
                with self.db.snapshot() as view:
                    seen = rounds_of(dict(view.scan()), who)
                    assert newest[who] <= seen
                    assert low <= seen
                    newest[who] = seen
                    assert rounds_of(dict(view.scan(reverse=True)), who) == seen
                    mine = [key(i) for i in range(who, KEYS, 4)]
                    assert rounds_of({k: v for k, v in zip(mine, view.get_many(mine), strict=True) if v}, who) == seen


def rounds_of(contents, who):
    """The round that explains all keys of a writer; AssertionError if there is none."""
    mine = {i: contents.get(key(i)) for i in range(who, KEYS, 4)}
    rounds = {int(v) for v in mine.values() if v is not None}
    if not rounds:
        return 0
    assert len(rounds) == 1, f"rounds {sorted(rounds)} at once"
    n = rounds.pop()
    assert all((v is not None) == bool((i // 4 + n) % 5) for i, v in mine.items()), f"round {n} is not whole"
    return n


CROWDED = {"scheduler": None, "memtable_bytes": 32 << 10, "table_bytes": 4096, "stall_timeout_s": 120}


def test_four_writers_two_readers_and_switches_all_the_time(tmp_path):
    options = lsmkv.Options(**(SMALL | CROWDED | {"level0_runs": 1}))
    with lsmkv.open(str(tmp_path / "db"), options) as db:
        crowd = Crowd(db, 25)
        writers = crowd.start(*(lambda who=who: crowd.write(who) for who in range(4)))
        others = crowd.start(crowd.read, crowd.read, crowd.switch)
        for thread in writers:
            thread.join()
        crowd.over.set()
        for thread in others:
            thread.join()
        assert crowd.errors == []
        db.set_policy(Leveled(4))
        db.settle()
        assert db.stats().transition.done
        contents = dict(db.scan())
        assert [rounds_of(contents, who) for who in range(4)] == [25] * 4
        assert db.stats().background_failures == 0
        db.check()


@pytest.mark.parametrize("seed", range(8))
def test_a_power_cut_among_threads_that_write_and_switch_leaves_whole_rounds(seed):
    rng, fs = random.Random(seed), MemoryFileSystem()
    db = open_small(fs, **(SMALL | CROWDED | {"scheduler": ThreadedScheduler()}))
    crowd = Crowd(db, 400)
    left = 300 + rng.randrange(1500)

    def hook(op, path):
        nonlocal left
        left -= 1
        if left == 0:
            fs.power_off()

    fs.on_op = hook
    threads = crowd.start(*(lambda who=who: crowd.write(who) for who in range(4)), crowd.switch)
    for thread in threads[:4]:
        thread.join()
    crowd.over.set()
    threads[4].join()
    fs.on_op = None
    durable, acknowledged = list(crowd.durable), list(crowd.acknowledged)
    assert left <= 0, "all was written before the power went"
    assert all(isinstance(error, lsmkv.LsmError) for error in crowd.errors), crowd.errors
    with contextlib.suppress(lsmkv.LsmError):
        db.close()
    for outcome in (None, seeded(seed), seeded(seed + 100)):
        with open_small(fs.crash(outcome), **SMALL) as again:
            contents = dict(again.scan())
            found = [rounds_of(contents, who) for who in range(4)]
            for low, seen, high in zip(durable, found, acknowledged, strict=True):
                assert low <= seen <= high + 1
            again.set_policy(LazyLeveling(3))
            again.settle()
            assert again.stats().transition.done
            assert dict(again.scan()) == contents
            again.check()
