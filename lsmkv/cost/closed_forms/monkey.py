"""Monkey: filter memory by level (Dayan, Athanassoulis, Idreos; SIGMOD 2017, eq. 2-6; longer in ACM TODS 43(4), 2018).

All for full trees. Lookups in blocks, updates in copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, log

from lsmkv.cost.checks import number, numbers, same_length
from lsmkv.cost.closed_forms.symbols import ratio_of
from lsmkv.cost.monkey import LN2_SQUARED, monkey_fprs

__all__ = [
    "asked_shares",
    "bloom_fpr",
    "mixed_fprs",
    "monkey_threshold",
    "monkey_zero_lookup",
    "uniform_zero_lookup",
    "update_monkey_leveled",
    "update_monkey_tiered",
    "wasted_blocks",
]


def bloom_fpr(bits_per_key: float) -> float:
    """``p = e^(-m ln2^2)``: a Bloom filter with the best, fractional number of probes. Monkey eq. 2.

    >>> round(bloom_fpr(10), 6)
    0.008193
    """
    return exp(-number("bits_per_key", bits_per_key) * LN2_SQUARED)


def uniform_zero_lookup(bits_per_key: float, runs: float) -> float:
    """``R = runs * e^(-m ln2^2)``: an absent key, every filter with the same bits a key (Monkey's state of the art).

    >>> round(uniform_zero_lookup(1_000_000 / 99_996, runs=9), 4)  # TODS 2018, printed .0737
    0.0737
    """
    return number("runs", runs) * bloom_fpr(bits_per_key)


def monkey_threshold(size_ratio: float) -> float:
    """``M_threshold / N = ln T / ((T-1) ln2^2)``: bits a key below which Monkey leaves its deepest levels without filters."""
    T = ratio_of(size_ratio)
    return log(T) / (T - 1) / LN2_SQUARED


def monkey_zero_lookup(bits_per_key: float, size_ratio: float, levels: float, *, tiered: bool = False) -> float:
    """Monkey's R for any budget: ``R_filtered + R_unfiltered``.

    With ``L_unfiltered = ceil(log_T(m_threshold / m))`` deepest levels without filters (0 above the threshold, at most L), the
    others form a tree of N / T^L_unfiltered entries: ``R_filtered = e^(-m ln2^2 T^L_unfiltered) T^(T/(T-1)) / (T-1)``,
    ``R_unfiltered = L_unfiltered``, both times T - 1 if ``tiered``; never more than all runs. Assumes as :func:`zero_lookup`,
    K = Z. (Monkey's section on low memory; the numbers of these equations are not checked.)

    >>> monkey_zero_lookup(0, 4, levels=5), monkey_zero_lookup(0, 4, levels=5, tiered=True)
    (5.0, 15.0)
    >>> round(monkey_zero_lookup(10, 10, levels=4), 5)
    0.01176
    """
    T = ratio_of(size_ratio)
    m, L = number("bits_per_key", bits_per_key), number("levels", levels, 1)
    runs = T - 1 if tiered else 1.0
    least = monkey_threshold(T)
    bare = L if m == 0 else max(0.0, min(L, float(ceil(log(least / m) / log(T) - 1e-9))))
    if bare == L:
        return runs * L
    return runs * min(L, float(bloom_fpr(m * T**bare) * T ** (T / (T - 1)) / (T - 1) + bare))


def update_monkey_leveled(size_ratio: float) -> float:
    """``(T-1)/2`` copies per entry and level: leveling, arrivals 1..T-1 rewrite 1..T-1 arrivals. Monkey.

    >>> update_monkey_leveled(10)
    4.5
    """
    return (ratio_of(size_ratio) - 1) / 2


def update_monkey_tiered(size_ratio: float) -> float:
    """``(T-1)/T`` copies per entry and level: tiering, each of T arrivals but the last is written once. Monkey.

    >>> update_monkey_tiered(10)
    0.9
    """
    T = ratio_of(size_ratio)
    return (T - 1) / T


def asked_shares(level_entries: Sequence[float], level_runs: Sequence[float], zero_lookups: float) -> list[float]:
    """How often a run of each level is asked in vain: ``w_i = z + (1-z) * (share of the entries that is older)``.

    ``zero_lookups`` = z is the share of lookups whose key is absent: they ask every run. The others ask the runs in front of
    the one that has the key, each live key as likely as any other; within a level of r runs, half of the others on average.

    >>> [round(w, 3) for w in asked_shares([100, 900], [1, 1], zero_lookups=0)]
    [0.9, 0.0]
    >>> asked_shares([100, 900], [1, 1], zero_lookups=1)
    [1.0, 1.0]
    """
    entries, runs = numbers("level_entries", level_entries), numbers("level_runs", level_runs)
    same_length("level_runs", runs, "level_entries", entries)
    z, total = number("zero_lookups", zero_lookups, 0, 1), sum(entries)
    older, result = total, []
    for n, r in zip(entries, runs, strict=True):
        older -= n
        result.append(z + (1 - z) * (max(0.0, older) + n * (r - 1) / (2 * r)) / total)
    return result


def mixed_fprs(
    level_entries: Sequence[float], level_runs: Sequence[float], filter_bits: float, zero_lookups: float
) -> list[float]:
    """The best rate of each level's filters where some lookups find their key: ``p_i = min(1, lambda n_i / (w_i runs_i))``.

    Monkey's allocation (SIGMOD 2017) weighs all runs alike, which is right if every lookup is of an absent key (z = 1). Lookups
    that find their key stop there, so deep filters are asked less: with w_i of :func:`asked_shares` the same water-filling
    minimizes what both kinds fetch in vain. The journal version (TODS 2018, eq. 19) solves this problem; that its equation is
    term by term this one has not been checked. A level that is never asked in vain (the last one, z = 0, one run) gets no bits.

    >>> levels, runs = [4_761, 19_047, 76_188], [3, 3, 3]
    >>> alike = mixed_fprs(levels, runs, 1_000_000, zero_lookups=1)
    >>> [round(p, 5) for p in alike]  # as printed
    [0.00076, 0.00304, 0.01217]
    >>> found = mixed_fprs(levels, runs, 1_000_000, zero_lookups=0)
    >>> found[0] < alike[0] and found[-1] > alike[-1]
    True
    """
    weights = asked_shares(level_entries, level_runs, zero_lookups)
    asked = [i for i, weight in enumerate(weights) if weight > 0]
    rates = [1.0] * len(weights)
    if asked:
        best = monkey_fprs(
            [level_entries[i] for i in asked], [level_runs[i] for i in asked], filter_bits, [weights[i] for i in asked]
        )
        for i, rate in zip(asked, best, strict=True):
            rates[i] = rate
    return rates


def wasted_blocks(
    level_entries: Sequence[float], level_runs: Sequence[float], rates: Sequence[float], zero_lookups: float
) -> float:
    """``sum w_i runs_i p_i``: blocks fetched in vain per lookup, z of which are of absent keys. What Monkey minimizes.

    >>> round(wasted_blocks([4_761, 19_047, 76_188], [3, 3, 3], [0.00076, 0.00304, 0.01217], zero_lookups=1), 4)
    0.0479
    """
    weights = asked_shares(level_entries, level_runs, zero_lookups)
    same_length("rates", rates, "level_entries", weights)
    return sum(
        weight * runs * number(f"rates[{i}]", rate, 0, 1)
        for i, (weight, runs, rate) in enumerate(zip(weights, level_runs, rates, strict=True))
    )
