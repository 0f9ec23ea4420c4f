"""What a store says about its controller (``db.stats().controller``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

__all__ = ["ControllerStats"]


@dataclass(frozen=True, slots=True)
class ControllerStats:
    """The controller since opening. Costs are in block fetches (docs/controller.md)."""

    mode: str
    idle: str
    """Why it does nothing; empty: it looks and decides."""
    windows: int
    """Stretches of operations it has looked at."""
    changes: int
    """How often it found that the mix had changed for good."""
    mix: Mapping[str, float]
    """Shares of operations lately: lookups of absent keys (``zero``), of present keys (``found``), ``scans``, ``writes``."""
    usual_mix: Mapping[str, float]
    """The same by the slow average."""
    drift: float
    """How far the one usually is from the other (relative entropy, nats): the radius of the robust choice."""
    decisions: int
    merges: int
    """Merges that reads had paid for, done."""
    reshapes: int
    """Changes of size ratio or runs per level, done."""
    splits: int
    """Changes of what the memtable and the filters have of the memory, done."""
    overtaken: int
    """Merges decided, but the runs were merged otherwise before."""
    waiting: int
    """Merges decided and not done yet."""
    seen_blocks: float
    """All I/O seen."""
    spent_blocks: float
    """What decisions have taken of it, by their predictions."""
    journal_failures: int
    """Lines that could not be written."""
    look_s: float
    """Seconds of processor time that looking and deciding took; merges that were decided are not among them."""

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return asdict(self)
