"""Costs measured and predicted under the same names, for rows of experiments.

Measured ones come from a :class:`~lsmkv.lab.subject.Tally` of one kind of operation, so lookups of present and absent keys are
never mixed; predicted ones from :func:`lsmkv.cost.predict` on a shape walked on paper, from settings alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lsmkv.cost.records import Cost
from lsmkv.lab.subject import Setup, Subject, Tally

__all__ = ["COSTS", "LONG_RUN", "LONG_RUN_COSTS", "PASSES", "Measure", "measures", "predicted"]

COSTS = (
    "zero_lookup_blocks",
    "zero_lookup_filter_checks",
    "lookup_blocks",
    "lookup_filter_checks",
    "scan_blocks",
    "update_copies",
    "update_blocks",
    "write_amplification",
    "space_amplification",
)
"""Names as in :class:`lsmkv.cost.Cost`."""

LONG_RUN = "long run"
"""Phase of rows that set the mean over a cycle of the last level, by which shapes are chosen, beside what a window measured."""
LONG_RUN_COSTS = ("zero_lookup_blocks", "lookup_blocks", "scan_blocks", "update_blocks")
"""The costs that are compared when a shape is chosen."""
PASSES = "merge_passes"
"""Predicted only, for the seconds of writes: entries that merges read, times log2 of the runs merged, per entry written."""


class Measure(NamedTuple):
    """One number, and what it rests on."""

    value: float | None
    """None: nobody counts it."""
    operations: int
    false_positives: int | None = None
    """None: not a matter of filters."""


def measures(subject: Subject) -> dict[str, Measure]:
    """What the subject's tallies say, and its space now; costs that nothing was done for are left out."""
    found: dict[str, Measure] = {}
    for kind, name in (("absent", "zero_lookup"), ("present", "lookup"), ("batch", "batch")):
        tally = subject.tallies.get(kind)
        asked = tally.account.lookups if tally is not None and kind == "batch" else tally.operations if tally is not None else 0
        if tally is not None and asked:
            gets = tally.account.gets
            found[f"{name}_blocks"] = Measure(gets.block_fetches / asked, asked, tally.false_positives)
            if kind != "batch":
                found[f"{name}_filter_checks"] = Measure(gets.filter_checks / asked, asked)
    scan = subject.tallies.get("scan")
    if scan is not None and scan.operations:
        found["scan_blocks"] = Measure(scan.account.range_reads.block_fetches / scan.operations, scan.operations)
    found |= _writes(subject.tallies, subject.setup)
    if subject.live:
        found["space_amplification"] = Measure(subject.space_amplification(), subject.live)
    return found


def predicted(cost: Cost) -> dict[str, float]:
    """A prediction's numbers by the same names; a key of a batch costs what a lookup costs."""
    return {name: float(getattr(cost, name)) for name in COSTS} | {"batch_blocks": cost.lookup_blocks}


def _writes(tallies: Mapping[str, Tally], setup: Setup) -> dict[str, Measure]:
    """What writing cost: all kinds of it together, with the flushes and merges that followed."""
    kinds = [tallies[kind] for kind in ("put", "overwrite", "delete") if kind in tallies]
    entries = sum(tally.account.entries for tally in kinds)
    if not entries:
        return {}
    work = [(tally.account.flush, tally.account.merges) for tally in kinds]
    written = sum(flush.written_entries + merges.written_entries for flush, merges in work)
    read = sum(merges.read_entries for _, merges in work)
    data = sum(flush.written_bytes + merges.written_bytes for flush, merges in work)
    return {
        "update_copies": Measure(written / entries, entries),
        "update_blocks": Measure((written + read) / setup.system().block_entries / entries, entries),
        "write_amplification": Measure(data / sum(tally.account.entry_bytes for tally in kinds), entries),
    }
