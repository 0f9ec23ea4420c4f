"""Shapes to choose from: size ratios times runs per level, each point of the continuum once."""

from __future__ import annotations

from collections.abc import Iterable

from lsmkv.cost.checks import whole
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy
from lsmkv.policy.continuum import Continuum
from lsmkv.policy.fluid import Fluid
from lsmkv.policy.geometry import LARGEST_RATIO, SMALLEST_RATIO
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.tiered import Tiered

__all__ = ["default_grid", "named_shapes", "shape_name"]


def default_grid(size_ratios: Iterable[int] = range(2, 13)) -> tuple[Continuum, ...]:
    """For each size ratio: leveled, lazy leveling, tiered, and between them every K that divides T-1, with Z = 1.

    Raises InvalidArgumentError for a ratio out of range (2 to 64), and for none at all.

    >>> [shape_name(policy) for policy in default_grid([2, 5])]
    ['leveled T=2', 'leveled T=5', 'fluid T=5 K=2 Z=1', 'lazy T=5', 'tiered T=5']
    """
    ratios = [whole("size_ratio", ratio, SMALLEST_RATIO, LARGEST_RATIO) for ratio in size_ratios]
    if not ratios:
        raise InvalidArgumentError("size_ratios is empty: at least one is needed")
    made: list[Continuum] = []
    for ratio in ratios:
        made.append(Leveled(ratio))
        if ratio == SMALLEST_RATIO:  # K = Z = T - 1 = 1: the three are one
            continue
        made += [Fluid(ratio, K=k, Z=1) for k in range(2, ratio - 1) if (ratio - 1) % k == 0]
        made += [LazyLeveling(ratio), Tiered(ratio)]
    return tuple(made)


def named_shapes(size_ratios: Iterable[int] = (4, 10)) -> tuple[Continuum, ...]:
    """Leveled, lazy leveling and tiered at some size ratios: what everybody asks about first.

    Raises InvalidArgumentError for a ratio out of range (3 to 64).
    """
    ratios = [whole("size_ratio", ratio, SMALLEST_RATIO + 1, LARGEST_RATIO) for ratio in size_ratios]
    return tuple(kind(ratio) for ratio in ratios for kind in (Leveled, LazyLeveling, Tiered))


def shape_name(policy: Policy) -> str:
    """A policy in a few characters."""
    match policy:
        case Leveled():
            return f"leveled T={policy.size_ratio}" + (f" {policy.partial}" if policy.partial else "")
        case LazyLeveling():
            return f"lazy T={policy.size_ratio}"
        case Tiered():
            return f"tiered T={policy.size_ratio}"
        case Fluid():
            runs = "/".join(map(str, policy.geometry.inner_runs))
            return f"fluid T={policy.size_ratio} K={runs} Z={policy.Z}" + (f" {policy.partial}" if policy.partial else "")
        case _:
            return repr(policy)
