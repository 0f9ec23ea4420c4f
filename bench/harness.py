"""How a comparison is made: the same work by several subjects, alternating in one process in shuffled rounds.

A machine drifts while it is measured: its disk caches fill, its clock rate moves, its neighbours wake up. Subjects measured one
after another each get a different machine. Here every round runs every subject once, in an order drawn anew, so that drift
falls on all alike; the median over rounds is the result and the range says how far to trust it.

A :class:`Case` is one row of a table before it is measured, a :class:`Row` after. Ratios are always *speed* ratios: above 1
means faster, whether the row counts microseconds (less is better) or megabytes per second (more is better).
"""

from __future__ import annotations

import contextlib
import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Better", "Case", "Effort", "Row", "Work", "run_case", "still_heap"]

Better: TypeAlias = Literal["lower", "higher"]

Summary: TypeAlias = Literal["median", "worst"]
"""What of the rounds is the result: the middle, or for maxima the worst of all."""

Work: TypeAlias = Callable[[], float]
"""One round of one subject: does the work and returns the figure in the row's unit. It times only what it means to."""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison to make: ``work`` maps a subject's name to its round."""

    name: str
    """What the table calls the row."""
    key: str
    """What the targets call it (:mod:`bench.targets`)."""
    unit: str
    better: Better
    work: Mapping[str, Work]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Subjects that cannot take part, each with the reason."""
    group: str = "core"
    """The part of the suite it belongs to; a table of its own."""
    summary: Summary = "median"


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a comparison may go on."""

    rounds: int
    """Rounds wanted."""
    least_rounds: int = 3
    """Rounds made even when the time is up: a median of fewer says nothing."""
    budget_s: float = float("inf")
    """Seconds after which no round beyond ``least_rounds`` is started."""
    warmups: int = 1
    """Rounds made and thrown away first."""


@dataclass(slots=True)
class Row:
    """What a comparison gave: every sample of every subject, in the order of the rounds."""

    name: str
    key: str
    unit: str
    better: Better
    samples: dict[str, list[float]]
    missing: dict[str, str] = field(default_factory=dict)
    group: str = "core"
    summary: Summary = "median"
    notes: dict[str, str] = field(default_factory=dict)
    """What is worth knowing about a subject's figure: the work done meanwhile, a load that was cut short."""

    def median(self, subject: str) -> float:
        """The middle of the subject's samples."""
        return statistics.median(self.samples[subject])

    def figure(self, subject: str) -> float:
        """The result: the median, or the worst sample where the row says so."""
        if self.summary == "median":
            return self.median(subject)
        low, high = self.span(subject)
        return high if self.better == "lower" else low

    def merge(self, other: Row) -> None:
        """Take in the subjects of the same row, measured at another time."""
        self.samples.update(other.samples)
        self.missing.update(other.missing)
        self.notes.update(other.notes)

    def span(self, subject: str) -> tuple[float, float]:
        """The lowest and the highest of the subject's samples."""
        return min(self.samples[subject]), max(self.samples[subject])

    def speed(self, subject: str, against: str) -> float | None:
        """How many times as fast ``subject`` is as ``against``; None when one of them was not measured."""
        if not self.samples.get(subject) or not self.samples.get(against):
            return None
        ours, theirs = self.figure(subject), self.figure(against)
        if self.better == "lower":
            ours, theirs = theirs, ours
        return ours / theirs if theirs else float("inf")

    def best(self, subjects: tuple[str, ...]) -> str | None:
        """The fastest of ``subjects`` that was measured, or None."""
        present = [name for name in subjects if self.samples.get(name)]
        if not present:
            return None
        return (min if self.better == "lower" else max)(present, key=self.figure)


@contextlib.contextmanager
def still_heap() -> Iterator[None]:
    """Keep everything alive now out of garbage collections meanwhile: nobody is to walk the harness's data in his time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def run_case(
    case: Case,
    effort: Effort,
    rng: random.Random,
    *,
    now: Callable[[], float] = time.perf_counter,
    tidy: Callable[[], object] = gc.collect,
    tick: Callable[[str], None] = lambda _: None,
) -> Row:
    """Measure ``case``: whole rounds, each subject once a round, in an order drawn from ``rng``.

    A subject that raises is dropped from the row with its error as the reason; the others go on. ``tick`` is called with a
    subject's name before its turn. Interrupts pass through.
    """
    samples: dict[str, list[float]] = {name: [] for name in case.work}
    row = Row(case.name, case.key, case.unit, case.better, samples, dict(case.missing), case.group, case.summary)
    alive = list(case.work)
    began = now()
    for number in range(-effort.warmups, effort.rounds):
        if number >= effort.least_rounds and now() - began > effort.budget_s:
            break
        order = list(alive)
        rng.shuffle(order)
        for name in order:
            tick(name)
            tidy()  # one subject's garbage is not to be collected at another's expense
            try:
                figure = case.work[name]()
            except Exception as error:  # noqa: BLE001 - whatever a third-party binding throws, the other subjects go on
                row.missing[name] = f"failed: {type(error).__name__}: {error}"
                row.samples.pop(name)
                alive.remove(name)
                continue
            if number >= 0:
                row.samples[name].append(figure)
    return row
