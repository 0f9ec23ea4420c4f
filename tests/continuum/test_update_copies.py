"""How often an entry is written, counted in the engine: the model's exact number, level by level."""

from __future__ import annotations

import random

import pytest

from lsmkv import cost
from lsmkv.lab import Writes, simulate
from lsmkv.policy import Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.testing import MemoryFileSystem

from .conftest import key, load_new, open_small

ENTRIES = 24
"""In a memtable; with level0_runs=1, two of them make an arrival."""

POINTS = [(T, K, Z) for T, K, Z in [
    (2, 1, 1), (3, 1, 1), (3, 2, 1), (3, 2, 2), (4, 1, 1), (4, 3, 1), (4, 3, 3), (4, 1, 3), (5, 2, 1), (5, 4, 2), (5, 2, 4),
    (7, 2, 2), (7, 3, 1), (7, 6, 6), (7, 1, 1), (9, 4, 1), (10, 3, 1), (10, 9, 9), (10, 9, 1), (10, 1, 1),
]]  # fmt: skip


def depth(ratio):
    """How many levels are filled: fewer where a level takes more."""
    return {2: 5, 3: 4, 4: 3, 5: 3}.get(ratio, 2)


@pytest.mark.parametrize(("T", "K", "Z"), POINTS)
def test_each_level_but_the_last_copies_an_entry_as_often_as_the_closed_form_says(T, K, Z):
    """Between T^n and 2 T^n arrivals levels 1 to n are none of them the last, and end as they began."""
    assert (T - 1) % K == 0
    levels = depth(T)
    entries = 2 * ENTRIES * T**levels
    with open_small(MemoryFileSystem(), policy=Fluid(T, K=K, Z=Z), table_bytes=1 << 20, filter_bits_per_key=0) as db:
        load_new(db, 2 * T**levels + 1, ENTRIES)
        with cost.window(db) as seen:
            load_new(db, 2 * T**levels, ENTRIES, first=10 * entries)
        written = seen.delta.levels
        assert written[0].copies == pytest.approx(1.0)
        for level in range(1, levels + 1):
            assert written[level].copies == pytest.approx((T - 1) * (T - 1 + K) / (2 * K * T), rel=0.05), f"level {level}"
        assert seen.delta.update_copies == pytest.approx(1 + sum(level.copies for level in written[1:]), rel=0.001)


@pytest.mark.parametrize(
    "policy", [Leveled(4), Tiered(4), LazyLeveling(4), LazyLeveling(6), Fluid(7, K=3, Z=2), Fluid(5, K=2)], ids=str
)
def test_memtables_that_fill_by_themselves_cost_what_is_predicted_and_simulated(policy):
    """A whole load, last level included, with arrivals that vary a little in size."""
    entries = 30_000
    with open_small(MemoryFileSystem(), policy=policy, memtable_bytes=24 << 10, table_bytes=1 << 20) as db:
        numbers = list(range(entries))
        random.Random(5).shuffle(numbers)
        for at in range(0, entries, 40):
            db.put_many([(key(n), b"value-%08d" % n) for n in numbers[at : at + 40]])
            db.settle()
        db.flush()
        db.settle()
        tree, found = db.tree(), cost.measured(db)
        arrivals = round((entries - tree.levels[0].entries) / tree.buffer_entries)
        counted = cost.load_copies(policy.geometry, arrivals, level0_runs=1)
        predicted = 1 + sum(counted[1:]) * tree.buffer_entries / entries
        assert found.update_copies == pytest.approx(predicted, rel=0.05)
        memtable = tree.buffer_entries // 2
        simulated = simulate(policy, Writes(entries=entries, memtable=memtable), level0_runs=1)
        assert simulated.last.update_copies == pytest.approx(found.update_copies, rel=0.05)
