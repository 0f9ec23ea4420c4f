"""How much a level holds, and in how many runs: the numbers of the continuum, shared by policies, model and tests.

With T the size ratio and B the mean entries of one arrival at level 1 (``shape.buffer_entries``)::

    level 0            flushed tables, one run each, at most shape.level0_runs
    arrival at i >= 1  T^(i-1) * B entries
    level i >= 1       holds T-1 arrivals in at most K_i runs (Z at the last level), tolerance half an arrival
    a run              is full at ceil((T-1)/K) arrivals, tolerance half an arrival

K need not divide T-1: runs are then rounded up to whole arrivals, so that K = 4 of T = 10 makes three runs of three arrivals,
and K = 8 five runs of two (the last one of one). K = T-1 is one arrival a run, K = 1 one run.

Half an arrival of tolerance, because B is a mean: an arrival that is a little larger must not be turned away by a level that
has room for it, and a run of arrivals that are a little smaller must not wait for one more.
"""

from __future__ import annotations

from dataclasses import dataclass

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.picks import RULES

__all__ = ["LARGEST_RATIO", "SMALLEST_RATIO", "Geometry", "check_ratio"]

SMALLEST_RATIO, LARGEST_RATIO = 2, 64
"""Below 2 levels do not grow; above 64 the first level is rewritten more than thirty times before it is passed on."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The continuum's parameters; see above and :class:`~lsmkv.policy.fluid.Fluid`. Raises InvalidArgumentError."""

    size_ratio: int
    inner_runs: tuple[int, ...]
    """K of level 1, 2, ...; the last one holds for all deeper levels."""
    last_runs: int
    """Z."""
    partial: str | None = None
    """Name of a pick rule, or None: whole levels."""

    def __post_init__(self) -> None:
        """Refuse what makes no tree."""
        check_ratio(self.size_ratio)
        if not isinstance(self.inner_runs, tuple) or not self.inner_runs:
            raise InvalidArgumentError(f"K={self.inner_runs!r}: must be a number of runs, or a tuple with one for each level")
        for runs in self.inner_runs:
            _whole_number("K", runs, 1, self.size_ratio - 1, or_else=", or a tuple of them, one for each level")
        _whole_number("Z", self.last_runs, 1, self.size_ratio - 1)
        if self.partial is None:
            return
        if not isinstance(self.partial, str) or self.partial not in RULES:
            raise InvalidArgumentError(f"partial={self.partial!r}: must be None or one of {', '.join(sorted(RULES))}")
        if self.inner_runs[-1] != 1 or self.last_runs != 1:
            raise InvalidArgumentError(
                f"partial={self.partial!r} needs K=1 in the deep levels and Z=1: with several runs in a level, a single table "
                "cannot pass the older runs beside it"
            )

    def runs_at(self, level: int, last: int) -> int:
        """How many runs level ``level`` >= 1 may have in a tree whose deepest level is ``last``."""
        return self.last_runs if level >= last else self.inner_runs[min(level, len(self.inner_runs)) - 1]

    def arrival_entries(self, level: int, buffer_entries: int) -> int:
        """Entries of one arrival at ``level`` >= 1."""
        return int(self.size_ratio ** (level - 1)) * buffer_entries

    def capacity_entries(self, level: int, buffer_entries: int) -> int:
        """Entries that ``level`` >= 1 holds: (T-1) * T^(level-1) buffers."""
        return (self.size_ratio - 1) * self.arrival_entries(level, buffer_entries)

    def fits(self, entries: int, level: int, buffer_entries: int, halves: int = 1) -> bool:
        """Whether ``level`` may hold ``entries``, with a tolerance of ``halves`` half arrivals."""
        arrival = self.arrival_entries(level, buffer_entries)
        return 2 * entries <= 2 * (self.size_ratio - 1) * arrival + halves * arrival

    def is_full(self, run_entries: int, level: int, last: int, buffer_entries: int) -> bool:
        """Whether a run of ``level`` holds its share of the level, so that the next arrival begins a new one."""
        quota = -(-(self.size_ratio - 1) // self.runs_at(level, last))
        return 2 * run_entries >= (2 * quota - 1) * self.arrival_entries(level, buffer_entries)

    def passes_tables(self, level: int, last: int) -> bool:
        """Whether ``level`` passes on one table at a time: one run there and one run below."""
        return self.partial is not None and level < last and self.runs_at(level, last) == 1 == self.runs_at(level + 1, last)


def check_ratio(ratio: object) -> int:
    """The size ratio, if it is one; InvalidArgumentError if not."""
    return _whole_number("size_ratio", ratio, SMALLEST_RATIO, LARGEST_RATIO)


def _whole_number(name: str, value: object, low: int, high: int, *, or_else: str = "") -> int:
    """Refuse anything but an integer from ``low`` to ``high``."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidArgumentError(f"{name}={value!r}: must be an integer from {low} to {high}{or_else}")
    return value
