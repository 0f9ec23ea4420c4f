"""Lookups and scans on the axis of live keys: sums over runs and pieces, no sampling.

Two models of which run holds the live version of a key:

- *written once* (no ``live_entries``): every entry that is no tombstone is live, each in one run.
- *overwritten*: of U live keys at random places, a run with n entries holds a given one with probability q = n/U, independently
  of other runs; the newest that holds it answers, and the oldest run there is takes what is left.

Either way a lookup asks, newest first, the runs that cover the key: runs before the answering one cost their false-positive
rate (1 without a filter), the answering one costs 1 block, memtables cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lsmkv.cost.axis import F64, Axis
from lsmkv.cost.records import System, Workload

__all__ = ["Reads", "count_reads", "count_scans"]


@dataclass(frozen=True)
class Reads:
    """Expectations per lookup; arrays: one number for each run, newest first."""

    zero_blocks: F64
    zero_checks: F64
    """Filters asked by lookups of absent keys."""
    passed: F64
    """Of them, the part that passes."""
    answers: F64
    """Share of present lookups that the run answers."""
    memtable_hits: float
    lookup_blocks: float
    lookup_checks: float
    worst_blocks: float
    live: float
    """Live entries in the tables."""


def count_reads(axis: Axis, workload: Workload, system: System) -> Reads:
    """What lookups cost on these runs."""
    total = axis.entries.sum()
    share = axis.entries.sum(axis=0) / total if total else np.zeros(axis.entries.shape[1])
    held, live = _holders(axis, share, workload, system)
    hits = _memtable_hits(held, live, workload, system)
    found = held.sum()
    held *= (1 - hits) / found if found else 0.0
    newer = np.cumsum(axis.rates, axis=0) - axis.rates
    checked = np.cumsum(axis.asks, axis=0)
    oldest = np.where(held > 0, 1 + newer, 0.0)
    return Reads(
        zero_blocks=axis.rates @ share,
        zero_checks=axis.asks @ share,
        passed=(axis.rates * axis.asks) @ share,
        answers=held.sum(axis=1),
        memtable_hits=hits,
        lookup_blocks=float((held * (1 + newer)).sum()),
        lookup_checks=float((held * checked).sum()),
        worst_blocks=float(oldest.max(initial=0.0)),
        live=live,
    )


def _holders(axis: Axis, share: F64, workload: Workload, system: System) -> tuple[F64, float]:
    """How many live keys each run (row) answers for in each piece, and how many live keys there are in all tables."""
    if workload.live_entries is None:
        return axis.live.copy(), float(axis.live.sum())
    keys = share * workload.live_entries
    left = keys.copy()
    if system.memtable_entries:
        left *= 1 - min(1.0, system.memtable_entries / workload.live_entries)
    held = np.zeros_like(axis.live)
    last = len(axis.runs) - 1 - np.argmax(axis.covers[::-1] > 0, axis=0) if len(axis.runs) else np.empty(0)
    for row in range(len(axis.runs)):
        holds = np.minimum(1.0, np.divide(axis.live[row], keys, out=np.zeros_like(keys), where=keys > 0))
        held[row] = np.where(last == row, left, left * holds)
        left -= held[row]
    return held, float(workload.live_entries)


def _memtable_hits(held: F64, live: float, workload: Workload, system: System) -> float:
    """Share of the present lookups that memtables answer."""
    if workload.memtable_hits is not None:
        return float(workload.memtable_hits)
    if workload.live_entries is not None:
        return min(1.0, system.memtable_entries / live) if held.sum() else float(system.memtable_entries > 0)
    return system.memtable_entries / (live + system.memtable_entries) if system.memtable_entries else 0.0


def count_scans(axis: Axis, live: float, scan_entries: float, block_entries: float) -> F64:
    """Blocks that a scan of ``scan_entries`` live entries fetches from each run.

    It starts at a random live key and ends, at the latest, at the last one. A table whose range it overlaps costs one block for
    the seek and ``(taken - 1) / B`` for entries beyond the first; the entries taken from a table that holds the share q of the
    live keys in its range are binomial.
    """
    result = np.zeros(len(axis.runs))
    total = axis.entries.sum()
    if not total or not live:
        return result
    ends = np.concatenate([[0.0], np.cumsum(axis.entries.sum(axis=0))]) * (live / total)
    for row, first, last, entries in axis.spans:
        low, high = float(ends[first]), float(ends[last])
        width = high - low
        overlap = (high - max(0.0, low - scan_entries)) / live
        density = entries / width
        taken = density * (_covered(high, scan_entries) - _covered(low, scan_entries)) / live
        none = overlap * (1 - density) ** min(scan_entries, width) if density < 1 else 0.0
        result[row] += overlap + (taken - overlap + none) / block_entries
    return result


def _covered(place: float, scan_entries: float) -> float:
    """Sum over all starts in front of ``place`` of the live keys in front of it that the scan returns."""
    if place <= scan_entries:
        return place * place / 2
    return scan_entries * place - scan_entries * scan_entries / 2
