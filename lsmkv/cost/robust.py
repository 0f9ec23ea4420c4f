"""The mix that may come instead of the one expected: Endure's robust cost.

Workloads drift. Endure (PVLDB 15(8), 2022) asks what a shape costs under the worst mix p within a Kullback-Leibler divergence
``rho`` of the expected one, w::

    max  sum p_i c_i     over mixes p with  sum p_i ln(p_i / w_i) <= rho          (primal)
    min  lambda rho + lambda ln sum w_i e^(c_i / lambda)     over lambda > 0      (dual; both are equal)

The worst mix is w tilted towards what is dear, ``p_i ~ w_i e^(theta c_i)``, theta = 1/lambda: the divergence grows with theta, so
bisection finds it. Operations that are not expected at all (w_i = 0) do not come. rho = 0 is the expected mix; at rho = ln(1/w_i)
of the dearest operation, only that one comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, isclose, log

from lsmkv.cost.checks import number, numbers, same_length
from lsmkv.errors import InvalidArgumentError

__all__ = ["checked_mix", "divergence", "robust_cost", "robust_dual", "worst_mix"]

SUM_TOLERANCE = 1e-6
"""How far a mix may be from summing to 1."""
BISECTIONS = 60
STEEPEST = 2.0**60
"""A tilt at which, to a float, only the dearest operation comes."""


def checked_mix(name: str, mix: Sequence[float]) -> list[float]:
    """A mix whose shares are at least 0 and sum to 1.

    Raises InvalidArgumentError.
    """
    shares = [number(f"{name}[{i}]", share) for i, share in enumerate(mix)]
    if not shares or not isclose(sum(shares), 1, abs_tol=SUM_TOLERANCE):
        raise InvalidArgumentError(f"{name} must sum to 1, not {sum(shares):g}: {list(mix)!r}")
    return shares


def divergence(mix: Sequence[float], expected: Sequence[float]) -> float:
    """``sum p_i ln(p_i / w_i)``, in nats: how far a mix is from the expected one; infinite if something unexpected comes.

    Raises InvalidArgumentError for what is no mix.

    >>> round(divergence([0.5, 0.5], [0.9, 0.1]), 3)
    0.511
    """
    p, w = checked_mix("mix", mix), checked_mix("expected", expected)
    same_length("mix", p, "expected", w)
    if any(a > 0 == b for a, b in zip(p, w, strict=True)):
        return inf
    return max(0.0, sum(a * log(a / b) for a, b in zip(p, w, strict=True) if a > 0))


def worst_mix(costs: Sequence[float], expected: Sequence[float], rho: float) -> list[float]:
    """The dearest mix within ``rho`` of the expected one.

    Raises InvalidArgumentError.

    >>> [round(p, 3) for p in worst_mix([1.0, 10.0], [0.9, 0.1], 0.511)]
    [0.5, 0.5]
    """
    w, radius = checked_mix("expected", expected), number("rho", rho)
    c = numbers("costs", costs, above=-inf)
    same_length("costs", c, "expected", w)
    dearest = max(cost for cost, share in zip(c, w, strict=True) if share > 0)
    cheapest = min(cost for cost, share in zip(c, w, strict=True) if share > 0)
    spread = dearest - cheapest
    if spread <= 0 or radius == 0:
        return w
    heights = [(cost - dearest) / spread for cost in c]  # 0 for the dearest, -1 for the cheapest: no overflow
    top = sum(share for share, height in zip(w, heights, strict=True) if height == 0)
    if radius >= -log(top):
        return [share / top if height == 0 else 0.0 for share, height in zip(w, heights, strict=True)]
    low, high = 0.0, 1.0
    while high < STEEPEST and _divergence(_tilted(w, heights, high), w) < radius:
        low, high = high, high * 2
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(_tilted(w, heights, middle), w) < radius else (low, middle)
    return _tilted(w, heights, low)


def robust_cost(costs: Sequence[float], expected: Sequence[float], rho: float) -> float:
    """What the worst mix within ``rho`` of the expected one costs: never less than the expected one does.

    Raises InvalidArgumentError.

    >>> round(robust_cost([1.0, 10.0], [0.9, 0.1], 0.0), 3), round(robust_cost([1.0, 10.0], [0.9, 0.1], 0.511), 2)
    (1.9, 5.5)
    """
    worst = worst_mix(costs, expected, rho)
    return sum(share * cost for share, cost in zip(worst, costs, strict=True) if share)


def robust_dual(costs: Sequence[float], expected: Sequence[float], rho: float, weight: float) -> float:
    """The dual's value at ``weight`` = lambda > 0: for any lambda at least :func:`robust_cost`, for the best one equal to it.

    Raises InvalidArgumentError.
    """
    w, factor = checked_mix("expected", expected), number("weight", weight, above=True)
    c = numbers("costs", costs, above=-inf)
    same_length("costs", c, "expected", w)
    top = max(cost for cost, share in zip(c, w, strict=True) if share > 0)
    mean = sum(share * exp((cost - top) / factor) for cost, share in zip(c, w, strict=True) if share > 0)
    return top + factor * (number("rho", rho) + log(mean))


def _tilted(expected: list[float], heights: list[float], theta: float) -> list[float]:
    """The expected mix, tilted."""
    raw = [share * exp(theta * height) if share else 0.0 for share, height in zip(expected, heights, strict=True)]
    total = sum(raw)
    return [one / total for one in raw]


def _divergence(p: list[float], w: list[float]) -> float:
    """:func:`divergence` without its checks."""
    return sum(a * log(a / b) for a, b in zip(p, w, strict=True) if a > 0)
