"""Lesson 6, starter code: filter bits shared out alike."""

from collections.abc import Sequence
from math import log

LN2_SQUARED = log(2) ** 2
"""A filter of b bits a key lets through p = e^(-b * LN2_SQUARED) of the absent keys."""


def bits_per_key(entries: Sequence[float], budget_bits: float) -> list[float]:
    """Bits per key of each run's filter, so that a lookup of an absent key reads the fewest blocks (the sum of all p).

    ``entries``: of each run. ``sum(entries[i] * bits[i])`` is the budget; no bits are below 0.
    """
    # YOUR TURN: this gives each key the same.
    alike = budget_bits / sum(entries)
    return [alike for _ in entries]
