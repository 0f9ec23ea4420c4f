"""The engine under experiment: keys by the number of their birth, writes cut into memtables, every cost counted by its cause.

The scheduler is manual: a memtable is flushed after so many writes, and all work that is due is done at once. So the same seed
gives the same counts, bit for bit; processor time is the only thing that differs. Lookups and writes go through the batch calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lsmkv.base.ledger import Account
from lsmkv.cost.records import System
from lsmkv.db import DB
from lsmkv.db import open as open_store
from lsmkv.env.clock import cpu_s
from lsmkv.env.fs import FileSystem
from lsmkv.env.rng import seeded
from lsmkv.lab.draws import I64, keys_of
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.options import Options
from lsmkv.policy.base import Policy
from lsmkv.testing.clock import ManualClock

__all__ = ["Setup", "Subject", "Tally"]

BLOCK_BYTES = 4096
ENTRY_OVERHEAD = 4
"""Bytes of an entry in a block beside its key and value, about."""

CALL = 1_000
"""Keys of one call that writes."""

ASKED, STORED_PER_ASKED = 50, 6_000
"""Absent keys of one call, at most, and keys in the store for each of them: keys of one call that lie in one block share its
fetch, which the model does not know (a thousand of half a million keys shared a tenth of the fetches). Present keys, each of
which fetches a block, are asked one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How the store under experiment is made: everything that a prediction may know."""

    policy: Policy
    flush_entries: int
    filters: str = "monkey"
    """How filter memory is shared out: "monkey" or "uniform"."""
    filter_bits_per_key: float = 10.0
    level0_runs: int = 1
    key_bytes: int = 16
    value_bytes: int = 32
    chain_keys: int = 1
    block_cache_bytes: int = 32 << 20
    """No count depends on it, but processor time does."""
    seed: int = 0

    @property
    def entry_bytes(self) -> int:
        """Bytes of a key and its value."""
        return self.key_bytes + self.value_bytes

    def system(self) -> System:
        """The same for the cost model."""
        return System(
            self.policy,
            block_entries=BLOCK_BYTES / (self.entry_bytes + ENTRY_OVERHEAD),
            entry_bytes=self.entry_bytes,
            flush_entries=self.flush_entries,
            level0_runs=self.level0_runs,
            filter_bits_per_key=self.filter_bits_per_key,
            filter_allocation=self.filters,
        )


@dataclass(slots=True)
class Tally:
    """What one kind of operation did."""

    operations: int = 0
    account: Account = field(default_factory=Account)
    cpu_s: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.operations + other.operations, self.account + other.account, self.cpu_s + other.cpu_s)

    @property
    def false_positives(self) -> int:
        """Of all filters asked."""
        return self.account.gets.filter_false_positives


class Subject:
    """An open store, the keys in it, and tallies by kind of operation. Close it."""

    def __init__(self, setup: Setup, fs: FileSystem, path: str) -> None:
        """Open an empty store at ``path``."""
        self.setup = setup
        self.alive: NDArray[np.bool_] = np.zeros(1 << 16, np.bool_)
        self.born = 0
        self.tallies: dict[str, Tally] = {}
        self._unflushed = 0
        self.db: DB = open_store(
            path,
            Options(
                fs=fs,
                policy=setup.policy,
                scheduler=ManualScheduler(),
                clock=ManualClock(),
                rng=seeded(setup.seed),
                memtable_bytes=1 << 40,  # flushed by count
                level0_runs=setup.level0_runs,
                filter_bits_per_key=setup.filter_bits_per_key,
                filter_allocation="uniform" if setup.filters == "uniform" else "monkey",
                block_cache_bytes=setup.block_cache_bytes,
                hash_column_bytes=0,  # they answer without filters and blocks
            ),
        )

    @property
    def live(self) -> int:
        """Keys alive."""
        return int(np.count_nonzero(self.alive[: self.born]))

    def reset(self) -> None:
        """Forget the tallies."""
        self.tallies = {}

    def put_new(self, count: int) -> None:
        """Store ``count`` keys that were never there."""
        while self.born + count > len(self.alive):
            self.alive = np.concatenate([self.alive, np.zeros_like(self.alive)])
        first, self.born = self.born, self.born + count
        self.alive[first : self.born] = True
        self._write("put", np.arange(first, self.born))

    def overwrite(self, births: I64) -> None:
        """New values for live keys."""
        self._write("overwrite", births)

    def delete(self, births: I64) -> None:
        """Delete live keys."""
        self.alive[births] = False
        self._write("delete", births)

    def absent(self, births: I64) -> None:
        """Look for keys that were never stored, beside those of ``births``."""
        keys = self.keys(births, absent=True)
        self._counted("absent", len(keys), lambda: self._ask(keys, max(1, min(ASKED, self.born // STORED_PER_ASKED))))

    def present(self, births: I64) -> None:
        """Look live keys up."""
        keys = self.keys(births)
        self._counted("present", len(keys), lambda: self._ask(keys, 1))

    def batches(self, groups: Sequence[I64]) -> None:
        """Look groups of keys up, each in one call."""
        asked = [self.keys(births) for births in groups]
        self._counted("batch", len(asked), lambda: [self.db.get_many(keys) for keys in asked])

    def scans(self, births: I64, lengths: Sequence[int]) -> None:
        """Scan from live keys on, so many pairs each."""
        keys = self.keys(births)

        def scan() -> None:
            """One after the other."""
            for key, length in zip(keys, lengths, strict=True):
                for _ in islice(self.db.scan(start=key), length):
                    pass

        self._counted("scan", len(keys), scan)

    def rest(self) -> None:
        """Flush what is in memory and do the work that is due."""
        if self._unflushed:
            self._counted("put", 0, self._flush)

    def space_amplification(self) -> float:
        """Bytes of tables per live byte; meant at rest."""
        return self.db.tree().bytes / max(1, self.live * self.setup.entry_bytes)

    def keys(self, births: I64, *, absent: bool = False) -> list[bytes]:
        """The keys of births, or absent ones beside them."""
        at = self.setup
        return keys_of(births, chain_keys=at.chain_keys, key_bytes=at.key_bytes, seed=at.seed, absent=absent)

    def close(self) -> None:
        """Close the store."""
        self.db.close()

    def _write(self, kind: str, births: I64) -> None:
        """Write keys, flushing as memtables fill."""
        keys = self.keys(births)
        value = bytes(self.setup.value_bytes)

        def write() -> None:
            """Memtable by memtable."""
            at = 0
            while at < len(keys):
                room = min(self.setup.flush_entries - self._unflushed, CALL)
                part = keys[at : at + room]
                if kind == "delete":
                    self.db.delete_many(part)
                else:
                    self.db.put_many((key, value) for key in part)
                at, self._unflushed = at + len(part), self._unflushed + len(part)
                if self._unflushed >= self.setup.flush_entries:
                    self._flush()

        self._counted(kind, len(keys), write)

    def _flush(self) -> None:
        """A memtable to level 0, and what follows from it."""
        self._unflushed = 0
        self.db.flush()
        self.db.settle()

    def _ask(self, keys: list[bytes], each: int) -> None:
        """Look keys up, ``each`` in one call."""
        for at in range(0, len(keys), each):
            self.db.contains_many(keys[at : at + each])

    def _counted(self, kind: str, operations: int, work: Callable[[], object]) -> None:
        """Do some work and add what it cost to its tally."""
        tally = self.tallies.setdefault(kind, Tally())
        before, began = self.db.stats().ledger, cpu_s()
        work()
        tally.cpu_s += cpu_s() - began
        tally.account = tally.account + (self.db.stats().ledger - before)
        tally.operations += operations
