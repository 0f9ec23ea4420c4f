"""The exact discrete model: what operations cost on the runs that are really there.

:func:`predict` never sees a measurement: entries, key ranges and filter bits of the tables, the policy, and what the caller says
of the workload are all it knows. Where the papers assume full levels of ideal sizes, it counts runs; where they assume filters
with fractional probes, it takes the engine's; where their merges are triggered otherwise, it takes lsmkv's trigger. The closed
forms (:mod:`lsmkv.cost.closed_forms`) are what to lay over it.
"""

from __future__ import annotations

import numpy as np

from lsmkv.cost.axis import F64, Axis, build_axis
from lsmkv.cost.copies import long_run_copies, policy_geometry
from lsmkv.cost.reads import Reads, count_reads, count_scans
from lsmkv.cost.records import Cost, LevelCost, System, Workload
from lsmkv.cost.seconds import PerOperation
from lsmkv.cost.walk import walk
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.ranges import deepest_level
from lsmkv.version.shape import TreeShape

__all__ = ["predict"]

WALKED_FLUSHES = 512
"""Flushes for which a policy outside the continuum is walked on paper to find what it writes."""


def predict(workload: Workload, shape: TreeShape, system: System) -> Cost:
    """What the workload costs on a tree of this shape.

    - *Lookups* ask the runs whose table covers the key, newest first: an absent key costs each one's false-positive rate (of
      the filter as built; 1 without), a present one costs that of the runs before its own, and 1; memtables cost nothing. Which
      run holds the live version: see :mod:`lsmkv.cost.reads`. Keys asked for are spread like those stored, absent ones
      between them; lookups of deleted keys, which fetch the tombstone, are not modelled.
    - *Scans*: one block for each table whose range is overlapped, and (taken - 1)/B for the entries taken from it.
    - *Updates*: copies by the policy's own trigger, averaged over time, with the shape's number of levels and arrivals
      (:func:`lsmkv.cost.long_run_copies`); a policy outside the continuum is walked on paper.
    - *Space*: tables with their filters, over live keys and values.
    - *Device reads*: the blocks that a cache with the system's hit rate does not answer. *Seconds*, if the system has prices.

    The shape may be a store's (``db.tree()``) or :func:`lsmkv.cost.ideal_shape`.

    Raises InvalidArgumentError if more keys are said to live than the tree holds entries.

    >>> from lsmkv.cost import ideal_shape
    >>> from lsmkv.policy import Leveled
    >>> shape = ideal_shape(Leveled(size_ratio=10), 999_000, flush_entries=1_000, level0_runs=0)  # three full levels
    >>> cost = predict(Workload(), shape, System(Leveled(size_ratio=10)))
    >>> [level.entries for level in cost.levels], round(cost.zero_lookup_blocks, 4), round(cost.worst_lookup_blocks, 4)
    ([0, 9000, 90000, 900000], 0.0117, 1.0012)
    >>> [round(level.copies, 2) for level in cost.levels]  # level 1: a run begun by a single table is moved there
    [1.0, 4.4, 4.5, 6.0]
    """
    for part, kind in ((workload, Workload), (shape, TreeShape), (system, System)):
        if not isinstance(part, kind):
            raise InvalidArgumentError(f"predict takes a Workload, a TreeShape and a System, in this order, not {part!r}")
    held = shape.entries + system.memtable_entries
    if workload.live_entries is not None and workload.live_entries > held:
        raise InvalidArgumentError(f"live_entries is {workload.live_entries!r}, but tables and memtables hold {held:g} entries")
    axis = build_axis(shape)
    reads = count_reads(axis, workload, system)
    in_tables = 1 - reads.memtable_hits if workload.live_entries is None else 1.0
    scans = count_scans(axis, reads.live, workload.scan_entries * in_tables, system.block_entries)
    copies = _copies(workload, shape, system)
    levels = _levels(axis, reads, scans, shape, copies)
    update_copies, merged = sum(copies), sum(copies[1:])
    update_blocks = (update_copies * system.write_cost + merged) / system.block_entries
    filter_bytes = sum(t.filter_bits for t in shape.tables) / 8
    entry_file_bytes = system.file_entry_bytes + (filter_bytes / shape.entries if shape.entries else 0.0)
    live_bytes = reads.live * system.entry_bytes
    zero_blocks, scan_blocks = float(reads.zero_blocks.sum()), float(scans.sum())
    mix = (
        (workload.zero_lookups, zero_blocks),
        (workload.lookups, reads.lookup_blocks),
        (workload.scans, scan_blocks),
        (workload.updates, update_blocks),
    )
    asked = workload.zero_lookups + workload.lookups * (1 - reads.memtable_hits)
    fetched = workload.zero_lookups * zero_blocks + workload.lookups * reads.lookup_blocks
    write_amplification = update_copies * entry_file_bytes / system.entry_bytes
    seeks = float(count_scans(axis, reads.live, 1.0, system.block_entries).sum())
    seconds = _seconds(workload, system, reads, (scan_blocks, seeks), update_copies * entry_file_bytes)
    return Cost(
        zero_lookup_blocks=zero_blocks,
        lookup_blocks=reads.lookup_blocks,
        worst_lookup_blocks=reads.worst_blocks,
        zero_lookup_filter_checks=float(reads.zero_checks.sum()),
        lookup_filter_checks=reads.lookup_checks,
        scan_blocks=scan_blocks,
        update_copies=update_copies,
        update_blocks=update_blocks,
        write_amplification=write_amplification,
        space_amplification=shape.entries * entry_file_bytes / live_bytes if live_bytes else 1.0,
        memtable_hits=reads.memtable_hits,
        operation_blocks=sum(rate * blocks for rate, blocks in mix) / sum(rate for rate, _ in mix),
        levels=levels,
        read_amplification=(1 - system.cache_hit_rate) * fetched / asked if asked else 0.0,
        seconds=seconds,
        operation_seconds=None if seconds is None else seconds.mean(workload.mix),
    )


