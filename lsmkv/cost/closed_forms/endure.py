"""Endure: the K-LSM cost model, and choosing for a neighbourhood of mixes.

Huynh, Chaudhari, Terzi, Athanassoulis: *Endure*, PVLDB 15(8), 2022; *Towards flexibility and robustness of LSM trees*, VLDB
Journal 2024 (K-LSM: a K for each level). Assumes full levels 1..L of size ratio T, Monkey's filters with fractional probes, its
own trigger of merges. The equations carry no numbers here: those for lookups and scans are given as the papers describe them,
that for updates was checked against the authors' program. The robust dual: :mod:`lsmkv.cost.robust`.
"""

from __future__ import annotations

from collections.abc import Sequence

from lsmkv.cost.checks import number, numbers
from lsmkv.cost.closed_forms.monkey import bloom_fpr
from lsmkv.cost.closed_forms.symbols import MOST_LEVELS, ratio_of
from lsmkv.cost.closed_forms.triggers import update_blocks, update_k_lsm
from lsmkv.cost.robust import divergence, robust_cost, robust_dual, worst_mix
from lsmkv.cost.seconds import PerOperation
from lsmkv.errors import InvalidArgumentError

__all__ = ["divergence", "k_lsm_cost", "k_lsm_fprs", "robust_cost", "robust_dual", "worst_mix"]


def k_lsm_fprs(bits_per_key: float, size_ratio: float, levels: int) -> list[float]:
    """``f_i = min(1, e^(-m ln2^2) T^(T/(T-1)) / T^(L+1-i))``: the rate of a filter of level i, the first level first.

    Monkey's rates for one run a level, taken as they are for any K.

    >>> [round(f, 5) for f in k_lsm_fprs(10, 10, 3)]
    [0.00011, 0.00106, 0.01058]
    """
    T, count = ratio_of(size_ratio), _levels(levels)
    top = bloom_fpr(bits_per_key) * T ** (T / (T - 1))
    return [float(min(1.0, top / T ** (count + 1 - level))) for level in range(1, count + 1)]


def k_lsm_cost(
    bits_per_key: float,
    size_ratio: float,
    runs: Sequence[float],
    block_entries: float,
    scan_entries: float = 1,
    write_cost: float = 1,
) -> PerOperation:
    """Blocks of each kind of operation; ``runs`` = K_1 .. K_L, one number a level, each from 1 to T-1.

    Absent key ``sum K_i f_i``. Present key: by its level's share of the data, 1 and the runs above it and half of the others of
    its level, ``1 + sum_{j<i} K_j f_j + f_i (K_i - 1)/2``. Scan ``sum K_i + s/B``. Update ``(1 + phi)/B sum (T-1+K_i)/(2K_i)``.

    >>> leveled, lazy = k_lsm_cost(10, 10, [1, 1, 1], 32), k_lsm_cost(10, 10, [9, 9, 1], 32)
    >>> round(leveled.zero_lookup, 4), round(lazy.zero_lookup, 4), leveled.update, lazy.update
    (0.0117, 0.0211, 0.9375, 0.4375)
    """
    T, K = ratio_of(size_ratio), numbers("runs", runs)
    for level, count in enumerate(K):
        number(f"runs[{level}]", count, 1, T - 1)
    rates = k_lsm_fprs(bits_per_key, T, len(K))
    capacities = [(T - 1) * T**level for level in range(len(K))]
    above = present = 0.0
    for count, rate, entries in zip(K, rates, capacities, strict=True):
        present += entries / sum(capacities) * (1 + above + rate * (count - 1) / 2)
        above += count * rate
    blocks = number("scan_entries", scan_entries) / number("block_entries", block_entries, above=True)
    return PerOperation(
        zero_lookup=above,
        lookup=present,
        scan=sum(K) + blocks,
        update=update_blocks(sum(update_k_lsm(T, count) for count in K), block_entries, write_cost),
    )


def _levels(levels: int) -> int:
    """L, checked."""
    if isinstance(levels, int) and not isinstance(levels, bool) and 1 <= levels <= MOST_LEVELS:
        return levels
    raise InvalidArgumentError(f"levels must be a whole number from 1 to {MOST_LEVELS}, not {levels!r}")
