"""The switcher of lesson 8: never far from what one could have done knowing the future."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType

from lsmkv.env.rng import seeded

SCAN, WRITE = (9.0, 3.0), (1.0, 2.0)
"""What an operation costs in blocks: LAZY, MERGED."""
MERGE = 3_000.0
Costs = tuple[float, float]


def paid(work: ModuleType, operations: Iterable[Costs]) -> float:
    """Blocks of a switcher: operations and merges."""
    switcher, total = work.Switcher(MERGE), 0.0
    for costs in operations:
        before = switcher.shape
        total += costs[before]
        now = switcher.after(costs)
        total += MERGE if (before, now) == (work.LAZY, work.MERGED) else 0.0
    return total


def least(operations: Iterable[Costs]) -> float:
    """Blocks of somebody who knows the future: the cheapest way through both shapes."""
    lazy, merged = 0.0, MERGE
    for for_lazy, for_merged in operations:
        lazy, merged = lazy + for_lazy, merged + for_merged
        lazy, merged = min(lazy, merged), min(merged, lazy + MERGE)
    return min(lazy, merged)


def phases(seed: int, most: int = 8_000) -> list[Costs]:
    """Scans and writes in turn, each phase from very short to long."""
    rng, operations = seeded(seed), list[Costs]()
    while len(operations) < 60_000:
        operations += [SCAN] * int(10 * (most / 10) ** rng.random())
        operations += [WRITE] * int(10 * (most / 10) ** rng.random())
    return operations


def adversary(work: ModuleType, steps: int) -> list[Costs]:
    """Asks for whatever the present shape is bad at."""
    switcher, operations = work.Switcher(MERGE), list[Costs]()
    for _ in range(steps):
        operations.append(SCAN if switcher.shape == work.LAZY else WRITE)
        switcher.after(operations[-1])
    return operations


def ratio(work: ModuleType, operations: list[Costs]) -> float:
    return paid(work, operations) / least(operations)


def test_one_long_phase_is_paid_for_once(work: ModuleType) -> None:
    assert ratio(work, [WRITE] * 50_000) == 1.0
    assert ratio(work, [SCAN] * 50_000) < 1.05


def test_a_short_phase_changes_nothing(work: ModuleType) -> None:
    switcher = work.Switcher(MERGE)
    shapes: Callable[[Costs, int], set[int]] = lambda costs, times: {switcher.after(costs) for _ in range(times)}  # noqa: E731 - short
    assert shapes(SCAN, 300) == {work.LAZY}
    assert work.MERGED in shapes(SCAN, 2_000)
    assert shapes(WRITE, 300) == {work.MERGED}, "going back is free, coming again is not"


def test_changing_loads_cost_little_more_than_with_a_crystal_ball(work: ModuleType) -> None:
    ratios = [ratio(work, phases(seed)) for seed in range(8)]
    assert sum(ratios) / len(ratios) < 1.25, ratios


def test_operations_that_alternate_drive_nobody_mad(work: ModuleType) -> None:
    assert ratio(work, [SCAN, WRITE] * 20_000) < 1.1
    assert ratio(work, ([SCAN] * 50 + [WRITE] * 300) * 200) < 1.2


def test_not_even_an_adversary_makes_it_cost_three_times(work: ModuleType) -> None:
    assert ratio(work, adversary(work, 100_000)) < 3
