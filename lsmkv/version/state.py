"""Everything the manifest knows, as one immutable record."""

from __future__ import annotations

from dataclasses import dataclass, field

from lsmkv.version.edit import VersionEdit
from lsmkv.version.shape import TreeShape

__all__ = ["ManifestState", "mean_arrival"]


@dataclass(frozen=True, slots=True)
class ManifestState:
    """The tree and the counters beside it. ``shape.buffer_entries`` is always the mean of ``arrivals``."""

    shape: TreeShape = field(default_factory=TreeShape)
    wal_floor: int = 1
    """Logs with smaller numbers hold nothing that is not in tables."""
    next_file: int = 1
    """No file had this number or a larger one when the edit was written."""
    last_seq: int = 0
    """Every sequence number up to this one is in tables; a larger one may be too."""
    next_run: int = 1
    policy: dict[str, object] = field(default_factory=dict)
    """As the policy describes itself; empty: none recorded."""
    arrivals: tuple[int, int] = (0, 0)
    """(how many arrivals level 1 has seen, their entries)."""
    transition: dict[str, object] = field(default_factory=dict)
    """The report of the last change of policy, as it describes itself; empty: there was none."""
    ledger: dict[str, object] = field(default_factory=dict)
    """Counts since the store was created, as they were recorded last; empty: none recorded."""

    def as_edit(self) -> VersionEdit:
        """The edit that leads from an empty state to this one: a snapshot."""
        return VersionEdit(
            added=tuple((i, run.id, t) for i, level in enumerate(self.shape.levels) for run in level.runs for t in run.tables),
            wal_floor=self.wal_floor,
            next_file=self.next_file,
            last_seq=self.last_seq,
            next_run=self.next_run,
            policy=self.policy,
            arrivals=self.arrivals,
            transition=self.transition,
            ledger=self.ledger,
            ranges=self.shape.ranges or None,
        )


def mean_arrival(arrivals: tuple[int, int]) -> int:
    """Mean entries of one arrival at level 1, rounded; 0 while there was none."""
    count, entries = arrivals
    return (entries + count // 2) // count if count else 0
