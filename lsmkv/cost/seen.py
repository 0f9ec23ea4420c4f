"""What the shape of a tree says by itself: of its filters, and of the space it wastes. The part that the engine's stats need."""

from __future__ import annotations

from lsmkv.cost.filters import filter_fpr
from lsmkv.version.shape import Level, Run, TreeShape

__all__ = ["filtered_share", "predicted_rate", "space_bound"]


def filtered_share(run: Run) -> float:
    """The share of a run's entries that are in tables with a filter: that of the keys asked there."""
    return sum(t.entries for t in run.tables if t.filter_bits) / run.entries if run.entries else 0.0


def predicted_rate(level: Level) -> float | None:
    """The false-positive rate to expect of the filters of a level; None: it has none.

    An absent key asks one table of each run, each table as often as it has entries: so tables weigh by their entries within
    a run, and a run by how much of it has filters.
    """
    asked = passed = 0.0
    for run in level.runs:
        if entries := run.entries:
            asked += filtered_share(run)
            passed += sum(t.entries * filter_fpr(t.filter_bits, t.entries) for t in run.tables if t.filter_bits) / entries
    return passed / asked if asked else None


def space_bound(shape: TreeShape) -> float | None:
    """At most so many entries are in tables per live one, by the shape alone; None: the shape cannot tell.

    A run holds a key once, so the keys of one run are all different; each is live unless one of the tombstones in the tree is
    for it. The run that guarantees most counts. With tombstones for keys that never were, or with runs of different keys, the
    truth is much better.
    """
    runs = [run for level in shape.levels for run in level.runs]
    dead = sum(t.tombstones for run in runs for t in run.tables)
    keys = (sum(t.entries - t.tombstones - t.shadowed for t in run.tables) for run in runs)
    own = [sum(t.tombstones for t in run.tables) for run in runs]
    sure = max((n - (dead - mine) for n, mine in zip(keys, own, strict=True)), default=0)
    return shape.entries / sure if sure > 0 else None
