"""Water-filling of lesson 6: the budget spent, nobody below zero, and no better sharing."""

from __future__ import annotations

from math import exp
from types import ModuleType

import pytest

from lsmkv import cost
from lsmkv.env.rng import seeded


def blocks(work: ModuleType, bits: list[float]) -> float:
    return sum(exp(-one * work.LN2_SQUARED) for one in bits)


def test_the_levels_of_the_lesson(work: ModuleType) -> None:
    assert work.bits_per_key([1_000, 4_000, 16_000], 105_000) == pytest.approx([9.95, 7.06, 4.18], abs=0.01)


def test_equal_runs_get_equal_bits(work: ModuleType) -> None:
    assert work.bits_per_key([500, 500, 500], 15_000) == pytest.approx([10, 10, 10])


def test_a_small_budget_leaves_the_large_run_dry(work: ModuleType) -> None:
    bits = work.bits_per_key([1_000, 1_000_000], 3_000)
    assert bits == pytest.approx([3.0, 0.0])


def test_it_is_the_best_sharing(work: ModuleType) -> None:
    rng = seeded(2)
    for case in range(200):
        entries = [float(1 + rng.getrandbits(4 + rng.getrandbits(4))) for _ in range(1 + rng.getrandbits(3))]
        budget = sum(entries) * 12 * rng.random() ** 3
        bits = work.bits_per_key(entries, budget)
        assert min(bits) >= 0, f"case {case}"
        assert sum(n * b for n, b in zip(entries, bits, strict=True)) == pytest.approx(budget), f"case {case}"
        assert blocks(work, bits) <= blocks(work, cost.allocate(entries, budget)) * (1 + 1e-9), (
            f"case {case}: {entries}, {budget}"
        )
