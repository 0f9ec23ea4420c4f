"""The closed forms: named points, the numbers texts print, and where they stop to hold."""

from math import nan

import pytest

from lsmkv import cost
from lsmkv.cost import closed_forms as forms
from lsmkv.errors import InvalidArgumentError


@pytest.mark.parametrize("ratio", [2, 3, 4, 10, 64])
def test_lazy_leveling_is_dostoevskys_equation_6(ratio):
    said = forms.bloom_fpr(10) * ratio ** (ratio / (ratio - 1)) / (ratio - 1) ** ((ratio - 1) / ratio)
    assert forms.zero_lookup(10, ratio, K=ratio - 1) == pytest.approx(said)


@pytest.mark.parametrize(("K", "Z"), [(1, 1), (3, 1), (3, 3), (2, 3)])
def test_rates_of_the_levels_add_up_to_r_and_m(K, Z):
    T, m, L = 4, 6.0, 30
    rates = [forms.inner_fpr(m, T, L - i, K, Z) for i in range(1, L)] + [forms.last_fpr(m, T, K, Z)]
    assert K * sum(rates[:-1]) + Z * rates[-1] == pytest.approx(forms.zero_lookup(m, T, K, Z))
    entries = [(T - 1) * T**i for i in range(L)]
    assert rates[-3:] == pytest.approx(cost.monkey_fprs(entries, [K] * (L - 1) + [Z], m * sum(entries))[-3:], rel=1e-6)


@pytest.mark.parametrize("ratio", [2, 3, 4, 7, 10])
def test_at_the_threshold_the_last_level_has_no_filter_left(ratio):
    for K, Z in ((1, 1), (ratio - 1, 1), (ratio - 1, ratio - 1)):
        least = forms.zero_lookup_threshold(ratio, K, Z)
        assert forms.last_fpr(least, ratio, K, Z) == pytest.approx(1.0)
        with pytest.raises(InvalidArgumentError, match="at least"):
            forms.zero_lookup(least * 0.99, ratio, K, Z)


def test_the_threshold_is_largest_at_ratio_3():
    found = {T: forms.zero_lookup_threshold(T, T - 1) for T in range(2, 65)}
    assert max(found, key=found.get) == 3


def test_monkey_leaves_deep_levels_bare_as_memory_shrinks():
    costs = [forms.monkey_zero_lookup(m, 4, 6) for m in (0, 0.001, 0.01, 0.1, 0.9, 1, 2, 5, 10)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == 6
    assert forms.monkey_zero_lookup(5, 4, 6) == pytest.approx(forms.zero_lookup(5, 4))
    assert forms.monkey_zero_lookup(5, 4, 6, tiered=True) == pytest.approx(forms.zero_lookup(5, 4, 3, 3))


@pytest.mark.parametrize("m", [0.05, 0.2, 0.5])
def test_monkeys_poor_budgets_are_near_the_water_filled_ones(m):
    L, T = 8, 4
    entries = [(T - 1) * T**i for i in range(L)]
    exact = sum(cost.monkey_fprs(entries, [1] * L, m * sum(entries)))
    assert forms.monkey_zero_lookup(m, T, L) == pytest.approx(exact, rel=0.25)


def test_the_update_formulas_differ_as_their_triggers_do():
    assert [f(10, 3) for f in (forms.update_exact, forms.update_dostoevsky, forms.update_k_lsm)] == [1.8, 2.25, 2.0]
    for T in range(2, 12):
        for K in range(1, T):
            if (T - 1) % K == 0:
                assert cost.inner_copies(T, K) == pytest.approx(forms.update_exact(T, K))
    with pytest.raises(InvalidArgumentError, match="inner_copies"):
        forms.update_exact(10, 4)


def test_space_and_scans_at_the_named_points():
    assert forms.space_amplification(10) == pytest.approx(0.1)
    assert forms.space_amplification(10, 9) == pytest.approx(8.1)
    assert forms.range_blocks(0.5, 32, 4, 10, 9, 1) == pytest.approx(9 * 3 + 1 + 0.5 / 32 * 1.1)
    assert forms.range_blocks(3200, 32, 4, 10, speed=10) == pytest.approx(4 + 10 * 1.1)


@pytest.mark.parametrize("bad", [nan, -1, True, "x", None, 1])
def test_meaningless_ratios_are_refused_everywhere(bad):
    calls = [
        lambda: forms.zero_lookup(10, bad),
        lambda: forms.zero_lookup_threshold(bad),
        lambda: forms.existing_lookup(10, bad),
        lambda: forms.monkey_zero_lookup(10, bad, 3),
        lambda: forms.range_blocks(10, 10, 3, bad),
        lambda: forms.space_amplification(bad),
        lambda: forms.update_monkey_leveled(bad),
        lambda: forms.update_monkey_tiered(bad),
        lambda: forms.update_dostoevsky(bad, 1),
        lambda: forms.update_k_lsm(bad, 1),
        lambda: forms.update_exact(bad, 1),
        lambda: forms.update_last_overwritten(bad),
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError, match="size_ratio"):
            call()
    for runs in (0, 10, nan, True):
        with pytest.raises(InvalidArgumentError, match="K must be"):
            forms.zero_lookup(10, 10, runs)
