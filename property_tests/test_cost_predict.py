"""Predictions against counting: every key of small random trees is looked up, every scan is made, on paper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv import cost
from lsmkv.cost.filters import filter_fpr
from lsmkv.policy import Fluid, Leveled
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape

SPACE = 1 << 20
BLOCK = 8


def name(key):
    return b"user" + int(key).to_bytes(4, "big")


@st.composite
def written_once(draw):
    """Runs (newest first) of different keys, each from its own range, cut into tables; and the same as a shape."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    keys = rng.permutation(SPACE)
    runs, at = [], 0
    for _ in range(draw(st.integers(1, 6))):
        low = draw(st.integers(0, 3)) * SPACE // 4
        high = draw(st.integers(low * 4 // SPACE + 1, 4)) * SPACE // 4
        part = keys[at : at + SPACE // 8]
        at += SPACE // 8
        part = np.sort(part[(part >= low) & (part < high)][: draw(st.integers(2_000, 10_000))])
        runs.append(np.array_split(part, draw(st.integers(1, 4))))
    return runs, shape_of(runs, draw(st.sampled_from([0, 2, 10])))


@st.composite
def overwritten(draw):
    """Runs of random subsets of the same keys above one that has them all."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    keys = np.sort(rng.choice(SPACE, 4_000, replace=False))
    shares = draw(st.lists(st.floats(0.05, 0.9), min_size=0, max_size=4))
    runs = [[np.sort(rng.choice(keys, int(share * len(keys)), replace=False))] for share in shares]
    return [*runs, np.array_split(keys, draw(st.integers(1, 4)))], keys


def shape_of(runs, bits_per_key):
    tables = iter(range(1, 1_000))

    def meta(keys):
        number = next(tables)
        return TableMeta(number, len(keys) * 100, len(keys), 0, name(keys[0]), name(keys[-1]), number, number)

    made = [Run(len(runs) - i, tuple(meta(part) for part in run)) for i, run in enumerate(runs)]
    shape = TreeShape((Level(tuple(made[:-1])), Level(tuple(made[-1:]))))
    return cost.with_filters(shape, bits_per_key)


def rates(runs, shape):
    """For each table its keys' ends and its false-positive rate, run by run."""
    metas = [run.tables for level in shape.levels for run in level.runs]
    return [
        [(part[0], part[-1], filter_fpr(t.filter_bits, t.entries)) for part, t in zip(run, tables, strict=True)]
        for run, tables in zip(runs, metas, strict=True)
    ]


def paid(tables, keys):
    """What each key, absent from this run, costs there."""
    result = np.zeros(len(keys))
    for low, high, p in tables:
        result[(keys >= low) & (keys <= high)] = p
    return result


def lookups(runs, shape, keys):
    """Blocks of a lookup of each key: absent (all runs), and present (the newest run that holds it)."""
    absent, present, open_ = np.zeros(len(keys)), np.zeros(len(keys)), np.ones(len(keys), bool)
    for run, tables in zip(runs, rates(runs, shape), strict=True):
        here = paid(tables, keys)
        absent += here
        holds = np.isin(keys, np.concatenate(run))
        present += np.where(open_, np.where(holds, 1.0, here), 0.0)
        open_ &= ~holds
    assert not open_.any()
    return absent.mean(), present.mean()


def scan_mean(runs, live, entries):
    """Mean blocks of the scans that start at each live key, as design section 5 counts them."""
    ends = live[np.minimum(np.arange(len(live)) + entries - 1, len(live) - 1)]
    total = np.zeros(len(live))
    for table in (part for run in runs for part in run):
        taken = np.searchsorted(table, ends, "right") - np.searchsorted(table, live, "left")
        meets = (table[0] <= ends) & (table[-1] >= live)
        total += np.where(meets, 1 + np.maximum(taken - 1, 0) / BLOCK, 0.0)
    return total.mean()


@settings(max_examples=60, deadline=None)
@given(written_once(), st.sampled_from([1, 16, 300]))
def test_keys_written_once_cost_what_counting_finds(tree, scan_entries):
    runs, shape = tree
    live = np.sort(np.concatenate([part for run in runs for part in run]))
    found = cost.predict(cost.Workload(scan_entries=scan_entries), shape, cost.System(Leveled(), block_entries=BLOCK))
    absent, present = lookups(runs, shape, live)
    assert found.zero_lookup_blocks == pytest.approx(absent, rel=0.05, abs=0.01)
    assert found.lookup_blocks == pytest.approx(present, rel=0.05)
    assert found.scan_blocks == pytest.approx(scan_mean(runs, live, scan_entries), rel=0.1)
    assert sum(level.answers for level in found.levels) == pytest.approx(1.0)
    assert sum(level.zero_lookup_blocks for level in found.levels) == pytest.approx(found.zero_lookup_blocks)
    assert sum(level.scan_blocks for level in found.levels) == pytest.approx(found.scan_blocks)


@settings(max_examples=60, deadline=None)
@given(overwritten(), st.sampled_from([0, 3, 10]), st.sampled_from([1, 16, 300]))
def test_overwritten_keys_cost_what_counting_finds(tree, bits_per_key, scan_entries):
    runs, live = tree
    shape = shape_of(runs, bits_per_key)
    workload = cost.Workload(live_entries=len(live), scan_entries=scan_entries)
    found = cost.predict(workload, shape, cost.System(Leveled(), block_entries=BLOCK))
    absent, present = lookups(runs, shape, live)
    assert found.zero_lookup_blocks == pytest.approx(absent, rel=0.05, abs=0.01)
    assert found.lookup_blocks == pytest.approx(present, rel=0.05)
    assert found.scan_blocks == pytest.approx(scan_mean(runs, live, scan_entries), rel=0.1)
    assert found.space_amplification == pytest.approx(
        (shape.entries * 105 + sum(t.filter_bits for t in shape.tables) / 8) / (len(live) * 100)
    )


@given(st.integers(2, 6), st.data(), st.integers(0, 5_000), st.integers(0, 4))
def test_an_ideal_tree_holds_every_whole_memtable_and_is_settled(ratio, data, flushes, level0_runs):
    policy = Fluid(ratio, K=data.draw(st.integers(1, ratio - 1)), Z=data.draw(st.integers(1, ratio - 1)))
    shape = cost.ideal_shape(policy, flushes * 10 + 3, flush_entries=10, level0_runs=level0_runs)
    assert shape.entries == flushes * 10
    assert policy.pick(shape) is None
