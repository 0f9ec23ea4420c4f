"""Predicted beside measured: the engine's ledger on real stores, the model on nothing but the shape."""

import random
from itertools import islice

import pytest

import lsmkv
from lsmkv import cost
from lsmkv.policy import Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.testing import ManualScheduler, MemoryFileSystem

POLICIES = [Leveled(size_ratio=4), Tiered(size_ratio=4), LazyLeveling(size_ratio=4), Fluid(size_ratio=7, K=3, Z=2)]
VALUE = b"v" * 32
BLOCK = 4096 / 52
"""Entries in a block: key and value of 48 bytes and about 4 more for each."""


def key(i):
    return b"%016x" % (i * 0x9E3779B97F4A7C15 % 2**64)


def filled(policy, entries, level0_runs, **options):
    """A settled store of ``entries`` different keys in random order."""
    options = lsmkv.Options(
        fs=MemoryFileSystem(),
        scheduler=ManualScheduler(),
        policy=policy,
        memtable_bytes=64 << 10,
        level0_runs=level0_runs,
        table_bytes=128 << 10,
        **options,
    )
    db = lsmkv.open("/db", options)
    for first in range(0, entries, 200):
        db.put_many((key(i), VALUE) for i in range(first, min(first + 200, entries)))
        db.settle()
    db.flush()
    db.settle()
    return db


@pytest.mark.parametrize("policy", POLICIES)
def test_lookups_and_scans_cost_what_is_predicted(policy):
    with filled(policy, 40_000, 1, filter_bits_per_key=5) as db:
        rng = random.Random(1)
        tree = db.tree()
        said = cost.predict(cost.Workload(scan_entries=100), tree, cost.System(policy, block_entries=BLOCK, entry_bytes=48))
        with cost.window(db) as absent:
            assert not any(db.get(key(rng.randrange(10**9)) + b"x") for _ in range(20_000))
        with cost.window(db) as present:
            assert all(db.get(key(rng.randrange(40_000))) for _ in range(20_000))
        with cost.window(db) as scans:
            for _ in range(400):
                assert list(islice(db.scan(start=key(rng.randrange(40_000))), 100))
        assert absent.delta.zero_lookup_blocks == pytest.approx(said.zero_lookup_blocks, rel=0.06)
        assert absent.delta.zero_lookup_filter_checks == pytest.approx(said.zero_lookup_filter_checks, rel=0.01)
        assert present.delta.lookup_blocks == pytest.approx(said.lookup_blocks, rel=0.01)
        assert present.delta.lookup_filter_checks == pytest.approx(said.lookup_filter_checks, rel=0.01)
        assert scans.delta.scan_blocks == pytest.approx(said.scan_blocks, rel=0.05)
        assert cost.measured(db, scan=True).space_amplification == pytest.approx(said.space_amplification, rel=0.05)
        for found, level in zip(absent.delta.levels, said.levels, strict=False):
            if level.runs:
                assert found.false_positive_rate == pytest.approx(level.false_positive_rate, rel=0.2, abs=0.002)


@pytest.mark.parametrize("level0_runs", [1, 2, 4])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_load_writes_what_is_counted(policy, level0_runs):
    entries = 20_000
    with filled(policy, entries, level0_runs) as db:
        found, tree = cost.measured(db), db.tree()
        arrivals = round((entries - tree.levels[0].entries) / tree.buffer_entries)
        counted = cost.load_copies(policy.geometry, arrivals, level0_runs)
        for level, copies in zip(found.levels[1:], counted[1:], strict=False):
            assert level.copies == pytest.approx(copies * tree.buffer_entries / entries, rel=0.05, abs=0.02)
        assert found.levels[0].copies == 1.0
        assert found.update_copies == pytest.approx(1 + sum(counted[1:]) * tree.buffer_entries / entries, rel=0.05)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_load_leaves_the_ideal_tree(policy):
    with filled(policy, 40_000, 1) as db:
        tree = db.tree()
        flush = round(tree.buffer_entries / 2)
        ideal = cost.ideal_shape(policy, 40_000, flush_entries=flush, level0_runs=1, filter_bits_per_key=0)
        assert [[r.entries for r in level.runs] for level in tree.levels[1:]] == [
            [pytest.approx(r.entries, rel=0.05) for r in level.runs] for level in ideal.levels[1:]
        ]
