"""What all closed forms refuse: symbols outside the range in which the equations mean something."""

from __future__ import annotations

from lsmkv.cost.checks import number

__all__ = ["LARGEST_RATIO", "MOST_LEVELS", "fluid", "ratio_of"]

LARGEST_RATIO, MOST_LEVELS = 1e6, 48
"""Far beyond any tree; further on, the powers of T leave what a float can hold."""


def ratio_of(size_ratio: float) -> float:
    """T, checked: from 2 on."""
    return number("size_ratio", size_ratio, 2, LARGEST_RATIO)


def fluid(size_ratio: float, K: float, Z: float) -> tuple[float, float, float]:
    """T, K and Z, checked: T >= 2, K and Z from 1 to T - 1."""
    T = ratio_of(size_ratio)
    return T, number("K", K, 1, T - 1), number("Z", Z, 1, T - 1)
