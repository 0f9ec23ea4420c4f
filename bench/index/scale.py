"""How much is measured, and the state one scale shares between its rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data import Entries
from bench.harness import Case, Effort
from bench.session import Session

__all__ = ["BATCH", "FULL", "QUICK", "RUNS", "SCAN", "Bench", "Scale", "timed"]

BATCH = 128
"""Keys a batch call carries: what SGLang's controller asks for at once."""

SCAN = 32
"""Pairs a scan takes."""

RUNS = 3
"""Runs of the store that is not compacted."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is stored and how long each row may take."""

    entries: int
    value_bytes: int
    puts: Effort
    reads: Effort
    singles: int
    """Writes a round of single puts makes."""
    keys: int
    """Keys a round of reads asks for."""


QUICK = (Scale(100_000, 28, Effort(3, budget_s=5, warmups=0), Effort(7, budget_s=1.5), singles=3_000, keys=4_096),)
FULL = (
    Scale(1_000_000, 28, Effort(3, budget_s=90, warmups=0), Effort(9, budget_s=12), singles=20_000, keys=20_480),
    Scale(200_000, 256, Effort(3, budget_s=40, warmups=0), Effort(9, budget_s=6), singles=20_000, keys=20_480),
)


@dataclass(slots=True)
class Bench:
    """One scale being measured."""

    session: Session
    scale: Scale
    entries: Entries
    root: Path

    def label(self, what: str) -> str:
        """The row's name at this scale."""
        return f"{what}, {self.scale.value_bytes} B"

    def home(self, what: str, name: str) -> Path:
        """Where a subject keeps its files."""
        home = self.root / what / name
        home.parent.mkdir(parents=True, exist_ok=True)
        return home

    def wants(self, *whats: str) -> bool:
        """Whether any of these rows is asked for."""
        return self.session.request.wants(*map(self.label, whats))

    def case(self, what: str, key: str, unit: str, peers: Sequence[str], work: Callable[[str], Callable[[], float]]) -> Case:
        """A row in which each of ``peers`` does ``work(name)``; less is better."""
        return Case(self.label(what), key, unit, "lower", {name: work(name) for name in peers}, self.session.missing)


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
