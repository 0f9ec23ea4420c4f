"""Memory goes where one more byte saves more, within its budget, and stays there while nothing changes."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lsmkv
from lsmkv.controller.choose import long_run, robust_cost
from lsmkv.controller.constants import KEEP
from lsmkv.controller.journal import read_journal
from lsmkv.controller.prices import Mix, Prices, timed
from lsmkv.controller.split import KEPT_BITS, LEAST_MEMTABLE, SLACK, Memory, best_split, priced
from lsmkv.cost.seconds import Seconds
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import Leveled
from lsmkv.policy.geometry import Geometry
from lsmkv.testing import DictOracle, MemoryFileSystem

ENTRIES = 1_000_000.0
ENTRY_BYTES = 60
PRICES = Prices()

budgets = st.integers(20, 26).map(lambda power: float(1 << power))
mixes = st.tuples(*[st.floats(0.0, 1.0)] * 4).filter(lambda four: sum(four) > 0.1).map(lambda m: Mix(*m).scaled(1 / sum(m)))
geometries = st.sampled_from([Geometry(4, (1,), 1), Geometry(7, (6,), 6), Geometry(10, (9,), 1)])
memories = st.builds(Memory, st.integers(16, 25).map(lambda power: 1 << power), st.floats(0, 20))


def arrivals(memory):
    return ENTRIES * ENTRY_BYTES / memory.memtable_bytes


def cost(memory, geometry, mix):
    return robust_cost(long_run(geometry, max(arrivals(memory), 1.0), priced(PRICES, memory)), mix, 0.0)


def split(budget, mix, present, geometry=Geometry(7, (6,), 6)):  # noqa: B008 - frozen
    return best_split(budget, ENTRIES, arrivals(present), geometry, mix, PRICES, present)


@given(budgets, mixes, geometries, memories)
def test_a_split_fits_its_budget_is_cheaper_and_is_the_last_one_while_nothing_changes(budget, mix, geometry, present):
    found = split(budget, mix, present, geometry)
    if found is None:
        assert present.taken(ENTRIES) <= budget * 1.01
        return
    assert found.memory.taken(ENTRIES) <= budget * 1.0001
    assert found.memory.memtable_bytes >= min(LEAST_MEMTABLE, present.memtable_bytes)
    over = present.taken(ENTRIES) > budget * 1.01
    assert over or cost(found.memory, geometry, mix) <= 0.97 * cost(present, geometry, mix)
    assert split(budget, mix, found.memory, geometry) is None


@given(budgets, mixes, geometries, memories, st.integers(0, 4))
def test_no_half_quarter_or_eighth_of_the_budget_is_clearly_cheaper(budget, mix, geometry, present, halvings):
    found = split(budget, mix, present, geometry)
    best = present if found is None else found.memory
    size = int(SLACK * budget / 2**halvings)
    other = Memory(size, min(24.0, 8 * (SLACK * budget - size) / ENTRIES))
    if size < LEAST_MEMTABLE or other.filter_bits_per_key < min(present.filter_bits_per_key, KEPT_BITS) + 0.1:
        return
    assert cost(best, geometry, mix) * 0.97 <= cost(other, geometry, mix) * 1.001


def test_writers_get_memtable_and_askers_get_filters():
    budget, present = 2.0 * (1 << 20), Memory(1 << 20, 7.0)
    writers, askers = (split(budget, mix, present) for mix in (Mix(writes=1.0), Mix(zero=1.0)))
    assert writers is not None
    assert writers.memory.memtable_bytes > present.memtable_bytes
    assert writers.memtable_mib_saves > writers.filter_mib_saves
    assert askers is not None
    assert askers.memory.filter_bits_per_key > present.filter_bits_per_key
    assert askers.filter_mib_saves > 0


def test_what_is_above_its_budget_shrinks():
    found = split(1 << 20, Mix(0.2, 0.4, 0.1, 0.3), Memory(8 << 20, 20.0))
    assert found is not None
    assert found.memory.taken(ENTRIES) <= 1 << 20


@pytest.mark.parametrize("wrong", [0, 1000, -5, 1.5e6, True, "1", 1 << 41])
def test_a_budget_that_cannot_be_is_named(wrong):
    with pytest.raises(InvalidArgumentError, match=r"Adaptive.memory_bytes"):
        lsmkv.Adaptive(memory_bytes=wrong)


BUDGET = 160 << 10


def work(db, oracle, rounds, absent):
    """Writes, and many lookups of keys that are not there."""
    rng = Random(7)
    for _ in range(rounds):
        pairs = [(b"%012d" % rng.randrange(1 << 20), b"v" * 40) for _ in range(50)]
        db.put_many(pairs)
        for key, value in pairs:
            oracle.put(key, value)
        assert not db.contains_many([b"%012d" % -rng.randrange(1, 1 << 20) for _ in range(absent)]).any()
        db.settle()


@pytest.mark.parametrize("mode", ["on", "advise"])
def test_the_engine_moves_memory_and_answers_as_before(open_db, memory_fs, mode):
    with open_db(lsmkv.Adaptive(mode=mode, memory_bytes=BUDGET, size_ratios=(4,)), policy=Leveled(4)) as db:
        before = db.set_options()
        oracle = DictOracle()
        work(db, oracle, 150, absent=300)
        told, now = db.stats().controller, db.set_options()
        assert told is not None
        changed = (now.memtable_bytes, now.filter_bits_per_key) != (before.memtable_bytes, before.filter_bits_per_key)
        entries = sum(level.entries for level in db.tree().levels)
        if mode == "on":
            assert changed
            assert told.splits >= 1
            assert now.memtable_bytes + now.filter_bits_per_key * entries / 8 <= 1.3 * BUDGET  # the tree has grown since
        else:
            assert not changed
            assert told.splits == 0
        assert list(db.scan()) == list(oracle.scan())
        db.check()
    lines = [line for line in read_journal(memory_fs, "/db") if line["kind"] == "split"]
    assert lines
    assert {"memory_from", "memory_to", "saves_blocks_per_operation"} <= lines[0].keys()


def test_a_steady_load_is_split_a_few_times_and_never_without_filters(open_db):
    """Arrivals were counted by the mean over many memtables: after a split the old one was still in it, and it was split back."""
    with open_db(lsmkv.Adaptive(memory_bytes=600 << 10, size_ratios=(4,)), policy=Leveled(4)) as db:
        rng = Random(3)
        for _ in range(250):
            db.put_many([(b"%012d" % rng.randrange(1 << 39), b"v" * 40) for _ in range(200)])
            db.get_many([b"%012d" % rng.randrange(1 << 39) for _ in range(100)])
            db.settle()
        told = db.stats().controller
        assert told.windows > 20
        assert told.splits <= 10  # the tree grows from nothing; it was one look in four
        assert db.set_options().filter_bits_per_key >= min(KEPT_BITS, 1.0)


def test_without_a_budget_memory_stays_where_it_is(open_db):
    with open_db(lsmkv.Adaptive(size_ratios=(4,)), policy=Leveled(4)) as db:
        before = db.set_options()
        work(db, DictOracle(), 60, absent=300)
        now = db.set_options()
        assert (now.memtable_bytes, now.filter_bits_per_key) == (before.memtable_bytes, before.filter_bits_per_key)


SLOW = Seconds(filter_check_s=0.6e-6, block_s=1.4e-6, block_read_s=100e-6, seek_s=9e-6, merge_byte_s=6e-9)
"""A machine whose disk is slow, and its processor is not."""


@given(budgets, mixes, geometries, st.sampled_from([0.0, 0.5, 1.0]))
def test_by_seconds_a_split_is_the_best_one_in_seconds(budget, mix, geometry, cached):
    known = timed(Prices(), SLOW, 64.0, cached)
    assert known is not None
    present = Memory(1 << 20, 10.0)
    by_blocks, by_seconds = (best_split(budget, 1e6, 30, geometry, mix, p, present) for p in (Prices(), known.prices))

    def seconds(memory):
        count = max(1.0, 30 * present.memtable_bytes / memory.memtable_bytes)
        return robust_cost(long_run(geometry, count, priced(known.prices, memory)), mix, 0.0) * known.block_s

    one, other = (found.memory if found is not None else present for found in (by_seconds, by_blocks))
    if other.taken(1e6) <= budget:
        assert seconds(one) <= seconds(other) / KEEP * (1 + 1e-9)


def test_a_machine_on_which_blocks_take_no_time_is_split_by_prices():
    assert timed(Prices(), Seconds(update_s=1e-6), 64.0) is None


@pytest.mark.parametrize("wrong", [{"seconds": 5}, {"seconds": SLOW}])
def test_seconds_that_serve_nothing_are_refused(wrong):
    with pytest.raises(InvalidArgumentError, match=r"Adaptive.seconds"):
        lsmkv.Adaptive(**wrong, memory_bytes=None if wrong["seconds"] is SLOW else BUDGET)


def slow_seconds(open_db, seconds):
    """What lookups and merges take on the slow machine, priced by what the ledger counts; memory split by ``seconds``."""
    settings = lsmkv.Adaptive(memory_bytes=256 << 10, size_ratios=(4,), transition_share=0.0, seconds=seconds)
    with open_db(
        None,
        policy=Leveled(4),
        fs=MemoryFileSystem(),
        block_cache_bytes=0,
        hash_column_bytes=0,
        memtable_bytes=64 << 10,
        filter_bits_per_key=5,
    ) as db:
        rng = Random(3)

        def put(count):
            db.put_many([(b"%012d" % rng.randrange(1 << 39), b"v" * 20) for _ in range(count)])
            db.settle()

        for _ in range(100):
            put(500)
        db.set_options(controller=settings)
        for number in range(200):
            if number == 66:
                before = db.stats().ledger
            put(200)
            db.contains_many([b"%012d" % rng.randrange(1 << 39) for _ in range(50)])
        done = db.stats().ledger - before
        written = (done.flush + done.merges).written_bytes
        return SLOW.lookup(done.gets.block_fetches, done.gets.filter_checks) + SLOW.update(written)


def test_on_a_slow_disk_a_split_by_seconds_takes_less_of_them(open_db):
    """Mostly writes: by blocks, merges seem as dear as fetches, and filters get half of what they should have."""
    assert slow_seconds(open_db, SLOW) < 0.85 * slow_seconds(open_db, None)
