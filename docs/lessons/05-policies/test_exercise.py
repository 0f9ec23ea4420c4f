"""The tiering policy of lesson 5: few runs, few copies, and a store that runs it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import lsmkv
from lsmkv import Leveled, Writes, simulate
from lsmkv.testing import ManualScheduler


@pytest.mark.parametrize("ratio", [2, 4, 7])
def test_a_settled_tree_has_at_most_so_many_runs_a_level(work: ModuleType, ratio: int) -> None:
    for flushes in (5, 50, 99):
        done = simulate(work.Tiering(ratio), Writes(entries=flushes * 100, memtable=100), level0_runs=2)
        assert len(done.tree.levels[0].runs) <= 2
        assert all(len(level.runs) <= ratio - 1 for level in done.tree.levels[1:])
        assert sum(level.entries for level in done.tree.levels) == flushes * 100


def test_an_entry_is_written_once_in_each_level(work: ModuleType) -> None:
    done = simulate(work.Tiering(4), Writes(entries=16_000, memtable=100))
    depth = len(done.tree.levels)
    assert done.last.update_copies <= depth, f"{done.last.update_copies:.2f} copies in {depth} levels"
    assert done.last.update_copies < simulate(Leveled(4), Writes(entries=16_000, memtable=100)).last.update_copies


def test_every_level_is_used(work: ModuleType) -> None:
    done = simulate(work.Tiering(4), Writes(entries=16_000, memtable=100))
    assert max(len(level) for row in done.rows for level in row.levels[1:]) >= 3
    assert len(done.tree.levels) >= 5


def test_a_store_runs_it_and_loses_nothing(work: ModuleType, tmp_path: Path) -> None:
    options = lsmkv.Options(policy=work.Tiering(3), level0_runs=1, scheduler=ManualScheduler())
    with lsmkv.open(tmp_path / "store", options) as db:
        for portion in range(20):
            db.put_many((b"%04d" % (i * 37 % 500), b"%d" % portion) for i in range(portion * 50, portion * 50 + 50))
            db.delete(b"%04d" % portion)
            db.flush()
            db.settle()
        db.check()
        assert len(list(db.scan())) == sum(db.get(b"%04d" % i) is not None for i in range(500)) > 450
        assert db.get(b"0019") is None
