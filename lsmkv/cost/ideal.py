"""The tree that a policy makes of so many entries, all different: the digits of a number.

After A arrivals, a tree with whole merges is A written to base T: level i holds as many of its arrivals as the i-th digit says,
in runs of ``ceil((T-1)/K)`` arrivals (Z at the last level), the youngest holding the rest. Other policies, and keys that are
overwritten, are walked on paper.
"""

from __future__ import annotations

from dataclasses import replace

from lsmkv.cost.checks import able, number, whole
from lsmkv.cost.copies import policy_geometry
from lsmkv.cost.filters import with_filters
from lsmkv.cost.walk import HIGH, LOW, walk
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy
from lsmkv.policy.geometry import Geometry
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape

__all__ = ["ideal_shape", "spanning_run"]

WALK_LIMIT = 20_000
"""Flushes that are walked on paper (2 s); more need a policy of the continuum and keys written once."""


def ideal_shape(
    policy: Policy,
    entries: int,
    *,
    flush_entries: int,
    level0_runs: int = 4,
    entry_bytes: int = 100,
    filter_bits_per_key: float = 10.0,
    filter_allocation: str = "monkey",
    live_entries: float | None = None,
) -> TreeShape:
    """The settled tree after ``entries`` entries were written in memtables of ``flush_entries``; the rest is in memory.

    One table a run, spanning all keys; filters as the engine would build them all at once. ``live_entries``: how many keys
    are overwritten at random (None: all keys differ).

    Raises InvalidArgumentError for meaningless numbers, and for more flushes than can be walked.

    >>> from lsmkv.policy import Tiered
    >>> shape = ideal_shape(Tiered(size_ratio=4), 27_000, flush_entries=1_000, level0_runs=0)  # 27 = 123 to base 4
    >>> [[run.entries for run in level.runs] for level in shape.levels]
    [[], [1000, 1000, 1000], [4000, 4000], [16000]]
    """
    able("policy", policy, "a compaction policy, an object with a method pick(shape)", "pick")
    flushes = whole("entries", entries, 0) // whole("flush_entries", flush_entries, 1)
    whole("level0_runs", level0_runs, 0)
    each = whole("entry_bytes", entry_bytes, 1)
    geometry = policy_geometry(policy)
    if geometry is not None and geometry.partial is None and live_entries is None:
        shape = _digits(geometry, flushes, flush_entries, level0_runs, each)
    elif flushes > WALK_LIMIT:
        msg = f"{entries} entries are {flushes} flushes: more than {WALK_LIMIT} need a continuum policy and keys written once"
        raise InvalidArgumentError(msg)
    else:
        live = None if live_entries is None else number("live_entries", live_entries, 1)
        shape = walk(policy, flushes, flush_entries, level0_runs=level0_runs, entry_bytes=each, live_entries=live).shape
    return with_filters(shape, filter_bits_per_key, filter_allocation)


def _digits(geometry: Geometry, flushes: int, flush_entries: int, level0_runs: int, entry_bytes: int) -> TreeShape:
    """The tree by arithmetic."""
    ratio, buffer = geometry.size_ratio, flush_entries * (level0_runs + 1)
    arrivals, waiting = divmod(flushes, level0_runs + 1)
    digits: list[int] = []
    left = arrivals
    while left:
        left, digit = divmod(left, ratio)
        digits.append(digit)
    sizes: list[list[int]] = [[flush_entries] * waiting]
    for level, digit in enumerate(digits, 1):
        quota = -(-(ratio - 1) // geometry.runs_at(level, len(digits)))
        runs = [digit % quota] * (digit % quota > 0) + [quota] * (digit // quota)
        sizes.append([n * geometry.arrival_entries(level, buffer) for n in runs])
    total = sum(map(len, sizes))
    numbers = iter(range(total, 0, -1))  # the youngest table has the largest number
    levels = tuple(Level(tuple(spanning_run(next(numbers), n, entry_bytes) for n in runs)) for runs in sizes)
    return replace(TreeShape(levels), buffer_entries=buffer if arrivals else 0, level0_runs=level0_runs)


def spanning_run(number: int, entries: int, entry_bytes: int) -> Run:
    """A run of one table over all keys."""
    return Run(number, (TableMeta(number, entries * entry_bytes, entries, 0, LOW, HIGH, number, number),))
