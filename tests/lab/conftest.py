"""Arrivals by hand, and an engine that is fed the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import lsmkv
from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.env.rng import seeded
from lsmkv.lab.entries import Entries, Sizes, key_bytes_of
from lsmkv.lab.tree import SimulatedTree
from lsmkv.lab.writes import Writes, memtable_of
from lsmkv.policy.base import Policy
from lsmkv.sstable.builder import TableBuilder
from lsmkv.testing import ManualClock, ManualScheduler, MemoryFileSystem
from lsmkv.version.shape import TableMeta, TreeShape

KEY_BYTES, VALUE_BYTES = 8, 24
Batch = Sequence[tuple[int, bool]]
"""(key, alive afterwards) of each write of one memtable, in order."""


def batches(load: Writes) -> Iterator[Batch]:
    """A load as single writes (deletes and overwrites of what was written before)."""
    rng = np.random.default_rng(load.seed)
    born, batch = 0, []
    for _ in range(load.entries):
        chance = rng.random()
        if born and chance < load.deletes + load.overwrites:
            batch.append((int(rng.integers(born)) * 7919 % 1_000_003, chance >= load.deletes))
        else:
            batch.append((born * 7919 % 1_000_003, True))
            born += 1
        if len({key for key, _ in batch}) == load.memtable:
            yield batch
            batch = []
    if batch:
        yield batch


@dataclass(frozen=True)
class Facts:
    """What must be alike of two tables."""

    bytes: int
    entries: int
    tombstones: int
    smallest: bytes
    largest: bytes
    min_seq: int
    max_seq: int
    raw_bytes: int
    born_s: float
    newest_s: float
    tombstone_s: float


def facts(shape: TreeShape) -> list[list[list[Facts]]]:
    """The tree without the numbers of files."""

    def of(table: TableMeta) -> Facts:
        return Facts(**{name: getattr(table, name) for name in Facts.__dataclass_fields__})

    return [[[of(t) for t in run.tables] for run in level.runs] for level in shape.levels]


def place_of(shape: TreeShape, task: Any) -> tuple[Any, ...]:
    """A task by places in the tree instead of numbers: what it takes, where it puts it, whether it drops."""
    taken = []
    for one in task.inputs:
        runs = shape.levels[one.level].runs
        at = next(i for i, run in enumerate(runs) if run.id == one.run)
        taken.append((one.level, at, tuple(i for i, t in enumerate(runs[at].tables) if t.number in one.tables)))
    joined = None
    if task.output_run is not None:
        joined = next(i for i, run in enumerate(shape.levels[task.output_level].runs) if run.id == task.output_run)
    return tuple(taken), task.output_level, joined, task.drops, task.debt


def file_bytes(entries: Entries) -> int:
    """What the engine's own builder makes of such entries."""
    keys = ByteColumn.from_list([key_bytes_of(key) for key in entries.keys.tolist()])
    alive = (entries.tags & 1).astype(np.uint64)
    values = ByteColumn.from_list([b"v" * VALUE_BYTES if live else b"" for live in alive.tolist()])
    columns = Columns(keys, (entries.tags >> 1).astype(np.uint64) << np.uint64(8) | alive, values)
    builder = TableBuilder(MemoryFileSystem(), "/table", number=1, block_bytes=4096, compression="none", filter_bits_per_key=0)
    builder.add(columns)
    return builder.finish().bytes


@dataclass
class Pair:
    """An engine and a simulated tree with the same options."""

    policy: Policy
    level0_runs: int = 1
    table_bytes: int = 2_000
    tombstone_age_s: float | None = None

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.seq = 1
        self.db = lsmkv.open(
            "/db",
            lsmkv.Options(
                fs=MemoryFileSystem(),
                clock=self.clock,
                rng=seeded(1),
                scheduler=ManualScheduler(),
                policy=self.policy,
                level0_runs=self.level0_runs,
                level0_stop_runs=1 << 20,
                filter_bits_per_key=0,
                table_bytes=self.table_bytes,
                tombstone_age_s=self.tombstone_age_s,
            ),
        )
        self.tree = SimulatedTree(
            self.policy,
            Sizes(KEY_BYTES, VALUE_BYTES),
            level0_runs=self.level0_runs,
            table_bytes=self.table_bytes,
            filter_bits_per_key=0,
            file_bytes=file_bytes,
            tombstone_age_s=self.tombstone_age_s,
        )

    def feed(self, batch: Batch) -> int:
        """One memtable through both; how many tasks both did for it. Anything that differs fails."""
        self.clock.advance(1.0)
        writes = lsmkv.WriteBatch()
        for key, alive in batch:
            if alive:
                writes.put(key_bytes_of(key), b"v" * VALUE_BYTES)
            else:
                writes.delete(key_bytes_of(key))
        self.db.write(writes)
        self.db.flush()
        keys = np.array([key for key, _ in batch], np.int64)
        self.tree.flush(memtable_of(keys, np.array([alive for _, alive in batch]), self.seq), self.clock.now())
        self.seq += len(batch)
        return self.settle()

    def switch(self, policy: Policy, pace: Any) -> int:
        """Another policy for both."""
        self.db.set_policy(policy, pace)
        self.tree.switch(policy, pace, self.clock.now())
        return self.settle()

    def settle(self) -> int:
        """Tasks in step until both are settled."""
        done = 0
        assert facts(self.tree.shape) == facts(self.db.tree())
        while True:
            ours, theirs = self.tree.shape, self.db.tree()
            change, task = self.tree.step(self.clock.now()), self.db.step()
            assert (change is None) == (task is None), (change, task)
            if change is None or task is None:
                return done
            assert place_of(ours, change.task) == place_of(theirs, task), (change.task, task)
            assert facts(self.tree.shape) == facts(self.db.tree()), task.reason
            assert self.tree.shape.buffer_entries == self.db.tree().buffer_entries
            done += 1
