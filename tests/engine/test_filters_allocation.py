"""Filter bits are shared out over the runs that are there: one budget, more for small runs, none where they would not pay."""

from __future__ import annotations

import random

import pytest

import lsmkv
from lsmkv.cost import allocate
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.tiered import Tiered


def fill(db, rounds, keys=10**6, per_round=60, seed=1):
    rng = random.Random(seed)
    for _ in range(rounds):
        db.put_many((b"%07d" % rng.randrange(keys), b"v" * 10) for _ in range(per_round))
        db.flush()
        db.settle()


def bits(db):
    """Filter bits per entry of each run, newest first."""
    runs = [run for level in db.tree().levels for run in level.runs]
    return [sum(t.filter_bits for t in run.tables) / run.entries for run in runs]


def sizes(db):
    return [run.entries for level in db.tree().levels for run in level.runs]


@pytest.mark.parametrize("policy", [Leveled(size_ratio=4), Tiered(size_ratio=4), LazyLeveling(size_ratio=4)])
def test_over_time_the_budget_is_spent_and_not_exceeded(open_db, policy):
    spent = []
    with open_db(policy=policy, level0_runs=1, table_bytes=1 << 20, filter_bits_per_key=5.0) as db:
        for round_ in range(100):
            fill(db, 1, seed=round_)
            spent.append(sum(b * n for b, n in zip(bits(db), sizes(db), strict=True)) / (5.0 * sum(sizes(db))))
    assert sum(spent[20:]) / len(spent[20:]) == pytest.approx(1.0, abs=0.05)
    assert max(spent) < 1.25


def test_smaller_runs_get_more_bits(open_db):
    with open_db(policy=Leveled(size_ratio=4), level0_runs=1, table_bytes=1 << 20, filter_bits_per_key=8.0) as db:
        fill(db, 75)
        got = bits(db)
        assert len(got) > 2
        assert got == sorted(got, reverse=True)
        assert got[0] > got[-1] + 3


def test_compacting_everything_by_hand_spends_the_whole_budget(open_db):
    with open_db(policy=Leveled(size_ratio=4), level0_runs=1, table_bytes=1 << 20, filter_bits_per_key=8.0) as db:
        fill(db, 75)
        db.compact()
        assert bits(db) == [pytest.approx(8.0, abs=0.1)]


def test_a_run_gets_what_water_filling_over_the_tree_that_will_be_gives_it(open_db):
    with open_db(policy=Tiered(size_ratio=4), level0_runs=1, table_bytes=1 << 20, filter_bits_per_key=6.0) as db:
        fill(db, 20)
        db.put_many((b"%07d" % n, b"v") for n in range(50))
        db.flush()
        planned = allocate(sizes(db), 6.0 * sum(sizes(db)))
        assert bits(db)[0] == pytest.approx(min(planned[0], 20.0), abs=0.1)


def test_a_poor_budget_leaves_the_largest_run_without_a_filter(open_db):
    with open_db(policy=Tiered(size_ratio=4), level0_runs=1, table_bytes=1 << 20, filter_bits_per_key=0.3) as db:
        fill(db, 75)
        got = bits(db)
        assert got[-2:] == [0, 0]
        assert max(got) > 1
        assert db.get_many([b"x%d" % i for i in range(100)]) == [None] * 100


def test_uniform_gives_every_entry_the_same_and_zero_builds_none(open_db):
    with open_db(policy=Leveled(size_ratio=4), level0_runs=1, filter_allocation="uniform", table_bytes=1 << 20) as db:
        fill(db, 20)
        assert bits(db) == pytest.approx([10.0] * len(bits(db)), abs=0.1)
    with open_db(path="/none", level0_runs=1, filter_bits_per_key=0) as db:
        fill(db, 5)
        assert set(bits(db)) == {0}


def test_lookups_of_absent_keys_fetch_fewer_blocks_than_with_uniform_filters(open_db):
    fetched = {}
    for allocation in ("uniform", "monkey"):
        with open_db(
            path=f"/{allocation}",
            policy=Leveled(size_ratio=4),
            level0_runs=1,
            table_bytes=1 << 20,
            filter_bits_per_key=5.0,
            filter_allocation=allocation,
        ) as db:
            fill(db, 75)
            rng = random.Random(7)
            db.get_many([b"%07d!" % rng.randrange(10**6) for _ in range(20_000)])
            fetched[allocation] = sum(level.gets.filter_false_positives for level in db.stats().ledger.levels)
    assert fetched["monkey"] < 0.9 * fetched["uniform"]


def test_the_option_is_checked():
    with pytest.raises(lsmkv.InvalidArgumentError, match="filter_allocation"):
        lsmkv.Options(filter_allocation="best")
