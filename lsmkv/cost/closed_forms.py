"""The papers' equations, one function each: what they say, under which assumptions, where they stop to hold.

Symbols: T size ratio, K runs in each level but the last, Z runs in the last, L levels, B entries a block, m filter bits a key
on average over the whole tree. All describe *full* trees whose levels hold exactly T times the one above; a real tree, whose
last level is partly full, may differ up to fourfold, which is why :func:`lsmkv.cost.predict` counts real runs instead.
Lookups and scans are in blocks fetched, updates in copies (one copy: an entry written once into one level).

Numbers of equations are given where a text that quotes the paper was at hand: Monkey (Dayan, Athanassoulis, Idreos, SIGMOD
2017) eq. 2-6 and Dostoevsky (Dayan, Idreos, SIGMOD 2018) eq. 3-7. Others name the paper only, or say what is not checked.
Every function raises InvalidArgumentError for numbers outside its validity.
"""

from __future__ import annotations

from math import ceil, exp, log

from lsmkv.cost.checks import number
from lsmkv.cost.monkey import LN2_SQUARED
from lsmkv.errors import InvalidArgumentError

__all__ = [
    "bloom_fpr",
    "existing_lookup",
    "inner_fpr",
    "last_fpr",
    "monkey_threshold",
    "monkey_zero_lookup",
    "range_blocks",
    "space_amplification",
    "uniform_zero_lookup",
    "update_blocks",
    "update_dostoevsky",
    "update_exact",
    "update_k_lsm",
    "update_last_overwritten",
    "update_monkey_leveled",
    "update_monkey_tiered",
    "zero_lookup",
    "zero_lookup_threshold",
]

LARGEST_RATIO, MOST_LEVELS = 1e6, 48
"""Far beyond any tree; further on, the powers of T leave what a float can hold."""


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


def zero_lookup(bits_per_key: float, size_ratio: float, K: float = 1, Z: float = 1) -> float:
    """``R = e^(-m ln2^2) * Z^((T-1)/T) * K^(1/T) * T^(T/(T-1)) / (T-1)``: an absent key, filters allocated optimally.

    Assumes: infinitely many full levels, K and Z runs in each, every run asked. Valid from :func:`zero_lookup_threshold`
    bits on; refused below, where the last level has no filter. K = T-1, Z = 1 is Dostoevsky eq. 6 (lazy leveling); K = Z = 1
    and K = Z = T-1 are Monkey's leveled and tiered trees.

    >>> round(zero_lookup(10, 10), 5), round(zero_lookup(10, 10, K=9), 5)
    (0.01176, 0.01465)
    """
    T, K, Z = _fluid(size_ratio, K, Z)
    least = zero_lookup_threshold(T, K, Z)
    if number("bits_per_key", bits_per_key) < least * (1 - 1e-12):
        raise InvalidArgumentError(f"bits_per_key must be at least {least:.4f} for T={T:g}, K={K:g}, Z={Z:g}: {bits_per_key!r}")
    return float(bloom_fpr(bits_per_key) * Z ** ((T - 1) / T) * K ** (1 / T) * T ** (T / (T - 1)) / (T - 1))


def zero_lookup_threshold(size_ratio: float, K: float = 1, Z: float = 1) -> float:
    """``m >= (ln T/(T-1) + ln(K/Z)/T) / ln2^2``: bits a key from which the last level has a filter, p_L <= 1.

    Dostoevsky eq. 7 for K = T-1, Z = 1; its largest value over all whole T is printed there as 1.62, at T = 3.

    >>> round(zero_lookup_threshold(3, K=2), 2)
    1.62
    """
    T, K, Z = _fluid(size_ratio, K, Z)
    return max(0.0, (log(T) / (T - 1) + log(K / Z) / T) / LN2_SQUARED)


def last_fpr(bits_per_key: float, size_ratio: float, K: float = 1, Z: float = 1) -> float:
    """``p_L = R/Z * (T-1)/T``: the rate of each filter of the last level. Dostoevsky eq. 5 for Z = 1.

    >>> round(last_fpr(10, 10, K=9) / zero_lookup(10, 10, K=9), 3)
    0.9
    """
    T, K, Z = _fluid(size_ratio, K, Z)
    return zero_lookup(bits_per_key, T, K, Z) / Z * (T - 1) / T


def inner_fpr(bits_per_key: float, size_ratio: float, above_last: float, K: float = 1, Z: float = 1) -> float:
    """``p_i = R/K * (T-1)/T^(L-i+1)``: the rate of each filter ``above_last`` = L - i >= 1 levels above the last.

    Dostoevsky eq. 5 for K = T-1, Z = 1: ``R / T^(L-i+1)``.
    """
    T, K, Z = _fluid(size_ratio, K, Z)
    return zero_lookup(bits_per_key, T, K, Z) / K * (T - 1) / float(T ** (number("above_last", above_last, 1, MOST_LEVELS) + 1))


def existing_lookup(bits_per_key: float, size_ratio: float, K: float = 1, Z: float = 1) -> float:
    """``V = 1 + R - p_L``: a present key that lies in the oldest run, the worst case. Monkey, Dostoevsky.

    >>> round(existing_lookup(10, 10), 5)
    1.00118
    """
    return 1 + zero_lookup(bits_per_key, size_ratio, K, Z) - last_fpr(bits_per_key, size_ratio, K, Z)