def _seconds(
    workload: Workload, system: System, reads: Reads, scans: tuple[float, float], merge_bytes: float
) -> PerOperation | None:
    """What each kind of operation takes; None without prices. ``scans``: blocks and seeks of one."""
    prices, hit = system.seconds, system.cache_hit_rate
    if prices is None:
        return None
    return PerOperation(
        zero_lookup=prices.lookup(float(reads.zero_blocks.sum()), float(reads.zero_checks.sum()), hit),
        lookup=prices.lookup(reads.lookup_blocks, reads.lookup_checks, hit, found=True),
        scan=prices.scan(scans[0], workload.scan_entries, scans[1], hit),
        update=prices.update(merge_bytes),
    )


def _copies(workload: Workload, shape: TreeShape, system: System) -> list[float]:
    """Copies per entry written, into each level."""
    if not shape.entries:
        return [1.0]
    flushed = [run.entries for run in shape.levels[0].runs] or [shape.entries]
    flush = shape.buffer_entries / (shape.level0_runs + 1) or sum(flushed) / len(flushed)
    geometry = policy_geometry(system.policy)
    if geometry is not None:
        last = deepest_level(shape) if any(level.runs for level in shape.levels[1:]) else 0
        return long_run_copies(geometry, last, flush, shape.level0_runs, workload.live_entries)
    flushes = min(WALKED_FLUSHES, max(1, round(shape.entries / flush)))
    size = max(1, round(flush))
    walked = walk(system.policy, flushes, size, level0_runs=shape.level0_runs, live_entries=workload.live_entries)
    return [written / (flushes * size) for written in walked.written]


def _levels(axis: Axis, reads: Reads, scans: F64, shape: TreeShape, copies: list[float]) -> tuple[LevelCost, ...]:
    """The sums over each level's runs."""
    of = np.array(axis.levels, np.int64)
    result = []
    for number in range(max(len(shape.levels), len(copies))):
        runs, rows = shape.levels[number].runs if number < len(shape.levels) else (), of == number
        entries = sum(run.entries for run in runs)
        bits = sum(t.filter_bits for run in runs for t in run.tables)
        asked = float(reads.zero_checks[rows].sum())
        result.append(
            LevelCost(
                level=number,
                runs=len(runs),
                entries=entries,
                filter_bits_per_key=bits / entries if entries else 0.0,
                false_positive_rate=float(reads.passed[rows].sum()) / asked if asked else 1.0,
                zero_lookup_blocks=float(reads.zero_blocks[rows].sum()),
                answers=float(reads.answers[rows].sum()),
                scan_blocks=float(scans[rows].sum()),
                copies=copies[number] if number < len(copies) else 0.0,
            )
        )
    return tuple(result)
