"""Leveled compaction: one run per level, each level ``size_ratio`` times the one above.

The geometry, with T the size ratio and B = ``shape.buffer_entries``, the mean entries of one arrival at level 1::

    level 0       flushed tables, one run each, at most shape.level0_runs settled; one more makes all of them one arrival
    level i >= 1  one run of at most (T-1) * T^(i-1) * B entries, tolerance half an arrival: T^(i-1) * B / 2

An arrival merges with the resident run as long as both together fit. If not, it goes with the resident in one task to the
next level, taking that one's run along if it would be too full as well, and so on; what reaches level i is therefore about
T^(i-1) * B entries, the (T-1) * T^(i-2) * B that level i-1 holds and the T^(i-2) * B that did not fit. The last level always
merges, since its versions of a key may collapse; if it is still over capacity afterwards, its run changes its level without
being rewritten. B is a mean, so levels are full up to rounding; the tolerance keeps an arrival that is a little
larger than the mean from being turned away at a level that has room for it.

Two things make levels surplus that no arrival did: a smaller size ratio than the tree was built with, and another policy
before this one. Runs beyond one in a level are merged, and a level holding a whole arrival more than its capacity is moved
on; less than that is left to the next arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import RunInput, Task
from lsmkv.version.shape import Level, TreeShape

__all__ = ["Leveled"]

SMALLEST_RATIO, LARGEST_RATIO = 2, 64
"""Below 2 levels do not grow; above 64 the first level is rewritten more than thirty times before it is passed on."""


@dataclass(frozen=True, slots=True)
class Leveled:
    """Merge eagerly: at most one run per level >= 1.

    ``size_ratio`` (T, 2..64, default 10; may change at any opening) is what each level holds relative to the one above.

    - Writes: an entry is copied (T-1)/2 times in each level but the last, the exact count for the rule above when all keys
      differ: arrivals 1..T-1 rewrite 1..T-1 arrivals each, number T passes through. Monkey (SIGMOD 2017) counts the same;
      Dostoevsky (SIGMOD 2018), eq. 12 with K = 1, too. Overwrites leave up to T copies in a full last level.
      Larger T: fewer levels, more copies in each.
    - Lookups: one run per level. With filters allocated by level, m bits an entry, a lookup of an absent key costs
      R = e^(-m ln2^2) * T^(T/(T-1)) / (T-1) block reads (Dostoevsky's Fluid LSM-tree with K = Z = 1, which is Monkey's
      leveled case), one of a present key at most 1 + R.
    - Scans: one seek per level, then the data, 1 + 1/T times (Fluid LSM-tree's Q = K(L-1) + Z + ... with K = Z = 1).
    - Space: obsolete versions take at most about 1/T of the live bytes (Z - 1 + 1/T with Z = 1).

    Raises InvalidArgumentError for a size ratio out of range.
    """

    size_ratio: int = 10

    def __post_init__(self) -> None:
        """Refuse a ratio that makes no tree."""
        ratio: object = self.size_ratio
        if not isinstance(ratio, int) or isinstance(ratio, bool) or not SMALLEST_RATIO <= ratio <= LARGEST_RATIO:
            msg = f"Leveled(size_ratio={ratio!r}): must be an integer from {SMALLEST_RATIO} to {LARGEST_RATIO}"
            raise InvalidArgumentError(msg)

    def describe(self) -> dict[str, object]:
        """``{"name": "leveled", "size_ratio": T}``."""
        return {"name": "leveled", "size_ratio": self.size_ratio}

    def pick(self, shape: TreeShape) -> Task | None:
        """The next task, cheapest relief first; None when settled. Pure.

        Settled: at most ``shape.level0_runs`` runs at level 0, one run at every other level, no level a whole arrival
        beyond its capacity, the last level within half of one.
        """
        return self._deepen(shape) or self._arrival(shape) or self._surplus_runs(shape) or self._overfull(shape)

    def capacity_entries(self, level: int, buffer_entries: int) -> int:
        """What level ``level`` >= 1 holds: (T-1) * T^(level-1) buffers."""
        return (self.size_ratio - 1) * self._arrival_entries(level, buffer_entries)

    def _arrival_entries(self, level: int, buffer: int) -> int:
        """What one arrival at ``level`` holds: T^(level-1) buffers."""
        return int(self.size_ratio ** (level - 1)) * buffer

    def _fits(self, entries: int, level: int, buffer: int, halves: int = 1) -> bool:
        """Whether ``level`` may hold ``entries``, with a tolerance of ``halves`` half arrivals."""
        tolerance = halves * self._arrival_entries(level, buffer)
        return 2 * entries <= 2 * self.capacity_entries(level, buffer) + tolerance

    def _deepen(self, shape: TreeShape) -> Task | None:
        """A last level that is over capacity although it is merged moves down as it is."""
        last = _last(shape)
        runs = shape.levels[last].runs if last < len(shape.levels) else ()
        if len(runs) != 1 or not shape.buffer_entries or self._fits(runs[0].entries, last, shape.buffer_entries):
            return None
        reason = f"level {last} is the last and holds {runs[0].entries} entries, more than its capacity: it moves down"
        return Task(_whole(shape.levels, last, last), last + 1, None, reason)

    def _arrival(self, shape: TreeShape) -> Task | None:
        """All of level 0 goes to the first level that has room, together with the levels that have none."""
        count, limit = len(shape.levels[0].runs), shape.level0_runs
        if count <= limit:
            return None
        entries = shape.levels[0].entries
        target = self._target(shape, entries, 1, shape.buffer_entries or entries)
        reason = f"level 0 has {count} runs, more than {limit}: {_goes_to(target, 1)}"
        return Task(_whole(shape.levels, 0, target), target, None, reason)

    def _surplus_runs(self, shape: TreeShape) -> Task | None:
        """Runs beyond one in a level, left by another policy, become one."""
        for number, level in enumerate(shape.levels[1:], 1):
            if len(level.runs) > 1:
                reason = f"level {number} has {len(level.runs)} runs, one is enough"
                return Task(_whole(shape.levels, number, number), number, None, reason)
        return None

    def _overfull(self, shape: TreeShape) -> Task | None:
        """An inner level that holds a whole arrival too much is passed on."""
        buffer = shape.buffer_entries
        for number, level in enumerate(shape.levels[1 : _last(shape)], 1):
            if buffer and not self._fits(level.entries, number, buffer, halves=2):
                target = self._target(shape, level.entries, number + 1, buffer)
                reason = f"level {number} holds {level.entries} entries, far above its capacity: {_goes_to(target, number + 1)}"
                return Task(_whole(shape.levels, number, target), target, None, reason)
        return None

    def _target(self, shape: TreeShape, entries: int, level: int, buffer: int) -> int:
        """The first level from ``level`` on that can take ``entries`` and those of the full levels on the way."""
        last = _last(shape)
        while level < last:
            entries += shape.levels[level].entries
            if self._fits(entries, level, buffer):
                break
            level += 1
        return level


def _last(shape: TreeShape) -> int:
    """The deepest level that holds anything, at least 1."""
    return max([1, *(number for number, level in enumerate(shape.levels) if level.runs)])


def _whole(levels: Sequence[Level], first: int, last: int) -> tuple[RunInput, ...]:
    """Every run of levels first..last, newest first."""
    return tuple(
        RunInput(number, run.id, tuple(t.number for t in run.tables))
        for number in range(first, min(last + 1, len(levels)))
        for run in levels[number].runs
    )


def _goes_to(target: int, nearest: int) -> str:
    """The end of a reason: where the arrival goes, and why not to the nearest level."""
    return f"merge into level {target}" + (f", level {target - 1} has no room" if target > nearest else "")
