"""Copies per entry and level by the moment of merging: Endure's trigger, lsmkv's own, and the K that suits scans.

The formulas differ because the moments of merging do. :func:`lsmkv.cost.inner_copies` counts lsmkv's for any K.
"""

from __future__ import annotations

from math import sqrt

from lsmkv.cost.checks import number
from lsmkv.cost.closed_forms.symbols import fluid, ratio_of
from lsmkv.errors import InvalidArgumentError

__all__ = [
    "best_runs_for_seeks",
    "seek_update_blocks",
    "update_blocks",
    "update_exact",
    "update_k_lsm",
    "update_last_overwritten",
]


def update_k_lsm(size_ratio: float, runs: float) -> float:
    """``(T-1+K)/(2K)`` copies per entry and level: K-LSM (Endure, VLDB Journal 2024), as its authors' program has it.

    Arrivals rewrite 1..(T-1)/K arrivals of the run they join; the one that is passed on counts as well.

    >>> update_k_lsm(10, 1), update_k_lsm(10, 9)
    (5.0, 1.0)
    """
    T, K, _ = fluid(size_ratio, runs, 1)
    return (T - 1 + K) / (2 * K)


def update_exact(size_ratio: float, runs: float) -> float:
    """``(T-1)(T-1+K)/(2KT)`` copies per entry and level but the last: exact for lsmkv's trigger, keys all different.

    Of T arrivals, T-1 are merged into K runs of (T-1)/K arrivals each, writing 1..(T-1)/K of them; number T passes through.
    Valid for K dividing T-1 (refused else: :func:`lsmkv.cost.inner_copies` counts with the rounding).

    >>> update_exact(10, 3)
    1.8
    """
    T, K, _ = fluid(size_ratio, runs, 1)
    if abs((T - 1) / K - round((T - 1) / K)) > 1e-9:
        raise InvalidArgumentError(
            f"runs must divide size_ratio - 1 = {T - 1:g} for the closed form, not {runs!r}: use inner_copies"
        )
    return (T - 1) * (T - 1 + K) / (2 * K * T)


def update_last_overwritten(size_ratio: float, Z: float = 1) -> float:
    """``T/Z`` copies per entry at a full last level whose keys are overwritten: an arrival meets T-1 others, 1/Z of the time.

    An upper bound at Z = 1: the merged level holds T-1 arrivals, the T-th overwrote its share.
    """
    T, _, Z = fluid(size_ratio, 1, Z)
    return T / Z


def update_blocks(copies: float, block_entries: float, write_cost: float = 1) -> float:
    """``copies * (1 + phi) / B``: blocks read and written per entry; phi = ``write_cost``: a block written over one read.

    Endure (VLDB 2022) and Monkey scale updates so; every copy made by a merge was read before.

    >>> update_blocks(4.5, 32)
    0.28125
    """
    copies = number("copies", copies)
    return copies * (1 + number("write_cost", write_cost)) / number("block_entries", block_entries, above=True)


def best_runs_for_seeks(size_ratio: float, updates_per_scan: float, block_entries: float, write_cost: float = 1) -> float:
    """``K = (T-1) sqrt(u (1+phi) / (2 T B))``: the runs of an inner level that scans and updates together like best.

    Each run more costs a scan one seek; lsmkv's trigger writes ``(T-1)(T-1+K)/(2KT)`` copies at ``(1+phi)/B`` blocks each, u =
    ``updates_per_scan`` times. The derivative of the sum vanishes there; cut to 1 .. T-1. Not a whole number: ask for both
    neighbours. Assumes full inner levels, scans shorter than a block a run, filters of no use to scans.

    >>> round(best_runs_for_seeks(10, updates_per_scan=100, block_entries=32), 2)
    5.03
    >>> best_runs_for_seeks(10, updates_per_scan=1, block_entries=32), best_runs_for_seeks(10, 1e6, 32)
    (1.0, 9.0)
    """
    T, u = ratio_of(size_ratio), number("updates_per_scan", updates_per_scan)
    phi, B = number("write_cost", write_cost), number("block_entries", block_entries, above=True)
    return min(T - 1, max(1.0, (T - 1) * sqrt(u * (1 + phi) / (2 * T * B))))


def seek_update_blocks(
    size_ratio: float, runs: float, updates_per_scan: float, block_entries: float, write_cost: float = 1
) -> float:
    """``K + u (1+phi)/B (T-1)(T-1+K)/(2KT)``: blocks per inner level of one scan and its ``updates_per_scan`` = u updates.

    What :func:`best_runs_for_seeks` minimizes; K taken as any number.

    >>> round(seek_update_blocks(10, 5, 100, 32), 2)
    12.88
    """
    T, K, _ = fluid(size_ratio, runs, 1)
    copies = (T - 1) * (T - 1 + K) / (2 * K * T)
    return K + number("updates_per_scan", updates_per_scan) * update_blocks(copies, block_entries, write_cost)