def monkey_threshold(size_ratio: float) -> float:
    """``M_threshold / N = ln T / ((T-1) ln2^2)``: bits a key below which Monkey leaves its deepest levels without filters."""
    return zero_lookup_threshold(size_ratio)


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
    T, _, _ = _fluid(size_ratio, 1, 1)
    m, L = number("bits_per_key", bits_per_key), number("levels", levels, 1)
    runs = T - 1 if tiered else 1.0
    least = monkey_threshold(T)
    bare = L if m == 0 else max(0.0, min(L, float(ceil(log(least / m) / log(T) - 1e-9))))
    if bare == L:
        return runs * L
    return runs * min(L, float(bloom_fpr(m * T**bare) * T ** (T / (T - 1)) / (T - 1) + bare))


def range_blocks(
    scan_entries: float, block_entries: float, levels: float, size_ratio: float, K: float = 1, Z: float = 1, speed: float = 1
) -> float:
    """``Q = K (L-1) + Z + s/(mu B) * (Z + 1/T)``: a scan of s unique entries; mu = ``speed`` of sequential over random access.

    Assumes: one seek a run, every run of the last level may hold a version of each key (overwrites), the levels above 1/T of
    the data. Dostoevsky's Fluid LSM-tree.

    >>> range_blocks(320, 32, levels=3, size_ratio=4)
    15.5
    """
    T, K, Z = _fluid(size_ratio, K, Z)
    blocks = number("scan_entries", scan_entries) / (
        number("speed", speed, above=True) * number("block_entries", block_entries, above=True)
    )
    return K * (number("levels", levels, 1) - 1) + Z + blocks * (Z + 1 / T)


def space_amplification(size_ratio: float, Z: float = 1) -> float:
    """``Z - 1 + 1/T``: obsolete entries per live one, worst case under overwrites (ours is this + 1). Dostoevsky.

    >>> space_amplification(4), space_amplification(4, Z=3)
    (0.25, 2.25)
    """
    T, _, Z = _fluid(size_ratio, 1, Z)
    return Z - 1 + 1 / T


def update_monkey_leveled(size_ratio: float) -> float:
    """``(T-1)/2`` copies per entry and level: leveling, arrivals 1..T-1 rewrite 1..T-1 arrivals. Monkey.

    >>> update_monkey_leveled(10) == update_exact(10, 1)
    True
    """
    return (number("size_ratio", size_ratio, 2, LARGEST_RATIO) - 1) / 2


def update_monkey_tiered(size_ratio: float) -> float:
    """``(T-1)/T`` copies per entry and level: tiering, each of T arrivals but the last is written once. Monkey.

    >>> update_monkey_tiered(10) == update_exact(10, 9)
    True
    """
    T = number("size_ratio", size_ratio, 2, LARGEST_RATIO)
    return (T - 1) / T


def update_dostoevsky(size_ratio: float, runs: float) -> float:
    """``(T-1)/(K+1)`` copies per entry and level (Z in place of K for the last). Dostoevsky's W; its number, 12, not checked.

    Right for K = 1; elsewhere an approximation: T-1 runs get (T-1)/T.

    >>> update_dostoevsky(10, 1), update_dostoevsky(10, 9)
    (4.5, 0.9)
    """
    T, K, _ = _fluid(size_ratio, runs, 1)
    return (T - 1) / (K + 1)


def update_k_lsm(size_ratio: float, runs: float) -> float:
    """``(T-1+K)/(2K)`` copies per entry and level: K-LSM (Endure, VLDB Journal 2024), as its authors' program has it.

    Arrivals rewrite 1..(T-1)/K arrivals of the run they join; the one that is passed on counts as well.

    >>> update_k_lsm(10, 1), update_k_lsm(10, 9)
    (5.0, 1.0)
    """
    T, K, _ = _fluid(size_ratio, runs, 1)
    return (T - 1 + K) / (2 * K)


def update_exact(size_ratio: float, runs: float) -> float:
    """``(T-1)(T-1+K)/(2KT)`` copies per entry and level but the last: exact for lsmkv's trigger, keys all different.

    Of T arrivals, T-1 are merged into K runs of (T-1)/K arrivals each, writing 1..(T-1)/K of them; number T passes through.
    Valid for K dividing T-1 (refused else: :func:`lsmkv.cost.inner_copies` counts with the rounding).

    >>> update_exact(10, 3)
    1.8
    """
    T, K, _ = _fluid(size_ratio, runs, 1)
    if abs((T - 1) / K - round((T - 1) / K)) > 1e-9:
        raise InvalidArgumentError(
            f"runs must divide size_ratio - 1 = {T - 1:g} for the closed form, not {runs!r}: use inner_copies"
        )
    return (T - 1) * (T - 1 + K) / (2 * K * T)


def update_last_overwritten(size_ratio: float, Z: float = 1) -> float:
    """``T/Z`` copies per entry at a full last level whose keys are overwritten: an arrival meets T-1 others, 1/Z of the time.

    An upper bound at Z = 1: the merged level holds T-1 arrivals, the T-th overwrote its share.
    """
    T, _, Z = _fluid(size_ratio, 1, Z)
    return T / Z


def update_blocks(copies: float, block_entries: float, write_cost: float = 1) -> float:
    """``copies * (1 + phi) / B``: blocks read and written per entry; phi = ``write_cost``: a block written over one read.

    Endure (VLDB 2022) and Monkey scale updates so; every copy made by a merge was read before.

    >>> update_blocks(4.5, 32)
    0.28125
    """
    copies = number("copies", copies)
    return copies * (1 + number("write_cost", write_cost)) / number("block_entries", block_entries, above=True)


def _fluid(size_ratio: float, K: float, Z: float) -> tuple[float, float, float]:
    """T, K and Z, checked: T >= 2, K and Z from 1 to T - 1."""
    T = number("size_ratio", size_ratio, 2, LARGEST_RATIO)
    return T, number("K", K, 1, T - 1), number("Z", Z, 1, T - 1)
