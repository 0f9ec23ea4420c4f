"""A workload's phases as calls on the store under experiment, in steps of some hundred operations.

In each step the kinds are drawn as often as the mix says, and each kind runs together, so that batch calls can be used: puts,
overwrites, read-modify-writes, lookups of present and of absent keys, batches, scans, deletes. The same seed, the same calls.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lsmkv.lab.draws import I64, zipf_ranks
from lsmkv.lab.subject import Subject
from lsmkv.lab.workload import Phase

__all__ = ["Chooser", "run_phase"]

STEP = 500
"""Operations of a step, at most; never more than a memtable takes."""


class Chooser:
    """Draws live keys as a phase asks for them; what is popular is settled when the phase begins."""

    def __init__(self, subject: Subject, phase: Phase, rng: np.random.Generator) -> None:
        self._subject, self._phase, self._rng = subject, phase, rng
        self._chain = subject.setup.chain_keys if phase.keys == "chains" else 1
        self._ranked = max(1, subject.born // self._chain)
        self._popular = np.random.default_rng(subject.setup.seed).permutation(self._ranked)

    def keys(self, count: int) -> I64:
        """Births of ``count`` live keys; fewer only if none lives."""
        subject, rng = self._subject, self._rng
        if not count or not subject.live:
            return np.empty(0, np.int64)
        births = self._drawn(count)
        dead = ~subject.alive[births]
        if dead.any():
            births[dead] = rng.choice(np.flatnonzero(subject.alive[: subject.born]), int(dead.sum()))
        return births

    def groups(self, count: int) -> list[I64]:
        """Births of the keys of ``count`` batches: a prefix of a chain each, or keys drawn one by one."""
        size = self._phase.batch_keys
        if self._phase.keys != "chains":
            return [found for _ in range(count) if len(found := self.keys(size))]
        starts = self._chains(count) * self._chain
        lengths = self._rng.integers(1, min(size, self._chain) + 1, count)
        chains = [np.arange(start, start + length) for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]
        return [births for births in chains if births[-1] < self._subject.born]

    def _drawn(self, count: int) -> I64:
        """Births of keys that may have died."""
        born, rng = self._subject.born, self._rng
        if self._phase.keys == "uniform":
            return rng.integers(0, born, count)
        if self._phase.keys == "latest":
            return np.asarray(np.maximum(0, born - 1 - zipf_ranks(self._ranked, count, rng)))
        if self._phase.keys == "zipfian":
            return np.asarray(self._popular[zipf_ranks(self._ranked, count, rng)])
        births = self._chains(count) * self._chain + rng.integers(0, self._chain, count)
        return np.asarray(np.minimum(births, born - 1))

    def _chains(self, count: int) -> I64:
        """Chains by popularity."""
        return np.asarray(self._popular[zipf_ranks(self._ranked, count, self._rng)])


def run_phase(subject: Subject, phase: Phase, rng: np.random.Generator, slices: int) -> Iterator[int]:
    """Run a phase; yields the operations done after each of ``slices`` equal parts."""
    chooser = Chooser(subject, phase, rng)
    shares = np.array(list(phase.mix.shares().values()))
    names, shares = list(phase.mix.shares()), shares / shares.sum()
    done = 0
    for part in range(1, slices + 1):
        end = phase.operations * part // slices
        while done < end:
            size = min(STEP, subject.setup.flush_entries, end - done)
            _step(subject, phase, chooser, dict(zip(names, rng.multinomial(size, shares).tolist(), strict=True)), rng)
            done += size
        yield done


def _step(subject: Subject, phase: Phase, chooser: Chooser, counts: dict[str, int], rng: np.random.Generator) -> None:
    """So many operations of each kind."""
    if counts["put"]:
        subject.put_new(counts["put"])
    if len(births := chooser.keys(counts["overwrite"])):
        subject.overwrite(births)
    if len(births := chooser.keys(counts["modify"])):
        subject.present(births)
        subject.overwrite(births)
    if len(births := chooser.keys(counts["present"])):
        subject.present(births)
    if counts["absent"]:
        subject.absent(rng.integers(0, max(1, subject.born), counts["absent"]))
    if groups := chooser.groups(counts["batch"]):
        subject.batches(groups)
    if len(births := chooser.keys(counts["scan"])):
        low, high = phase.scan_entries
        subject.scans(births, rng.integers(low, high + 1, len(births)).tolist())
    if len(births := np.unique(chooser.keys(counts["delete"]))):
        subject.delete(births)
