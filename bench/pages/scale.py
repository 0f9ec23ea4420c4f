"""How much is measured, and the state one page size shares between its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from bench.harness import Case, Effort
from bench.peers import PagePeer
from bench.peers.base import Pages
from bench.session import Session

__all__ = ["BATCH", "FULL", "PROBE", "QUICK", "Bench", "Kinds", "Probe", "Scale"]

BATCH = 32
"""Pages a call carries."""

PROBE = 512
"""Pages a probe asks for; the first half is stored."""

Kinds: TypeAlias = dict[str, type[PagePeer]]


@dataclass(frozen=True, slots=True)
class Scale:
    """One page size: how many batches a store holds, and how long each row may take."""

    page_bytes: int
    batches: int
    puts: Effort
    reads: Effort


@dataclass(frozen=True, slots=True)
class Probe:
    """How many pages (of 4 KiB) lie beside the ones asked for, and how long the rows may take."""

    pages: int
    reads: Effort


QUICK: tuple[tuple[Scale, ...], Probe] = (
    (
        Scale(64 << 10, 8, Effort(5, budget_s=4), Effort(5, budget_s=1.5)),
        Scale(256 << 10, 4, Effort(5, budget_s=6), Effort(5, budget_s=2)),
    ),
    Probe(2_048, Effort(15, budget_s=1)),
)
FULL: tuple[tuple[Scale, ...], Probe] = (
    (
        Scale(64 << 10, 32, Effort(9, budget_s=30), Effort(9, budget_s=20)),
        Scale(256 << 10, 16, Effort(9, budget_s=40), Effort(9, budget_s=20)),
        Scale(1 << 20, 8, Effort(7, budget_s=60), Effort(7, budget_s=30)),
        Scale(2 << 20, 4, Effort(7, budget_s=60), Effort(7, budget_s=30)),
    ),
    Probe(20_480, Effort(25, budget_s=10)),
)


@dataclass(slots=True)
class Bench:
    """One page size being measured. ``pages`` has shape (batches * 32, page bytes)."""

    session: Session
    scale: Scale
    root: Path
    kinds: Kinds
    pages: Pages
    out: Pages

    def label(self, what: str) -> str:
        """The row's name at this page size."""
        size = self.scale.page_bytes
        return f"{what}, {size >> 20} MiB" if size >= 1 << 20 else f"{what}, {size >> 10} KiB"

    def home(self, what: str, name: str) -> Path:
        """Where a subject keeps its files."""
        home = self.root / what / name
        home.parent.mkdir(parents=True, exist_ok=True)
        return home

    def measure(self, what: str, key: str, unit: str, without: Sequence[str], work: Callable[[str], Callable[[], float]]) -> None:
        """Run one row with every subject but those that it does not apply to."""
        better = "higher" if unit == "MB/s" else "lower"
        subjects = {name: work(name) for name in self.kinds if name not in without}
        missing = {name: why for name, why in self.session.missing.items() if name not in without}
        effort = self.scale.puts if key == "put_batch" else self.scale.reads
        if key == "delete":  # each round uses up a batch
            effort = replace(effort, rounds=min(effort.rounds, self.scale.batches - effort.warmups), least_rounds=1)
        self.session.measure(Case(self.label(what), key, unit, better, subjects, missing), effort)  # type: ignore[arg-type]  # a literal

    def batch(self, i: int) -> Pages:
        """The pages of batch ``i``."""
        return self.pages[i * BATCH : (i + 1) * BATCH]
