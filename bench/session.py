"""What the two suites share: options, opened subjects, progress, and the result they build."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.harness import Case, Effort, Row, run_case
from bench.peers import Peer, UnavailableError

__all__ = ["QUICK_S", "Request", "Session", "progress_bar"]

PeerT = TypeVar("PeerT", bound=Peer)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for."""

    quick: bool
    only: tuple[str, ...]
    """Substrings of row names; empty: all rows."""
    seed: int
    scratch: Path
    scale: float = 1.0
    """Factor on entries, work per round and seconds of a window: below 1 a try-out, whose figures mean little."""
    limit_s: float = float("inf")
    """Seconds a group of the index suite may take before what is left of it is skipped."""
    subjects: tuple[str, ...] = ()
    """Names of the subjects that take part; empty: all."""

    @property
    def tries_out(self) -> bool:
        """Whether only the way through is asked for, not figures."""
        return self.scale < TRY_OUT and not self.quick

    def chosen(self, kinds: Iterable[type[PeerT]]) -> tuple[type[PeerT], ...]:
        """Those of ``kinds`` that take part."""
        return tuple(kind for kind in kinds if not self.subjects or kind.name in self.subjects)

    def wants(self, *names: str) -> bool:
        """Whether any of the rows is asked for."""
        return not self.only or any(part in name for part in self.only for name in names)


TRY_OUT = 0.1
"""Scale below which a row is one round."""

HURRY_AFTER_S = 24.0
"""Seconds after which a quick run, on a machine busy with other things, makes do with fewer rounds ..."""

HURRY_S = 0.3
"""... and so many seconds a row."""

QUICK_S = 38.0
"""Seconds after which a quick run starts no further row."""


def progress_bar() -> Progress:
    """A bar on stderr: rows done, what runs now, time gone."""
    return Progress(
        TextColumn("[progress.description]{task.description:<44.44}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@dataclass(slots=True)
class Session:
    """A running suite: makes rows, in order, and shows how far it is."""

    request: Request
    rng: random.Random
    progress: Progress
    rows: list[Row] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    missing: dict[str, str] = field(default_factory=dict)
    """Subjects that could not be opened, with the reason."""
    skipped: dict[str, str] = field(default_factory=dict)
    """What was asked for and not measured, with the reason."""
    ends: float = float("inf")
    """When the running group, or a quick run, is to end, in monotonic seconds."""

    def late(self, what: str) -> bool:
        """Whether the group's time is over; then ``what`` counts as skipped."""
        if time.monotonic() < self.ends:
            return False
        self.skipped[what] = "the time was over"
        return True

    def add(self, row: Row) -> Row:
        """Take the row, or its subjects into the row of the same name and group; only if it is asked for."""
        if self.request.wants(row.name):
            same = next((known for known in self.rows if (known.group, known.name) == (row.group, row.name)), None)
            if same is not None:
                same.merge(row)
                return same
            self.rows.append(row)
        return row

    def effort(self, effort: Effort) -> Effort:
        """The effort, or a single round where figures mean nothing anyway."""
        return Effort(1, least_rounds=1, warmups=0) if self.request.tries_out else effort

    def measure(self, case: Case, effort: Effort) -> Row | None:
        """Run the case if it is asked for."""
        if not self.request.wants(case.name) or self.late(f"{case.group}: {case.name}"):
            return None
        effort = self.effort(effort)
        if self.request.quick and time.monotonic() - self.began > HURRY_AFTER_S:
            effort = replace(effort, least_rounds=1, budget_s=HURRY_S)
        task = self.progress.add_task(case.name, total=(effort.rounds + effort.warmups) * len(case.work))

        def tick(subject: str) -> None:
            self.progress.update(task, advance=1, description=f"{case.name}: {subject}")

        row = run_case(case, effort, self.rng, tick=tick)
        self.progress.remove_task(task)
        return self.add(row)

    def busy(self, what: str) -> Callable[[], None]:
        """Show ``what`` while something untimed is prepared; call the result when it is done."""
        task = self.progress.add_task(what, total=None)
        return lambda: self.progress.remove_task(task)

    def open_each(self, kinds: Iterable[type[PeerT]], open_one: Callable[[type[PeerT]], T]) -> dict[str, T]:
        """Open a subject of every kind; those that cannot are noted as missing, with the reason."""
        opened: dict[str, T] = {}
        for kind in self.request.chosen(kinds):
            try:
                opened[kind.name] = open_one(kind)
            except UnavailableError as error:
                self.missing[kind.name] = str(error)
            except Exception as error:  # noqa: BLE001 - whatever a store throws while it is filled, the others go on
                self.missing[kind.name] = f"failed: {type(error).__name__}: {error}"
        return opened
