"""How many filter bits an entry of a run gets when that run is written: the engine's rule, for the engine and for walks on paper.

One budget for every entry of the tree is water-filled over its runs (:func:`lsmkv.cost.allocate`). Only the run being written
takes its share now; the others keep the filters they have until a merge rewrites them.

The tree that counts is the one the filter will live in. A deep run is written at the very moment when the levels above it
have been emptied into it; until it is written again they fill up, on average by half. So levels above the output that hold
less than that are planned as half full. Otherwise the deep run would take the whole budget, and the small runs above, which
pay most for their bits, would come on top of it (measured at one bit an entry: 70 % too much).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from lsmkv.cost.monkey import allocate
from lsmkv.policy.base import Policy
from lsmkv.version.shape import TreeShape

__all__ = ["MOST_BITS_PER_KEY", "Weigh", "planned_bits"]

MOST_BITS_PER_KEY = 20.0
"""More is cut off: one false positive in 15,000 lookups is left, and every further probe costs each lookup that finds its key."""

Sizes: TypeAlias = list[tuple[int, float]]
"""(level, entries) of runs."""

Weigh: TypeAlias = Callable[[Sequence[int]], list[float] | None]
"""How often runs of these levels are asked, relative; None: all alike."""


def planned_bits(
    shape: TreeShape,
    policy: Policy,
    level: int,
    entries: int,
    bits_per_key: float,
    *,
    gone: Collection[int] = (),
    joined: int | None = None,
    weigh: Weigh | None = None,
    at_rest: bool = False,
) -> float:
    """Bits for each of ``entries`` (> 0) entries that are being written to ``level``; the budget over all is ``bits_per_key``.

    ``gone``: numbers of the tables they replace; ``joined``: the resident run whose other tables stay beside them;
    ``weigh``: how often the runs are asked (None: all alike); ``at_rest``: the tree is taken as it will be then, nothing is
    expected to come.
    """
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
        runs = _filled_up(shape, policy, runs, level)
    runs.append((level, entries + beside))
    sizes = [size for _, size in runs]
    bits = allocate(sizes, bits_per_key * sum(sizes), weigh([at for at, _ in runs]) if weigh is not None else None)
    return min(bits[-1], MOST_BITS_PER_KEY)


def _filled_up(shape: TreeShape, policy: Policy, runs: Sizes, below: int) -> Sizes:
    """The runs, with levels above ``below`` that are less than half full as if they were half full.

    What a level holds is known of policies that say so (``capacity_entries`` and ``runs_at``), and of level 0.
    """
    buffer, flushed = shape.buffer_entries, shape.level0_runs
    capacity, runs_at = getattr(policy, "capacity_entries", None), getattr(policy, "runs_at", None)
    if not buffer or capacity is None or runs_at is None:
        return runs
    for level in range(below):
        full = flushed * buffer / (flushed + 1) if level == 0 else capacity(level, buffer)
        count = -(-(runs_at(level, below) if level else flushed) // 2)
        if 2 * sum(size for at, size in runs if at == level) < full:
            runs = [run for run in runs if run[0] != level] + [(level, full / 2 / count)] * count
    return runs
