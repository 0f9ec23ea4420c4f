"""How many filter bits an entry of the run being written gets.

The rule is :func:`lsmkv.cost.planned.planned_bits`; here it meets what a store has measured: runs that are asked more often for
keys that they do not hold get more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from lsmkv.cost.planned import planned_bits
from lsmkv.live.core import Core

__all__ = ["bits_per_key"]

MANY_PROBES = 4096
"""Absent keys that filters must have been asked about since the last look before the numbers count as measured."""

LEAST_WEIGHT = 1 / 4
"""A run that was asked less still counts for this much of the one asked most: it may be young, or be asked tomorrow."""


def bits_per_key(
    core: Core, level: int, entries: int, gone: Collection[int] = (), joined: int | None = None, *, at_rest: bool = False
) -> float:
    """Bits for each of ``entries`` entries that are being written to ``level``.

    ``gone``: numbers of the tables they replace; ``joined``: the resident run whose other tables stay beside them;
    ``at_rest``: the tree is taken as it will be then, nothing is expected to come.
    """
    options = core.options
    if options.filter_bits_per_key == 0 or options.filter_allocation == "uniform" or not entries:
        return options.filter_bits_per_key
    return planned_bits(
        replace(core.state.shape, level0_runs=options.level0_runs),
        core.policy,
        level,
        entries,
        options.filter_bits_per_key,
        gone=gone,
        joined=joined,
        weigh=lambda levels: _weights(core, levels),
        at_rest=at_rest,
    )


def _weights(core: Core, levels: Sequence[int]) -> list[float] | None:
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
