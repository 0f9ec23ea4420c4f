"""Dostoevsky: the Fluid LSM-tree, K runs in each level but the last, Z there (Dayan, Idreos; SIGMOD 2018).

For full levels of size ratio T, infinitely many. Numbers of equations were checked against texts that quote the paper, not
against the paper itself: 3 to 7 (section 4.1, with their terms), 9 (the rates with K and Z, named only) and 14 (the throughput,
section 4.3, with its terms; two texts agree). Of 8 and 10 to 13 no text was found: present keys, R with K and Z, scans and
updates are among them, and that 12 is the update cost is hearsay.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from lsmkv.cost.checks import number, same_length
from lsmkv.cost.closed_forms.monkey import bloom_fpr
from lsmkv.cost.closed_forms.symbols import MOST_LEVELS, fluid
from lsmkv.cost.monkey import LN2_SQUARED
from lsmkv.cost.robust import checked_mix
from lsmkv.errors import InvalidArgumentError

__all__ = [
    "existing_lookup",
    "inner_fpr",
    "last_fpr",
    "range_blocks",
    "space_amplification",
    "throughput",
    "update_dostoevsky",
    "update_fluid",
    "zero_lookup",
    "zero_lookup_threshold",
]


def zero_lookup(bits_per_key: float, size_ratio: float, K: float = 1, Z: float = 1) -> float:
    """``R = e^(-m ln2^2) * Z^((T-1)/T) * K^(1/T) * T^(T/(T-1)) / (T-1)``: an absent key, filters allocated optimally.

    Assumes: infinitely many full levels, K and Z runs in each, every run asked. Valid from :func:`zero_lookup_threshold`
    bits on; refused below, where the last level has no filter. K = T-1, Z = 1 is Dostoevsky eq. 6 (lazy leveling); K = Z = 1
    and K = Z = T-1 are Monkey's leveled and tiered trees.

    >>> round(zero_lookup(10, 10), 5), round(zero_lookup(10, 10, K=9), 5)
    (0.01176, 0.01465)
    """
    T, K, Z = fluid(size_ratio, K, Z)
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
    T, K, Z = fluid(size_ratio, K, Z)
    return max(0.0, (log(T) / (T - 1) + log(K / Z) / T) / LN2_SQUARED)


def last_fpr(bits_per_key: float, size_ratio: float, K: float = 1, Z: float = 1) -> float:
    """``p_L = R/Z * (T-1)/T``: the rate of each filter of the last level. Dostoevsky eq. 5 for Z = 1, eq. 9 for any.

    >>> round(last_fpr(10, 10, K=9) / zero_lookup(10, 10, K=9), 3)
    0.9
    """
    T, K, Z = fluid(size_ratio, K, Z)
    return zero_lookup(bits_per_key, T, K, Z) / Z * (T - 1) / T


def inner_fpr(bits_per_key: float, size_ratio: float, above_last: float, K: float = 1, Z: float = 1) -> float:
    """``p_i = R/K * (T-1)/T^(L-i+1)``: the rate of each filter ``above_last`` = L - i >= 1 levels above the last.

    Dostoevsky eq. 5 for K = T-1, Z = 1: ``R / T^(L-i+1)``; eq. 9 for any K and Z, by its name: its terms were not at hand.
    """
    T, K, Z = fluid(size_ratio, K, Z)
    return zero_lookup(bits_per_key, T, K, Z) / K * (T - 1) / float(T ** (number("above_last", above_last, 1, MOST_LEVELS) + 1))


def existing_lookup(bits_per_key: float, size_ratio: float, K: float = 1, Z: float = 1) -> float:
    """``V = 1 + R - p_L``: a present key that lies in the oldest run, the worst case. Monkey, Dostoevsky.

    >>> round(existing_lookup(10, 10), 5)
    1.00118
    """
    return 1 + zero_lookup(bits_per_key, size_ratio, K, Z) - last_fpr(bits_per_key, size_ratio, K, Z)


def range_blocks(
    scan_entries: float, block_entries: float, levels: float, size_ratio: float, K: float = 1, Z: float = 1, speed: float = 1
) -> float:
    """``Q = K (L-1) + Z + s/(mu B) * (Z + 1/T)``: a scan of s unique entries; mu = ``speed`` of sequential over random access.

    Assumes: one seek a run, every run of the last level may hold a version of each key (overwrites), the levels above 1/T of
    the data. Dostoevsky's Fluid LSM-tree.

    >>> range_blocks(320, 32, levels=3, size_ratio=4)
    15.5
    """
    T, K, Z = fluid(size_ratio, K, Z)
    blocks = number("scan_entries", scan_entries) / (
        number("speed", speed, above=True) * number("block_entries", block_entries, above=True)
    )
    return K * (number("levels", levels, 1) - 1) + Z + blocks * (Z + 1 / T)


def space_amplification(size_ratio: float, Z: float = 1) -> float:
    """``Z - 1 + 1/T``: obsolete entries per live one, worst case under overwrites (ours is this + 1). Dostoevsky.

    >>> space_amplification(4), space_amplification(4, Z=3)
    (0.25, 2.25)
    """
    T, _, Z = fluid(size_ratio, 1, Z)
    return Z - 1 + 1 / T


def update_dostoevsky(size_ratio: float, runs: float) -> float:
    """``(T-1)/(K+1)`` copies per entry and level (Z in place of K for the last). Dostoevsky's W; its number, 12, not checked.

    Right for K = 1; elsewhere an approximation: T-1 runs get (T-1)/T.

    >>> update_dostoevsky(10, 1), update_dostoevsky(10, 9)
    (4.5, 0.9)
    """
    T, K, _ = fluid(size_ratio, runs, 1)
    return (T - 1) / (K + 1)


def update_fluid(levels: float, size_ratio: float, K: float = 1, Z: float = 1) -> float:
    """``(L-1) (T-1)/(K+1) + (T-1)/(Z+1)``: copies per entry over all levels. Dostoevsky eq. 12, without its ``phi/(mu B)``.

    Assumes: full levels, the paper's trigger (:func:`update_dostoevsky`). Valid from one level on.

    >>> update_fluid(4, 10), update_fluid(4, 10, K=9), update_fluid(4, 10, K=9, Z=9)
    (18.0, 7.2, 3.6)
    """
    T, K, Z = fluid(size_ratio, K, Z)
    return (number("levels", levels, 1, MOST_LEVELS) - 1) * update_dostoevsky(T, K) + update_dostoevsky(T, Z)


def throughput(mix: Sequence[float], blocks: Sequence[float], block_s: float) -> float:
    """``1 / (omega * sum of share times blocks)``: operations a second, omega = ``block_s`` seconds a block. Dostoevsky eq. 14.

    ``mix``: shares of absent and present lookups, scans and updates, summing to 1; ``blocks``: what each costs. Assumes that
    blocks are all that takes time. Dostoevsky chooses T, K and Z by it.

    >>> throughput([0.5, 0.5], [1.0, 3.0], block_s=0.001)
    500.0
    """
    shares = checked_mix("mix", mix)
    same_length("blocks", blocks, "mix", shares)
    each = sum(share * number(f"blocks[{i}]", cost) for i, (share, cost) in enumerate(zip(shares, blocks, strict=True)))
    if each == 0:
        raise InvalidArgumentError(f"blocks are 0 for everything in the mix: nothing takes time ({list(blocks)!r})")
    return 1 / (number("block_s", block_s, above=True) * each)
