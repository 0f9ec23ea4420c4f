"""The journal: every decision with what it promised, and later what came of it (format: docs/format/controller.md).

Two files of JSON lines beside the log of events and kept like it: not synced, never read to decide anything, bounded, a torn
line is skipped. A decision and its outcome have one number; numbers go on after a reopening.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lsmkv.base.events import EventLog, read_events
from lsmkv.base.filenames import JOURNAL, OLDER_JOURNAL
from lsmkv.controller.choose import long_run
from lsmkv.controller.decide import Decision, Merge
from lsmkv.controller.prices import Mix, Prices
from lsmkv.controller.sensors import NOTHING
from lsmkv.controller.split import Memory, Split, priced
from lsmkv.env.clock import Clock
from lsmkv.env.fs import FileSystem
from lsmkv.policy.geometry import Geometry

__all__ = ["LIMIT_BYTES", "Record", "last_number", "new_journal", "read_journal"]

LIMIT_BYTES = 512 << 10
"""Size at which it becomes the older half: some two thousand lines, at most twice this on disk."""


def new_journal(fs: FileSystem, directory: str, clock: Clock, limit_bytes: int = LIMIT_BYTES) -> EventLog:
    """The journal of a directory, ready to append to, at most twice ``limit_bytes`` long. I/O: none before the first line."""
    return EventLog(fs, directory, clock, limit_bytes, (JOURNAL, OLDER_JOURNAL))


def read_journal(fs: FileSystem, directory: str) -> list[dict[str, object]]:
    """Every line, oldest first; none where there is no journal. Raises OSError. I/O: reads both files."""
    return list(read_events(fs, directory, (JOURNAL, OLDER_JOURNAL)))


def last_number(lines: Iterable[Mapping[str, object]]) -> int:
    """The largest number of a decision; 0: there is none."""
    return max((number for line in lines if isinstance(number := line.get("decision"), int)), default=0)


@dataclass(slots=True)
class Record:
    """A decision whose outcome is being counted."""

    number: int
    decision: Decision
    mix: Mix
    """The fast average when it was made."""
    done: Mix = NOTHING
    """Operations since."""
    blocks: float = 0.0
    """What they cost, background work included."""
    paid: float = 0.0
    """Blocks that the merge did cost."""
    windows: int = 0
    geometry: Geometry | None = None
    """The shape in which a split was decided."""

    def told(self, mode: str, arrivals: float) -> dict[str, object]:
        """The line that is written when it is made."""
        one, head = self.decision, {"decision": self.number, "mode": mode, "mix": _mix(self.mix)}
        if isinstance(one, Merge):
            what: dict[str, object] = {"runs": list(one.runs), "paid_by_reads_blocks": round(one.rent_blocks, 1)}
        elif isinstance(one, Split):
            what = {
                "memory_from": _memory(one.before),
                "memory_to": _memory(one.memory),
                "memtable_mib_saves_blocks_per_operation": round(one.memtable_mib_saves, 6),
                "filter_mib_saves_blocks_per_operation": round(one.filter_mib_saves, 6),
            }
            if one.block_s is not None:
                what["block_s"] = float(f"{one.block_s:.4g}")
        else:
            what = {"from": _point(one.before), "to": _point(one.geometry), "arrivals": round(arrivals, 1)}
        return {**head, **what, "cost_blocks": round(one.cost_blocks, 1), "saves_blocks_per_operation": round(one.saves, 5)}

    def outcome(self, prices: Prices, arrivals: float) -> dict[str, object]:
        """The line that is written later."""
        one, count = self.decision, self.done.total
        head = {
            "decision": self.number,
            "operations": round(count),
            "mix": _mix(self.done.scaled(1 / count) if count else NOTHING),
        }
        if isinstance(one, Merge):
            saved = one.each.of(self.done)
            return {**head, "paid_blocks": round(self.paid, 1), "saved_blocks": round(saved, 1)}
        if isinstance(one, Split):
            count = arrivals * one.memory.memtable_bytes / one.before.memtable_bytes
            before = long_run(self.geometry, count, priced(prices, one.before)) if self.geometry is not None else NOTHING
        else:
            before = long_run(one.before, arrivals, prices)
        would = sum(a * b for a, b in zip(before, self.done, strict=True))
        each = {"would_have_cost_blocks": would, "did_cost_blocks": self.blocks}
        return {**head, **{f"{name}_per_operation": round(value / count, 5) if count else 0.0 for name, value in each.items()}}


def _mix(mix: Mix) -> dict[str, float]:
    """Shares by name."""
    return {name: round(share, 4) for name, share in mix._asdict().items()}


def _memory(memory: Memory) -> dict[str, float]:
    """A split."""
    return {"memtable_bytes": memory.memtable_bytes, "filter_bits_per_key": round(memory.filter_bits_per_key, 2)}


def _point(geometry: Geometry) -> dict[str, int]:
    """A point of the continuum."""
    return {"size_ratio": geometry.size_ratio, "K": geometry.inner_runs[0], "Z": geometry.last_runs}
