"""Predicted beside measured: the columns agree on a store as the model knows it, and what-if is told for the same workload."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice

import pytest

import lsmkv
from lsmkv import cost
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import LazyLeveling, Leveled, Tiered
from lsmkv.testing import ManualScheduler, MemoryFileSystem

ENTRIES = 20_000


def key(i: int) -> bytes:
    return b"%016x" % (i * 0x9E3779B97F4A7C15 % 2**64)


@pytest.fixture(scope="module")
def db():
    options = lsmkv.Options(
        fs=MemoryFileSystem(),
        scheduler=ManualScheduler(),
        policy=LazyLeveling(4),
        memtable_bytes=64 << 10,
        level0_runs=1,
        filter_bits_per_key=4,
    )
    with lsmkv.open("/db", options) as db:
        for first in range(0, ENTRIES, 100):
            db.put_many((key(i), b"v" * 32) for i in range(first, first + 100))
            db.settle()
        db.flush()
        db.settle()
        for i in range(8_000):
            db.get(key(ENTRIES + i))
            db.get(key(i * 7 % ENTRIES))
        for i in range(200):
            assert list(islice(db.scan(key(i * 31 % ENTRIES)), 50))
        yield db


def test_both_columns_agree_on_a_tree_that_was_loaded_and_asked(db) -> None:
    told = cost.explain(db, scan_entries=50, scan=True)
    tree = {one.name: one for one in told.compared if one.level is None}
    for name in ("lookup_blocks", "scan_blocks", "update_copies", "write_amplification", "space_amplification"):
        assert tree[name].error == pytest.approx(0, abs=0.08), name
    assert tree["zero_lookup_blocks"].error == pytest.approx(0, abs=0.15)
    levels = [one for one in told.compared if one.level is not None and one.name == "copies"]
    assert len(levels) == len(db.tree().levels)
    assert all(one.error == pytest.approx(0, abs=0.1) for one in levels if one.measured)


def test_the_mix_comes_from_the_counts_and_other_shapes_are_judged_by_it(db) -> None:
    told = cost.explain(db)
    assert told.workload.mix[0] == pytest.approx(told.workload.mix[1])
    assert told.now.policy == LazyLeveling(4)
    assert [one.policy for one in told.what_if] == list(cost.named_shapes())
    again = cost.judge(LazyLeveling(4), told.workload, told.system)
    assert again == told.now
    only = cost.explain(db, shapes=[Tiered(3)])
    assert [one.name for one in only.what_if] == ["tiered T=3"]


def test_a_window_explains_what_happened_in_it(db) -> None:
    with cost.window(db) as w:
        for i in range(500):
            db.get(key(ENTRIES + i))
    told = cost.explain(db, found=w.delta)
    assert told.workload.mix == (1, 0, 0, 0)
    tree = {one.name: one for one in told.compared if one.level is None}
    assert tree["zero_lookup_filter_checks"].error == pytest.approx(0, abs=0.02)
    assert tree["lookup_blocks"].measured is None
    assert tree["lookup_blocks"].error is None


def test_prices_turn_it_into_seconds(db) -> None:
    told = cost.explain(db, seconds=cost.Seconds(lookup_s=1e-6, found_s=2e-6, block_s=1e-5))
    said = told.predicted
    assert said.seconds.zero_lookup == pytest.approx(1e-6 + said.zero_lookup_blocks * 1e-5)
    assert said.seconds.lookup == pytest.approx(3e-6 + said.lookup_blocks * 1e-5)
    assert {one.unit for one in (told.now, *told.what_if)} == {"seconds"}
    assert said.operation_seconds == pytest.approx(said.seconds.mean(told.workload.mix))


def test_it_is_json_ready(db) -> None:
    told = json.loads(json.dumps(cost.explain(db).to_dict()))
    assert told["compared"][0].keys() == {"name", "level", "predicted", "measured", "error"}
    assert told["now"]["name"] == "lazy T=4"


def test_an_empty_store_is_explained_without_what_if() -> None:
    with lsmkv.open("/empty", lsmkv.Options(fs=MemoryFileSystem(), scheduler=ManualScheduler())) as db:
        told = cost.explain(db)
        assert (told.now, told.what_if) == (None, ())
        assert told.predicted.lookup_blocks == 0


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="store must be an open store"):
        cost.explain(5)


def test_a_cache_saves_device_reads_in_the_prediction() -> None:
    shape = cost.ideal_shape(Leveled(4), 50_000, flush_entries=500)
    system = cost.system_of(shape, Leveled(4), block_cache_bytes=shape.bytes // 4)
    assert system.cache_hit_rate == pytest.approx(0.25, rel=0.01)
    present = cost.Workload(0, 1, 0, 0)
    said = cost.predict(present, shape, system)
    assert said.read_amplification == pytest.approx(0.75 * said.lookup_blocks, rel=0.01)
    held = cost.predict(present, shape, replace(system, memtable_entries=50_000))
    assert held.read_amplification == pytest.approx(0.75 * held.lookup_blocks / (1 - held.memtable_hits), rel=0.01)


def test_after_a_change_of_policy_what_came_before_is_not_held_against_it() -> None:
    """The copies and lookups of the tree that was are no measure of the tree that is: they were counted all the same."""
    options = {"scheduler": ManualScheduler(), "memtable_bytes": 16 << 10, "level0_runs": 1, "fs": MemoryFileSystem()}

    def fill(db: lsmkv.DB, first: int, last: int) -> None:
        for start in range(first, last, 100):
            db.put_many((key(i), b"v" * 32) for i in range(start, start + 100))
            db.settle()

    with lsmkv.open("/db", lsmkv.Options(policy=Tiered(4), **options)) as db:
        fill(db, 0, 6_000)
        db.flush()
        assert cost.explain(db).measured == cost.measured(db)
        db.set_policy(Leveled(4))
        db.settle()
        whole, told = cost.measured(db), cost.explain(db)
        assert told.measured.account.entries == 0
        assert told.measured.update_copies is None
        assert told.workload == cost.Workload(0, 0, 0, 6_000), "nothing was asked since: other shapes are judged by what was"
        for i in range(500):
            db.get(key(10_000 + i))
        fill(db, 6_000, 9_000)
        told = cost.explain(db)
        assert told.measured.account.entries == 3_000
        assert told.measured.account.absent == 500
        assert told.workload.mix == (500 / 3500, 0, 0, 3000 / 3500)
        assert cost.measured(db).account.entries == whole.account.entries + 3_000
    with lsmkv.open("/db", lsmkv.Options(**options)) as db:
        assert cost.explain(db).measured.account.entries == 3_000, "on record"
        assert db.stats().totals.entries == 9_000
