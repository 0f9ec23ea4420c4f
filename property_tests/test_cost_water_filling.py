"""Filter memory: what makes an allocation the best one, whatever the tree, the budget and the weights."""

from itertools import pairwise
from math import exp

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lsmkv import cost
from lsmkv.cost.monkey import LN2_SQUARED

ENTRIES = st.lists(st.integers(1, 10**9), min_size=1, max_size=12)
BITS_PER_KEY = st.floats(0.001, 40)
WEIGHT = st.floats(1e-6, 1e6)


@st.composite
def trees(draw):
    entries = draw(ENTRIES)
    weights = draw(st.none() | st.lists(WEIGHT, min_size=len(entries), max_size=len(entries)))
    return entries, draw(BITS_PER_KEY) * sum(entries), weights


def blocks(entries, bits, weights):
    return sum(w * exp(-b * LN2_SQUARED) for b, w in zip(bits, weights or [1.0] * len(entries), strict=True))


@given(trees())
def test_the_whole_budget_is_spent_and_not_a_bit_more(tree):
    entries, budget, weights = tree
    bits = cost.allocate(entries, budget, weights)
    assert sum(n * b for n, b in zip(entries, bits, strict=True)) == pytest.approx(budget, rel=1e-9)
    assert min(bits) >= 0


@given(trees())
def test_runs_with_filters_gain_alike_from_a_bit_and_those_without_gain_less(tree):
    entries, budget, weights = tree
    bits = cost.allocate(entries, budget, weights)
    gains = [w * exp(-b * LN2_SQUARED) / n for n, b, w in zip(entries, bits, weights or [1.0] * len(entries), strict=True)]
    filtered = [g for g, b in zip(gains, bits, strict=True) if b]
    assert min(filtered) == pytest.approx(max(filtered), rel=1e-6)
    assert max(gains) <= max(filtered) * (1 + 1e-9)


@given(trees(), st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter(tree, random):
    entries, budget, weights = tree
    order = list(range(len(entries)))
    random.shuffle(order)
    bits = cost.allocate(entries, budget, weights)
    shuffled = cost.allocate([entries[i] for i in order], budget, weights and [weights[i] for i in order])
    assert shuffled == pytest.approx([bits[i] for i in order], rel=1e-9, abs=1e-9)


@given(trees(), st.floats(1, 100))
def test_only_the_ratio_of_weights_matters(tree, factor):
    entries, budget, weights = tree
    assume(weights is not None)
    scaled = cost.allocate(entries, budget, [w * factor for w in weights])
    assert scaled == pytest.approx(cost.allocate(entries, budget, weights), rel=1e-9, abs=1e-9)


@given(trees(), st.floats(1.001, 10))
def test_more_memory_takes_bits_from_no_run(tree, factor):
    entries, budget, weights = tree
    poor, rich = cost.allocate(entries, budget, weights), cost.allocate(entries, budget * factor, weights)
    assert all(more >= less - 1e-9 for less, more in zip(poor, rich, strict=True))


@given(trees())
def test_smaller_runs_get_more_bits_a_key_and_runs_asked_more_do_too(tree):
    entries, budget, weights = tree
    ground = [n / w for n, w in zip(entries, weights or [1.0] * len(entries), strict=True)]
    ranked = sorted(zip(ground, cost.allocate(entries, budget, weights), strict=True))
    assert all(a[1] >= b[1] - 1e-9 for a, b in pairwise(ranked))


@given(trees())
def test_no_uniform_allocation_is_better(tree):
    entries, budget, weights = tree
    best = blocks(entries, cost.allocate(entries, budget, weights), weights)
    assert best <= blocks(entries, [budget / sum(entries)] * len(entries), weights) * (1 + 1e-9)


@given(trees(), st.data())
def test_moving_bits_from_any_run_to_any_other_never_helps(tree, data):
    entries, budget, weights = tree
    assume(len(entries) > 1)
    bits = cost.allocate(entries, budget, weights)
    giver, taker = data.draw(st.permutations(range(len(entries))))[:2]
    amount = bits[giver] * entries[giver] * data.draw(st.floats(0, 1))
    moved = list(bits)
    moved[giver] -= amount / entries[giver]
    moved[taker] += amount / entries[taker]
    assert blocks(entries, bits, weights) <= blocks(entries, moved, weights) * (1 + 1e-9)


@given(st.lists(st.tuples(st.integers(1, 10**7), st.integers(1, 5), WEIGHT), min_size=1, max_size=6), BITS_PER_KEY)
def test_levels_of_equal_runs_are_those_runs_one_by_one(levels, bits_per_key):
    entries, runs, weights = (list(column) for column in zip(*levels, strict=True))
    budget = bits_per_key * sum(entries)
    rates = cost.monkey_fprs(entries, runs, budget, weights)
    apart = [(n / k, w) for n, k, w in levels for _ in range(k)]
    bits = cost.allocate([n for n, _ in apart], budget, [w for _, w in apart])
    each = [p for p, k in zip(rates, runs, strict=True) for _ in range(k)]
    assert [exp(-b * LN2_SQUARED) for b in bits] == pytest.approx(each, rel=1e-6)
    assert all(0 <= p <= 1 for p in rates)


@given(st.floats(1, 1e12), st.floats(1, 1e4), st.floats(1, 1e9), st.integers(2, 64))
def test_levels_hold_the_data_and_one_level_less_would_not(entries, entry_bytes, buffer_bytes, ratio):
    count = cost.levels(entries, entry_bytes, buffer_bytes, ratio)
    last = entries * entry_bytes / buffer_bytes * (ratio - 1) / ratio
    assert last <= ratio**count * (1 + 1e-8)
    assert count == 1 or last > ratio ** (count - 1) * (1 - 1e-8)
