"""Tiered: merge as late as possible."""

from __future__ import annotations

from dataclasses import dataclass

from lsmkv.policy.continuum import Continuum
from lsmkv.policy.geometry import Geometry, check_ratio

__all__ = ["Tiered"]


@dataclass(frozen=True, slots=True)
class Tiered(Continuum):
    """Up to T-1 runs in every level: the point K = Z = T-1 of the continuum (:class:`~lsmkv.policy.fluid.Fluid`).

    ``size_ratio`` (T, 2..64, default 10; may change while the store is open): each arrival at a level is a run of its own;
    the T-th takes them all along to the next level, merged into one.

    - Writes: an entry is copied once on its way to the next level, (T-1)/T times in each level but the last exactly, as Monkey
      (SIGMOD 2017) counts; Dostoevsky's eq. 12 (SIGMOD 2018) with K = T-1 has the same. A full last level under overwrites:
      T/(T-1), more where the live data nearly fill it, since there merging makes little room.
    - Lookups: up to T-1 runs a level. With filters allocated by level, m bits an entry, an absent key costs
      R = e^(-m ln2^2) * T^(T/(T-1)) block reads (Fluid LSM-tree with K = Z = T-1), T-1 times the leveled case.
    - Scans: (T-1) * L seeks, then the data up to T-1 + 1/T times.
    - Space: at worst T - 2 + 1/T of the live bytes on top of them, under overwrites.

    Raises InvalidArgumentError for a size ratio out of range.
    """

    size_ratio: int = 10

    def __post_init__(self) -> None:
        """Refuse a ratio that makes no tree."""
        _ = self.geometry

    @property
    def geometry(self) -> Geometry:
        """K = Z = T-1."""
        ratio = check_ratio(self.size_ratio)
        return Geometry(ratio, (ratio - 1,), ratio - 1)

    def describe(self) -> dict[str, object]:
        """``{"name": "tiered", "size_ratio": T}``."""
        return {"name": "tiered", "size_ratio": self.size_ratio}
