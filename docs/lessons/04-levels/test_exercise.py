"""Write copies of lesson 4: what the simulator counts."""

from __future__ import annotations

import itertools
from types import ModuleType

import pytest

from lsmkv import Leveled, Writes, simulate


@pytest.mark.parametrize("ratio", [2, 3, 4, 10])
@pytest.mark.parametrize("arrivals", [1, 2, 3, 7, 16, 40])
def test_it_is_what_the_simulator_counts(work: ModuleType, ratio: int, arrivals: int) -> None:
    done = simulate(Leveled(size_ratio=ratio), Writes(entries=arrivals * 200, memtable=100))
    assert work.write_copies(arrivals, ratio) == pytest.approx(done.last.update_copies)


def test_it_grows_with_the_logarithm(work: ModuleType) -> None:
    steps = [work.write_copies(4**n - 1, 4) for n in range(2, 8)]
    grown = [after - before for before, after in itertools.pairwise(steps)]
    assert max(grown) < 2.5
    assert min(grown) > 1


def test_a_large_ratio_has_few_levels_and_dear_ones(work: ModuleType) -> None:
    assert work.write_copies(10_000, 32) > 2 * work.write_copies(10_000, 4)
