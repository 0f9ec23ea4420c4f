"""Workloads that change: sequences of phases drawn from a seed, as a mix of operations for every tick.

A *tick* is a fixed number of operations. Phase lengths are drawn log-uniformly from 0.02 N to 2 N operations, N the entries that
the store holds when the sequence begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from math import exp, inf, log

from lsmkv.controller.prices import Mix
from lsmkv.env.rng import Rng, seeded

__all__ = ["KINDS", "LONGEST", "SHORTEST", "Phase", "Sequence", "draw_sequence"]

SHORTEST, LONGEST = 0.02, 2.0
"""Operations of a phase, in units of N."""

KINDS: dict[str, Mix] = {
    "ingest": Mix(0.03, 0.02, 0.0, 0.95),
    "chat": Mix(0.15, 0.50, 0.05, 0.30),
    "probe-heavy": Mix(0.80, 0.10, 0.0, 0.10),
    "write burst": Mix(0.0, 0.01, 0.0, 0.99),
    "seek-only": Mix(0.0, 0.0, 1.0, 0.0),
}
"""Shares of lookups of absent keys, of present keys, of short scans, of writes."""

TICKS = 400
"""Ticks per N operations."""


@dataclass(frozen=True, slots=True)
class Phase:
    """So many ticks from one mix to another."""

    kind: str
    ticks: int
    first: Mix
    last: Mix

    def mixes(self) -> Iterator[Mix]:
        """The mix of each tick."""
        for tick in range(self.ticks):
            share = (tick + 0.5) / self.ticks
            yield self.first if self.first is self.last else self.first.scaled(1 - share).plus(self.last.scaled(share))


@dataclass(frozen=True, slots=True)
class Sequence:
    """One workload."""

    number: int
    arrivals: int
    """Entries at the beginning, in memtables."""
    overwrites: bool
    """Writes hit the keys that were there at the beginning; else every one is a new key."""
    phases: tuple[Phase, ...]

    @property
    def ticks(self) -> int:
        """How long it is."""
        return sum(phase.ticks for phase in self.phases)

    def mixes(self) -> Iterator[Mix]:
        """The mix of each tick, phase after phase."""
        for phase in self.phases:
            yield from phase.mixes()

    def live(self, entries: float) -> float:
        """Keys that writes overwrite; infinite: none."""
        return entries if self.overwrites else inf


def draw_sequence(seed: str, number: int, phases: int = 8) -> Sequence:
    """Sequence ``number`` of a seed: the same arguments give the same sequence."""
    rng = seeded(int.from_bytes(sha256(f"{seed}/{number}".encode()).digest()[:8], "big"))
    arrivals = round(exp(log(100) + rng.random() * (log(1000) - log(100))))
    made: list[Phase] = []
    while len(made) < phases:
        made += _phase(rng)
    return Sequence(number, arrivals, rng.random() < 0.5, tuple(made))


def _length(rng: Rng, low: float = SHORTEST, high: float = LONGEST) -> int:
    """Ticks of a phase."""
    return max(1, round(TICKS * exp(log(low) + rng.random() * (log(high) - log(low)))))


def _phase(rng: Rng) -> list[Phase]:
    """One phase; an adversarial flip is several."""
    kinds = [*KINDS, "slow drift", "adversarial flip"]
    kind = kinds[int(rng.random() * len(kinds))]
    if kind == "slow drift":
        first, last = _any_mix(rng), _any_mix(rng)
        return [Phase(kind, _length(rng, 0.5), first, last)]
    if kind == "adversarial flip":
        each = _length(rng, SHORTEST, 0.2)
        return [Phase(kind, each, mix, mix) for _ in range(3) for mix in (KINDS["write burst"], KINDS["seek-only"])]
    mix = KINDS[kind]
    return [Phase(kind, _length(rng), mix, mix)]


def _any_mix(rng: Rng) -> Mix:
    """A mix drawn uniformly from all mixes."""
    parts = [-log(1 - rng.random()) for _ in range(4)]
    return Mix(*parts).scaled(1 / sum(parts))
