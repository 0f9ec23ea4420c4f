"""What a simulation tells: one tidy row per step, and the tree that is left.

Rows are frozen and JSON-ready: ``pandas.DataFrame(row.to_dict() for row in simulation.rows)`` is a table of them.

Amplification counts from the beginning, as the engine's ledger does. ``write_amplification``: bytes written to tables by
flushes and merges over those written by flushes; ``update_copies``: the same in entries (1 for the flush, the rest merges; the
log apart). ``space_amplification``: entries of the tree over keys alive (exact, which only a simulation knows).
``zero_lookup_blocks``: blocks that the lookup of an absent key would fetch if ``filter_bits_per_key`` were shared ideally
among the runs (:func:`lsmkv.cost.allocate`); without filters it is ``runs``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, NamedTuple

from lsmkv.lab.writes import Writes
from lsmkv.version.shape import TreeShape

__all__ = ["Kind", "Levels", "Row", "RunSize", "Simulation", "TaskInput"]


class RunSize(NamedTuple):
    """One run, as event logs have it."""

    bytes: int
    entries: int
    tables: int


class TaskInput(NamedTuple):
    """What a task took from one run, as event logs have it."""

    level: int
    position: int
    """Of the run in its level before the step, 0: newest."""
    tables: int
    of_tables: int
    bytes: int


Levels = tuple[tuple[RunSize, ...], ...]
"""The runs of each level, newest first, level 0 first."""

Kind = Literal["flush", "load", "compaction", "switch", "switched", "slowdown", "stall", "options", "open", "close"]
"""Of a step. A simulation makes the first three; the others are known from the logs of live stores."""

_NESTED = ("inputs", "levels", "policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One step of a simulation, or of a live store as its event log tells it, and the state after it."""

    step: int
    """1, 2, ..."""
    at_s: float
    """Simulated time; wall time of a live store."""
    kind: Kind
    task: Literal["", "merge", "move", "drop"] = ""
    reason: str
    """One sentence."""
    writes: int
    """User writes so far (of a live store: entries flushed since its log begins)."""
    output_level: int = 0
    output_position: int | None = None
    """Of the run written or moved to, in its level after the step; None where there is none."""
    joins: int | None = None
    """Position of the resident run joined, before the step; None: a new run."""
    read_bytes: int = 0
    read_entries: int = 0
    written_bytes: int = 0
    """By a flush or a merge; a move writes nothing."""
    written_entries: int = 0
    debt_bytes: int = 0
    """Bytes read only because the tree was left by another policy or size ratio."""
    runs: int
    """Runs in the whole tree: table lookups for an absent key without filters."""
    depth: int
    """Levels from 0 to the deepest that holds anything."""
    entries: int
    bytes: int
    tombstones: int | None
    """None: unknown (an event log does not say)."""
    live_entries: int | None
    """Keys alive after all writes so far; None: unknown."""
    write_amplification: float
    update_copies: float
    space_amplification: float | None
    """None: nothing is alive, or it is unknown."""
    zero_lookup_blocks: float | None
    """None: unknown."""
    buffer_entries: int
    inputs: tuple[TaskInput, ...] = ()
    levels: Levels
    policy: dict[str, object] = field(default_factory=dict)
    """The new policy of a switch; the one in force when a store was opened."""

    def to_dict(self) -> dict[str, object]:
        """The numbers and words of the row; what is nested (``levels``, ``inputs``, ``policy``) stays out."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NESTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A finished (or interrupted) simulation."""

    policy: dict[str, object]
    """As it described itself at the beginning."""
    load: Writes
    rows: list[Row]
    tree: TreeShape
    """The tree at the end."""
    complete: bool
    """False: it was stopped before all writes had happened."""

    @property
    def last(self) -> Row:
        """The state at the end; there is always a row, for the first flush at least.

        Raises IndexError for a simulation that was stopped before it.
        """
        return self.rows[-1]

    def level_rows(self) -> list[dict[str, int]]:
        """One tidy record per step and level: ``step``, ``level``, ``runs``, ``tables``, ``entries``, ``bytes``."""
        return [
            {
                "step": row.step,
                "level": number,
                "runs": len(level),
                "tables": sum(run.tables for run in level),
                "entries": sum(run.entries for run in level),
                "bytes": sum(run.bytes for run in level),
            }
            for row in self.rows
            for number, level in enumerate(row.levels)
        ]

    def summary(self) -> dict[str, object]:
        """How it ended, JSON-ready: counts of tasks by kind, sizes, amplification."""
        counts = {"flushes": 0, "merges": 0, "moves": 0, "drops": 0, "switches": 0}
        for row in self.rows:
            counts[_PLURALS[row.task or row.kind]] += 1
        rest = self.rows[-1].to_dict() if self.rows else {}
        kept = ("writes", "runs", "depth", "entries", "bytes", "tombstones", "live_entries", "write_amplification")
        more = ("update_copies", "space_amplification", "zero_lookup_blocks")
        return {"complete": self.complete, **counts, **{name: rest[name] for name in (*kept, *more) if name in rest}}


_PLURALS = {"flush": "flushes", "merge": "merges", "move": "moves", "drop": "drops", "switch": "switches"}
