"""Lesson 6, a solution: pour the bits over a ground of heights ln(entries)."""

from collections.abc import Sequence
from math import log

LN2_SQUARED = log(2) ** 2
"""A filter of b bits a key lets through p = e^(-b * LN2_SQUARED) of the absent keys."""


def bits_per_key(entries: Sequence[float], budget_bits: float) -> list[float]:
    """Bits per key of each run's filter, so that a lookup of an absent key reads the fewest blocks (the sum of all p).

    ``entries``: of each run. ``sum(entries[i] * bits[i])`` is the budget; no bits are below 0.
    """
    wet = list(entries)
    while True:
        # p = lambda * n, so bits * LN2_SQUARED = -ln(lambda) - ln(n): the water line less the ground. The line is where the
        # bits add up to the budget. Runs that stay dry are left out, which lowers the line for the others.
        line = (budget_bits * LN2_SQUARED + sum(n * log(n) for n in wet)) / sum(wet)
        still = [n for n in wet if log(n) < line]
        if len(still) == len(wet) or not still:
            break
        wet = still
    return [max(0.0, (line - log(n)) / LN2_SQUARED) for n in entries]
