"""Leveled: merge eagerly."""

from __future__ import annotations

from dataclasses import dataclass

from lsmkv.policy.continuum import Continuum
from lsmkv.policy.geometry import Geometry

__all__ = ["Leveled"]


@dataclass(frozen=True, slots=True)
class Leveled(Continuum):
    """One run per level: the point K = Z = 1 of the continuum (:class:`~lsmkv.policy.fluid.Fluid`). The default.

    ``size_ratio`` (T, 2..64, default 10): what each level holds relative to the one above. ``partial``: None (whole levels
    are merged), or the rule by which a level over capacity passes on one table at a time
    ("least_overlap" | "oldest" | "round_robin" | "most_tombstones"). Both may change while the store is open.

    - Writes: an entry is copied (T-1)/2 times in each level but the last, the exact count when all keys differ: arrivals
      1..T-1 rewrite 1..T-1 arrivals each, number T passes through. Monkey (SIGMOD 2017) counts the same, and so does
      Dostoevsky (SIGMOD 2018), eq. 12 with K = 1. Overwrites leave up to T copies in a full last level. Larger T: fewer
      levels, more copies in each. Partial: the same data in many small tasks, none of which stops writers for long.
    - Lookups: one run per level. With filters allocated by level, m bits an entry, a lookup of an absent key costs
      R = e^(-m ln2^2) * T^(T/(T-1)) / (T-1) block reads (Dostoevsky's Fluid LSM-tree with K = Z = 1, which is Monkey's
      leveled case), one of a present key at most 1 + R.
    - Scans: one seek per level, then the data, 1 + 1/T times (Fluid LSM-tree's Q = K(L-1) + Z + ... with K = Z = 1).
    - Space: obsolete versions take at most about 1/T of the live bytes (Z - 1 + 1/T with Z = 1).

    Raises InvalidArgumentError for a size ratio out of range and for an unknown rule.
    """

    size_ratio: int = 10
    partial: str | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no tree."""
        _ = self.geometry

    @property
    def geometry(self) -> Geometry:
        """K = Z = 1."""
        return Geometry(self.size_ratio, (1,), 1, self.partial)

    def describe(self) -> dict[str, object]:
        """``{"name": "leveled", "size_ratio": T}``, and ``partial`` if there is a rule."""
        rule = {} if self.partial is None else {"partial": self.partial}
        return {"name": "leveled", "size_ratio": self.size_ratio, **rule}
