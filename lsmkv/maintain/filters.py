"""How many filter bits an entry of the run being written gets.

One budget, ``filter_bits_per_key`` for every entry of the tree, is water-filled over its runs (:func:`lsmkv.cost.allocate`:
Monkey's allocation for real run sizes and real probe counts). Only the run being written takes its share now; the others
keep the filters they have until a compaction rewrites them.

The tree that counts is the one the filter will live in. A deep run is written at the very moment when the levels above it
have been emptied into it; until it is written again they fill up, on average by half. So levels above the output that hold
less than that are planned as half full. Otherwise the deep run would take the whole budget, and the small runs above, which
pay most for their bits, would come on top of it (measured at one bit an entry: 70 % too much).
"""

from __future__ import annotations

from collections.abc import Collection

from lsmkv.cost.monkey import allocate
from lsmkv.live.core import Core
from lsmkv.version.shape import TreeShape

__all__ = ["bits_per_key"]

MOST_BITS_PER_KEY = 20.0
"""More is cut off: one false positive in 15,000 lookups is left, and every further probe costs each lookup that finds its key."""

MANY_PROBES = 4096
"""Absent keys that filters must have been asked about since the last look before the numbers count as measured."""

LEAST_WEIGHT = 1 / 4
"""A run that was asked less still counts for this much of the one asked most: it may be young, or be asked tomorrow."""

Sizes = list[tuple[int, float]]
"""(level, entries) of runs."""


def bits_per_key(
    core: Core, level: int, entries: int, gone: Collection[int] = (), joined: int | None = None, *, at_rest: bool = False
) -> float:
    """Bits for each of ``entries`` entries that are being written to ``level``.

    ``gone``: numbers of the tables they replace; ``joined``: the resident run whose other tables stay beside them;
    ``at_rest``: the tree is taken as it will be then, nothing is expected to come.
    """
    options, shape = core.options, core.state.shape
    if options.filter_bits_per_key == 0 or options.filter_allocation == "uniform" or not entries:
        return options.filter_bits_per_key
    beside = 0
    runs: Sizes = []
    for number, at in enumerate(shape.levels):
        for run in at.runs:
            left = sum(t.entries for t in run.tables if t.number not in gone)
            if run.id == joined:
                beside = left
            elif left:
                runs.append((number, left))
    if not at_rest:
        runs = _filled_up(core, shape, runs, level)
    runs.append((level, entries + beside))
    sizes = [size for _, size in runs]
    bits = allocate(sizes, options.filter_bits_per_key * sum(sizes), _weights(core, [at for at, _ in runs]))
    return min(bits[-1], MOST_BITS_PER_KEY)


def _filled_up(core: Core, shape: TreeShape, runs: Sizes, below: int) -> Sizes:
    """The runs, with levels above ``below`` that are less than half full as if they were half full.

    What a level holds is known of policies that say so (``capacity_entries`` and ``runs_at``), and of level 0.
    """
    buffer, policy = shape.buffer_entries, core.policy
    capacity, runs_at = getattr(policy, "capacity_entries", None), getattr(policy, "runs_at", None)
    if not buffer or capacity is None or runs_at is None:
        return runs
    flushed = core.options.level0_runs
    for level in range(below):
        full = flushed * buffer / (flushed + 1) if level == 0 else capacity(level, buffer)
        count = -(-(runs_at(level, below) if level else flushed) // 2)
        if 2 * sum(size for at, size in runs if at == level) < full:
            runs = [run for run in runs if run[0] != level] + [(level, full / 2 / count)] * count
    return runs


def _weights(core: Core, levels: list[int]) -> list[float] | None:
    """How often a run of each level was asked for keys it does not hold since the last look; None if that is too rare to tell."""
    runs = {level: levels.count(level) for level in levels}
    counts = {level: core.ledger.level(level).asked_in_vain for level in runs}
    absent = {level: n - core.probes_seen.get(level, 0) for level, n in counts.items()}
    if sum(absent.values()) < MANY_PROBES:
        return None
    core.probes_seen = counts
    rates = {level: absent[level] / runs[level] for level in runs}
    most = max(rates.values())
    return [max(rates[level] / most, LEAST_WEIGHT) for level in levels]
