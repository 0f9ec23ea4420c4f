"""How often an entry is written: lsmkv's own trigger, counted, not a paper's formula for another trigger.

The rules are those of :mod:`lsmkv.policy.continuum`, and their numbers its :class:`~lsmkv.policy.geometry.Geometry`. At an inner
level, arrivals come in cycles: they fill runs, each writing what the run it joins then holds, until one does not fit; that one
takes everything along and writes nothing here. At the last level there is no such end: an arrival that does not fit is merged
with all runs. *Written once*, the level grows so from one arrival to T, when it moves down as it is and becomes an inner level.
*Overwritten*, versions collapse: a run of a and one of b entries of the same U keys, at random, become ``a + b - ab/U``, and the
last level comes back to its U keys for ever.

Sizes are means (mean-field): exact when all keys differ, close when not. An arrival is
``level0_runs + 1`` memtables.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

from lsmkv.cost.checks import made_of, number, whole
from lsmkv.policy.base import Policy
from lsmkv.policy.geometry import Geometry

__all__ = ["inner_copies", "level_cycles", "load_copies", "long_run_copies", "policy_geometry"]

CYCLE_LIMIT = 20
"""Times T arrivals after which a level whose versions collapse too well to fill it is taken as it is."""


def policy_geometry(policy: Policy) -> Geometry | None:
    """The numbers of a policy of the continuum; None for any other."""
    geometry = getattr(policy, "geometry", None)
    return geometry if isinstance(geometry, Geometry) else None


def inner_copies(size_ratio: int, runs: int) -> float:
    """Copies per entry at a level that is not the last, all keys different; for any K, its rounding included.

    ``q = ceil((T-1)/K)`` arrivals fill a run: of T arrivals, T-1 write 1, 2, .. q, 1, 2, .. and one passes through.

    Raises InvalidArgumentError.

    >>> inner_copies(10, 3), inner_copies(10, 4), inner_copies(10, 9)
    (1.8, 1.8, 0.9)
    """
    ratio = whole("size_ratio", size_ratio, 2)
    quota = -(-(ratio - 1) // whole("runs", runs, 1, ratio - 1))
    return sum(i % quota + 1 for i in range(ratio - 1)) / ratio


def load_copies(geometry: Geometry, arrivals: int, level0_runs: int = 4) -> list[float]:
    """Exactly what a load of all different keys writes: arrivals (of level 1) written into each level, from an empty tree on.

    Index 0 is the flushes. ``arrivals`` times entries of an arrival, divided by entries written, gives copies; the
    memtables that are still in level 0 are not counted. ``level0_runs`` 0: an arrival is one table, and one that begins a run
    is moved, not written.

    Raises InvalidArgumentError.

    >>> from lsmkv.policy import Leveled
    >>> load_copies(Leveled(size_ratio=4).geometry, 16)  # 1+2+3+4, then 1+2+3 three times; 8+12+16; moved
    [16.0, 28.0, 36.0, 0.0]
    """
    geometry = made_of("geometry", geometry, Geometry, "policy.geometry")
    count = whole("arrivals", arrivals, 0)
    written, unit, level = [float(count)], 1, 1
    alone = whole("level0_runs", level0_runs, 0) == 0
    while count:
        ratio = geometry.size_ratio
        first = min(count, ratio)
        here = _growth(geometry, level, first, alone=alone and level == 1)
        here -= min(1, first) if level > 1 else 0  # the first one is the level above, moved down
        cycles, rest = divmod(count - first, ratio)
        quota = -(-(ratio - 1) // geometry.runs_at(level, level + 1))
        per_arrival = [i % quota + 1 for i in range(ratio - 1)]
        if alone and level == 1:
            per_arrival = [0 if i % quota == 0 else c for i, c in enumerate(per_arrival)]
        here += cycles * sum(per_arrival) + sum(per_arrival[:rest])
        written.append(float(here * unit))
        count, unit, level = count // ratio, unit * ratio, level + 1
    return written


def _growth(geometry: Geometry, level: int, arrivals: int, *, alone: bool) -> int:
    """Arrivals' worth written while ``level`` is the last, by the first ``arrivals`` <= T of them."""
    ratio = geometry.size_ratio
    quota = -(-(ratio - 1) // geometry.runs_at(level, level))
    return sum(ratio if i == ratio - 1 else 0 if alone and i % quota == 0 else i % quota + 1 for i in range(arrivals))


@dataclass(frozen=True)
class _Level:
    """One level and what arrives there."""

    geometry: Geometry
    number: int
    last: int
    buffer: int
    """Entries of an arrival at level 1, as the tree counts them."""
    live: float
    """Keys that are overwritten; infinite: none."""

    def take(self, runs: list[float], arriving: float) -> tuple[list[float], float] | None:
        """The runs (youngest first) after an arrival, and what it wrote; None: it passes through."""
        geometry, here = self.geometry, sum(runs)
        fits = geometry.fits(round(arriving + here), self.number, self.buffer)
        allowed = geometry.runs_at(self.number, self.last)
        if not fits and self.number < self.last:
            return None
        joined = 1
        if not fits:
            joined = len(runs)
        elif not runs or (len(runs) < allowed and geometry.is_full(round(runs[0]), self.number, self.last, self.buffer)):
            joined = 0
        merged = self.union([arriving, *runs[:joined]])
        return [merged, *runs[joined:]], merged

    def union(self, runs: list[float]) -> float:
        """Different keys in runs that hold each key at random."""
        if self.live == inf:
            return sum(runs)
        absent = 1.0
        for run in runs:
            absent *= max(0.0, 1 - run / self.live)
        return self.live * (1 - absent)

    def cycle(self, arriving: float, *, alone: bool) -> tuple[int, float, float]:
        """One cycle of an inner level: arrivals, entries written, entries passed on."""
        runs: list[float] = []
        written = 0.0
        for count in range(1, CYCLE_LIMIT * self.geometry.size_ratio):
            after = self.take(runs, arriving)
            if after is None:
                return count, written, self.union([arriving, *runs])
            moved = alone and len(after[0]) > len(runs)
            runs, written = after[0], written + (0.0 if moved else after[1])
        return count, written, self.union([arriving, *runs])

    def steady(self, arriving: float, *, alone: bool) -> float:
        """Entries written per arrival at a last level, while it grows from one arrival to T, or for ever when overwritten."""
        runs = [arriving] if self.live == inf else [self.live]
        written, limit = 0.0, CYCLE_LIMIT * self.geometry.size_ratio
        for count in range(1, limit):
            fits = self.geometry.fits(round(arriving + sum(runs)), self.number, self.buffer)
            after = self.take(runs, arriving)
            assert after is not None
            moved = alone and len(after[0]) > len(runs)
            runs, written = after[0], written + (0.0 if moved else after[1])
            if not fits or (self.live != inf and len(runs) == 1):
                return written / count
        return written / count


def long_run_copies(
    geometry: Geometry, last: int, flush_entries: float, level0_runs: int = 4, live_entries: float | None = None
) -> list[float]:
    """Copies per entry written, into level 0 (the flush), 1, .. ``last``, on average over time.

    ``flush_entries``: entries of a flushed memtable. Written once: the average over the time in which ``last`` is the last
    level. Overwritten (``live_entries``): for ever, the last level holding all keys. With partial merges an estimate: the tables
    passed on meet as many times more entries below as the level below is larger.

    Raises InvalidArgumentError.

    >>> from lsmkv.policy import Fluid
    >>> long_run_copies(Fluid(size_ratio=4, K=3, Z=1).geometry, 3, 1_000)  # (T-1)/T, (T-1)/T, (T+2)/2
    [1.0, 0.75, 0.75, 3.0]
    """
    geometry = made_of("geometry", geometry, Geometry, "policy.geometry")
    flush = number("flush_entries", flush_entries, above=True)
    flushes = whole("level0_runs", level0_runs, 0) + 1
    live = inf if live_entries is None else number("live_entries", live_entries, above=True)
    entries = flush  # written to the store for one flush: more, if a memtable collapses versions
    if live != inf:
        flush = min(flush, live * 0.999)
        entries = -live * log(1 - flush / live)
    buffer, copies = round(flush * flushes) or 1, [flush / entries]
    rate, arriving = 1 / (entries * flushes), 0.0
    for number_ in range(1, whole("last", last, 0) + 1):
        level = _Level(geometry, number_, last, buffer, live)
        arriving = arriving or level.union([flush] * flushes)
        alone = flushes == 1 and number_ == 1
        if geometry.partial is not None and last > 1:
            copies.append(rate * arriving * _dragged(geometry, number_, last, buffer, live))
            continue
        if number_ == last:
            copies.append(rate * level.steady(arriving, alone=alone))
            break
        count, written, arriving = level.cycle(arriving, alone=alone)
        copies.append(rate * written / count)
        rate /= count
    return copies


def level_cycles(
    geometry: Geometry, live_entries: float, flush_entries: float, level0_runs: int = 4
) -> tuple[list[list[list[float]]], int, float]:
    """What each level holds, step by step, when ``live_entries`` keys are overwritten at random for ever.

    For each level from 1 on: its runs (entries, youngest first) after each of the arrivals of a cycle, the first one being empty
    (the last level: all keys in one run). Beside it, the entries of an arrival as the tree counts them, and of a flush.
    The last level is the first that holds all keys.
    """
    flush = min(flush_entries, live_entries * 0.999)
    buffer = round(flush * (level0_runs + 1)) or 1
    last = 1
    while not geometry.fits(round(live_entries), last, buffer):
        last += 1
    cycles: list[list[list[float]]] = []
    arriving = 0.0
    for number_ in range(1, last + 1):
        level = _Level(geometry, number_, last, buffer, live_entries)
        arriving = arriving or level.union([flush] * (level0_runs + 1))
        states, runs = [], [live_entries] if number_ == last else []
        for _ in range(CYCLE_LIMIT * geometry.size_ratio):
            states.append(runs)
            after = level.take(runs, arriving)
            if after is None:
                arriving = level.union([arriving, *runs])
                break
            runs = after[0]
            if number_ == last and len(runs) == 1:
                break
        cycles.append(states)
    return cycles, buffer, flush


def _dragged(geometry: Geometry, level: int, last: int, buffer: int, live: float) -> float:
    """Entries written per entry that a partial merge brings to a level, itself included."""
    above = buffer if level == 1 else geometry.capacity_entries(level - 1, buffer)
    here = geometry.capacity_entries(level, buffer)
    if level == last:
        here = here // 2 if live == inf else min(here, round(live))
        return (1 if live == inf else 0) + here / above
    return 1 + here / above
