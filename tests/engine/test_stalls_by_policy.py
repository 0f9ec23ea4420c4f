"""Whatever the policy: a write that finds the store full waits for work that makes room, and there always is such work."""

from __future__ import annotations

import random
import threading

import pytest

import lsmkv
from lsmkv.maintain.scheduler import ThreadedScheduler

POLICIES = [
    lsmkv.Leveled(size_ratio=3),
    lsmkv.Leveled(size_ratio=3, partial="least_overlap"),
    lsmkv.Leveled(size_ratio=4, partial="round_robin"),
    lsmkv.Tiered(size_ratio=4),
    lsmkv.LazyLeveling(size_ratio=4),
    lsmkv.Fluid(size_ratio=6, K=2, Z=3),
    lsmkv.FIFO(capacity_bytes=1 << 20),
]


def pairs(count, seed):
    rng = random.Random(seed)
    return {b"%06d" % rng.randrange(10**6): b"v" * 40 for _ in range(count)}


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("level0_runs", [1, 3])
def test_a_store_driven_by_its_writer_never_gets_stuck(open_db, policy, level0_runs):
    """The limits are as tight as they can be, and nobody works but the write that finds the store full."""
    written = pairs(4000, seed=3)
    with open_db(policy=policy, level0_runs=level0_runs, level0_stop_runs=level0_runs + 1, max_immutables=1) as db:
        for key, value in written.items():
            db.put(key, value)
        assert len(db.tree().levels[0].runs) <= level0_runs + 1
        assert sum(db.stats().stalls.values()) > 0
        assert dict(db.scan()) == written
        db.settle()
        assert len(db.tree().levels[0].runs) <= level0_runs
        db.check()


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_writers_and_workers_come_to_terms(memory_fs, policy):
    options = lsmkv.Options(
        fs=memory_fs, policy=policy, memtable_bytes=8192, table_bytes=8192, level0_runs=1, level0_stop_runs=2,
        max_immutables=1, scheduler=ThreadedScheduler(),
    )  # fmt: skip
    written = pairs(3000, seed=4)
    items = list(written.items())
    with lsmkv.open("/db", options) as db:
        writers = [threading.Thread(target=db.put_many, args=(items[n::3],)) for n in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert dict(db.scan()) == written
        assert db.stats().background_failures == 0
        db.settle()
        db.check()


def test_a_switch_that_owes_much_does_not_starve_writes(open_db):
    """Surplus work comes after room for writes: level 0 is emptied first."""
    with open_db(policy=lsmkv.Tiered(size_ratio=6), level0_runs=1, level0_stop_runs=2, max_immutables=1) as db:
        first = pairs(3000, seed=5)
        db.put_many(first.items())
        db.settle()
        db.set_policy(lsmkv.Leveled(size_ratio=3))
        more = pairs(2000, seed=6)
        for key, value in more.items():
            db.put(key, value)
        assert dict(db.scan()) == first | more
        db.settle()
        assert db.stats().transition.done
        db.check()
