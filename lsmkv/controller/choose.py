"""Which point of the continuum suits a mix: what each would cost in the long run, robustly.

The long-run cost of a point is the mean over trees a little smaller and larger than the present one (the digits of their numbers
of arrivals, as in :func:`lsmkv.cost.ideal_shape`), and lsmkv's own copies per entry (:func:`lsmkv.cost.long_run_copies`).

*Robust* (Endure, VLDB 2022): not the cost at the average mix but the worst at any mix within a relative entropy ``radius`` of it,
by its dual ``min over lambda > 0 of lambda * radius + lambda * log sum_i w_i e^(c_i / lambda)``. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, log, log2

from lsmkv.controller.prices import Mix, Prices, read_costs
from lsmkv.cost.copies import long_run_copies
from lsmkv.policy.geometry import Geometry

__all__ = ["best_runs", "candidates", "long_run", "robust_cost"]

SAMPLES = 24
"""Trees that are averaged over."""

GOLDEN = 0.6180339887498949
STEPS = range(-6, 7)
"""Powers of two, times the largest cost, tried for lambda: the dual is convex and flat around its minimum."""

FLUSH_ENTRIES = 1_000
"""Any: copies per entry hardly depend on it."""


def candidates(size_ratio: int, space_limit: float | None = None) -> tuple[Geometry, ...]:
    """The points of a size ratio that are chosen from: K and Z from 1 to T-1, each dividing it, Z = 1 or Z = K.

    ``space_limit``: most bytes in tables per live byte under overwrites (``Z + 1/T``, Dostoevsky); leveling is always among them.
    """
    runs = [k for k in range(1, size_ratio) if (size_ratio - 1) % k == 0]
    pairs = [(k, z) for k in runs for z in sorted({1, k})]
    return tuple(
        Geometry(size_ratio, (k,), z)
        for k, z in pairs
        if space_limit is None or (k, z) == (1, 1) or z + 1 / size_ratio <= space_limit
    )


def long_run(geometry: Geometry, arrivals: float, prices: Prices, level0_runs: int = 1) -> Mix:
    """Blocks per operation of each kind, on average over time, of a tree of about so many arrivals."""
    return _long_run(geometry, round(4 * log2(max(arrivals, 2.0))), prices, level0_runs)


def robust_cost(costs: Mix, mix: Mix, radius: float) -> float:
    """The highest cost at any mix within a relative entropy of ``radius`` nats of ``mix`` (shares); 0.0: the cost at ``mix``."""
    pairs = [(cost, share) for cost, share in zip(costs, mix, strict=True) if share > 0]
    if not pairs:
        return 0.0
    highest = max(cost for cost, _ in pairs)
    if radius <= 0 or highest <= 0:
        return sum(cost * share for cost, share in pairs)

    def dual(scale: float) -> float:
        """At one lambda, the largest cost factored out."""
        return scale * radius + highest + scale * log(sum(share * exp((cost - highest) / scale) for cost, share in pairs))

    return min(highest, *(dual(highest * 2.0**step) for step in STEPS))


def best_runs(
    size_ratio: int, arrivals: float, mix: Mix, prices: Prices, *, radius: float = 0.0, space_limit: float | None = None
) -> tuple[float, Geometry]:
    """The cheapest point of a size ratio and what it costs per operation; of equals the laziest."""
    told = [(robust_cost(long_run(one, arrivals, prices), mix, radius), one) for one in candidates(size_ratio, space_limit)]
    return min(told, key=lambda pair: (pair[0], -pair[1].inner_runs[0], -pair[1].last_runs))


@lru_cache(maxsize=4096)
def _long_run(geometry: Geometry, quarter: int, prices: Prices, level0_runs: int) -> Mix:
    """For trees of about ``2^(quarter/4)`` arrivals."""
    sums, middle = Mix(), 2 ** (quarter / 4)
    for sample in range(SAMPLES):
        arrivals = max(1, round(middle * (0.75 + 0.5 * (sample * GOLDEN % 1))))
        sizes, levels = _digits(geometry, arrivals)
        reads = read_costs([0.5, *sizes], prices)
        written = prices.flushed + prices.merged * _copies(geometry, levels, level0_runs)
        sums = sums.plus(Mix(reads.zero, reads.found, reads.scan, written))
    return sums.scaled(1 / SAMPLES)


@lru_cache(maxsize=4096)
def _copies(geometry: Geometry, levels: int, level0_runs: int) -> float:
    """Copies that merges make of an entry."""
    return sum(long_run_copies(geometry, levels, FLUSH_ENTRIES, level0_runs)[1:])


def _digits(geometry: Geometry, arrivals: int) -> tuple[Sequence[float], int]:
    """The runs of a tree of so many arrivals, newest first, in arrivals; and its number of levels."""
    ratio, digits = geometry.size_ratio, []
    while arrivals:
        arrivals, digit = divmod(arrivals, ratio)
        digits.append(digit)
    sizes: list[float] = []
    for level, digit in enumerate(digits, 1):
        quota = -(-(ratio - 1) // geometry.runs_at(level, len(digits)))
        runs = [digit % quota] * (digit % quota > 0) + [quota] * (digit // quota)
        sizes += [float(n * ratio ** (level - 1)) for n in runs]
    return sizes, len(digits)
