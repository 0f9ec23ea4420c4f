"""Lazy leveling: tiered above, leveled at the bottom."""

from __future__ import annotations

from dataclasses import dataclass

from lsmkv.policy.continuum import Continuum
from lsmkv.policy.geometry import Geometry, check_ratio

__all__ = ["LazyLeveling"]


@dataclass(frozen=True, slots=True)
class LazyLeveling(Continuum):
    """Up to T-1 runs a level, one in the last: the point K = T-1, Z = 1 (Dostoevsky, SIGMOD 2018).

    ``size_ratio`` (T, 2..64, default 10; may change while the store is open). Nearly all data, and with them nearly all of
    the cost of lookups, long scans and space, are in the last level; so only there merging pays.

    - Writes: (T-1)/T copies of an entry in each level but the last, as tiered, exactly; at most T under overwrites in a full
      last level, as leveled. Dostoevsky's eq. 12 says the same of its own trigger, level by level.
    - Lookups: with filters allocated by level, m bits an entry, an absent key costs
      R = e^(-m ln2^2) * (T-1)^(1/T) * T^(T/(T-1)) / (T-1) block reads (Dostoevsky, eq. 6): (T-1)^(1/T), at most 1.4 times,
      the leveled case.
    - Scans: (T-1)(L-1) + 1 seeks, which short scans feel; then the data 1 + 1/T times, as leveled.
    - Space: at worst 1/T of the live bytes on top of them, as leveled.

    Raises InvalidArgumentError for a size ratio out of range.
    """

    size_ratio: int = 10

    def __post_init__(self) -> None:
        """Refuse a ratio that makes no tree."""
        _ = self.geometry

    @property
    def geometry(self) -> Geometry:
        """K = T-1, Z = 1."""
        ratio = check_ratio(self.size_ratio)
        return Geometry(ratio, (ratio - 1,), 1)

    def describe(self) -> dict[str, object]:
        """``{"name": "lazy_leveling", "size_ratio": T}``."""
        return {"name": "lazy_leveling", "size_ratio": self.size_ratio}
