"""A walk on paper beside the engine: the same tree, run by run, filters included; and what overwriting leaves of it."""

from __future__ import annotations

import numpy as np
import pytest

import lsmkv
from lsmkv import cost
from lsmkv.cost.walk import walk
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.policy.base import Policy
from lsmkv.testing import ManualScheduler, MemoryFileSystem

POLICIES = [Leveled(size_ratio=3), Tiered(size_ratio=4), LazyLeveling(size_ratio=4), Fluid(size_ratio=5, K=2, Z=2)]
FLUSH = 100


def store(policy: Policy, **options: object) -> lsmkv.DB:
    seams = {"fs": MemoryFileSystem(), "scheduler": ManualScheduler()}
    return lsmkv.open("/db", lsmkv.Options(policy=policy, level0_runs=1, **seams, **options))  # type: ignore[arg-type] # as given


def write(db: lsmkv.DB, numbers: np.ndarray) -> None:
    for first in range(0, len(numbers), FLUSH):
        db.put_many((b"%016x" % (int(n) * 0x9E3779B97F4A7C15 % 2**64), b"v" * 16) for n in numbers[first : first + FLUSH])
        db.flush()
        db.settle()


def runs(shape: lsmkv.TreeShape) -> list[list[tuple[int, int]]]:
    return [[(run.entries, sum(t.filter_bits for t in run.tables)) for run in level.runs] for level in shape.levels]


@pytest.mark.parametrize("allocation", ["monkey", "uniform"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_load_on_paper_is_the_engines_tree_with_its_filters(policy: Policy, allocation: str) -> None:
    with store(policy, filter_bits_per_key=4, filter_allocation=allocation) as db:
        write(db, np.arange(15_700))
        paper = walk(policy, 157, FLUSH, level0_runs=1, filter_bits_per_key=4, filter_allocation=allocation)
        assert runs(paper.shape) == runs(db.tree())
        measured = cost.measured(db)
        assert sum(paper.written) == pytest.approx(15_700 * (measured.update_copies or 0))


@pytest.mark.parametrize("policy", POLICIES)
def test_overwriting_a_loaded_tree_leaves_about_what_the_walk_says(policy: Policy) -> None:
    keys = 12_000
    with store(policy, filter_bits_per_key=4) as db:
        write(db, np.arange(keys))
        loaded = walk(policy, keys // FLUSH, FLUSH, level0_runs=1, filter_bits_per_key=4).shape
        with cost.window(db) as window:
            write(db, np.random.default_rng(1).integers(0, keys, 18_000))
        paper = walk(policy, 180, FLUSH, live_entries=keys, start=loaded, filter_bits_per_key=4)
        assert [len(level.runs) for level in db.tree().levels] == [len(level.runs) for level in paper.shape.levels]
        assert paper.shape.entries == pytest.approx(db.tree().entries, rel=0.03)
        assert sum(paper.written) / 18_000 == pytest.approx(window.delta.update_copies, rel=0.05)


def test_loaded_keys_stay_different_when_they_are_merged() -> None:
    """Taken as random, the loaded keys collapsed among themselves: a tenth of the tree was lost on paper."""
    loaded = walk(Leveled(4), 100, FLUSH, level0_runs=0).shape
    after = walk(Leveled(4), 1_000, FLUSH, live_entries=100 * FLUSH, start=loaded).shape
    assert max(level.entries for level in after.levels) > 0.99 * 100 * FLUSH


def test_an_allocation_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="filter_allocation must be one of"):
        walk(Leveled(4), 3, FLUSH, filter_bits_per_key=4, filter_allocation="half")
