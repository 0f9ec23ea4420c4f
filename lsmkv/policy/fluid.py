"""Fluid: the whole continuum by three numbers."""

from __future__ import annotations

from dataclasses import dataclass

from lsmkv.policy.continuum import Continuum
from lsmkv.policy.geometry import Geometry

__all__ = ["Fluid"]


@dataclass(frozen=True, slots=True)
class Fluid(Continuum):
    """At most K runs in each level but the last, Z in the last: the Fluid LSM-tree (Dostoevsky, SIGMOD 2018).

    ``size_ratio`` (T, 2..64, default 10): what each level holds relative to the one above. ``K`` (1..T-1, default 1): runs of
    an inner level, or a tuple with one number per level, the last of which holds for all deeper ones. ``Z`` (1..T-1,
    default 1): runs of the last level. ``partial``: None, or the rule by which levels with one run pass on single tables
    (see :mod:`lsmkv.policy.picks`); needs K=1 in the deep levels and Z=1. All may change while the store is open.

    K = Z = 1 is leveled, K = Z = T-1 tiered, K = T-1 with Z = 1 lazy leveling; the rules are those of
    :mod:`lsmkv.policy.continuum`. L is the number of levels, m the filter bits per key, s the entries of a scan.

    - Writes: an inner level copies an entry (T-1)(T-1+K)/(2KT) times, exactly, if K divides T-1 and keys differ: in each run,
      the arrivals 1, 2, .. (T-1)/K rewrite that many, and every T-th arrival passes through. Dostoevsky's eq. 12 has
      (T-1)/(K+1), for its own trigger. A full last level under overwrites: T/Z.
    - Lookups: with filters allocated by level, an absent key costs
      R = e^(-m ln2^2) * Z^((T-1)/T) * K^(1/T) * T^(T/(T-1)) / (T-1) block reads (lazy leveling's case is Dostoevsky's eq. 6;
      R is the sum of all rates, Monkey's eq. 3), a present one at most 1 + R - p, p the rate of the level that has it.
      So K hardly costs lookups anything, Z does.
    - Scans: K(L-1) + Z seeks, then the data, (Z + 1/T) times.
    - Space: at worst Z - 1 + 1/T of the live bytes on top of them, under overwrites.

    Raises InvalidArgumentError for numbers out of range.
    """

    size_ratio: int = 10
    K: int | tuple[int, ...] = 1
    Z: int = 1
    partial: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that make no tree."""
        _ = self.geometry

    @property
    def geometry(self) -> Geometry:
        """See :class:`~lsmkv.policy.geometry.Geometry`."""
        return Geometry(self.size_ratio, self.K if isinstance(self.K, tuple) else (self.K,), self.Z, self.partial)

    def describe(self) -> dict[str, object]:
        """``{"name": "fluid", "size_ratio": T, "K": .., "Z": ..}``, and ``partial`` if there is a rule."""
        runs: object = list(self.K) if isinstance(self.K, tuple) else self.K
        rule = {} if self.partial is None else {"partial": self.partial}
        return {"name": "fluid", "size_ratio": self.size_ratio, "K": runs, "Z": self.Z, **rule}
