"""What arrives at the tree: a stream of writes, cut into memtables.

A write inserts a new key, overwrites or deletes one that was written before. Keys are numbered as they are born; number n
becomes the key ``n`` (sequential) or a scrambled n (random order, no two alike), so nothing has to be remembered but who is
alive. A memtable is full with so many distinct keys, or after four times as many writes (its log is full then).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsmkv.lab.draws import scrambled
from lsmkv.lab.entries import I64, Entries
from lsmkv.simulation import Writes

__all__ = ["Arrival", "Writes", "arrivals", "memtable_of"]

LOG_FACTOR = 4
"""Writes, in memtables, after which a memtable is flushed however few keys it holds (the engine's rule, in entries)."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One full memtable: its newest entry of each key, and the account of the writes that made it."""

    entries: Entries
    writes: int
    """Writes since the previous arrival."""
    deletes: int
    """Of these, how many were deletes."""
    live_entries: int
    """Keys alive once all writes so far have happened."""


def memtable_of(keys: I64, live: NDArray[np.bool_], first_seq: int) -> Entries:
    """The entries of a memtable that took these writes in this order: the last one of each key counts."""
    tags = ((np.arange(first_seq, first_seq + len(keys)) << 1) | live).astype(np.uint32)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    last = np.ones(len(keys), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=last[:-1])
    return Entries(ordered[last], tags[order[last]])


def arrivals(load: Writes) -> Iterator[Arrival]:
    """The memtables that ``load`` fills, in order; the last may be partly full. Deterministic."""
    stream = _Stream(load)
    alive = np.zeros(load.entries, np.bool_)
    live_entries, seq = 0, 1
    while True:
        births, live = stream.memtable()
        if not len(births):
            return
        keys = births if load.order == "sequential" else scrambled(births, load.seed)
        touched = np.unique(births)
        before = int(np.count_nonzero(alive[touched]))
        alive[births] = live  # of a key written twice the last write counts
        live_entries += int(np.count_nonzero(alive[touched])) - before
        deletes = len(live) - int(np.count_nonzero(live))
        yield Arrival(memtable_of(keys, live, seq), len(births), deletes, live_entries)
        seq += len(births)


class _Stream:
    """Writes as they are drawn: which key (by the order of birth), and whether it is alive afterwards."""

    def __init__(self, load: Writes) -> None:
        self._load = load
        self._rng = np.random.default_rng(load.seed)
        self._left = load.entries
        self._born = 0
        self._births: I64 = np.empty(0, np.int64)
        self._live: NDArray[np.bool_] = np.empty(0, np.bool_)

    def memtable(self) -> tuple[I64, NDArray[np.bool_]]:
        """The writes that fill the next memtable; empty at the end."""
        most = LOG_FACTOR * self._load.memtable
        while True:
            first = np.sort(np.unique(self._births[:most], return_index=True)[1])
            full = len(first) >= self._load.memtable
            if full or len(self._births) >= most or not self._left:
                break
            self._draw(min(self._load.memtable, self._left))
        count = int(first[self._load.memtable - 1]) + 1 if full else min(most, len(self._births))
        taken = self._births[:count], self._live[:count]
        self._births, self._live = self._births[count:], self._live[count:]
        return taken

    def _draw(self, n: int) -> None:
        """``n`` more writes."""
        load, chance = self._load, self._rng.random(n)
        delete = chance < load.deletes
        old = chance < load.deletes + load.overwrites
        if not self._born:
            old[0] = delete[0] = False  # there is nothing to overwrite yet
        inserted = np.cumsum(~old)
        known = self._born + inserted - ~old  # keys born before each write
        births = np.where(old, (self._rng.random(n) * known).astype(np.int64), known)
        self._births = np.concatenate([self._births, births])
        self._live = np.concatenate([self._live, ~delete])
        self._born += int(inserted[-1])
        self._left -= n
