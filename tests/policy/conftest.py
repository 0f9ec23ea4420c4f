"""A tree on paper: flush, let a policy settle it, count what it copies. The engine in a dozen lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from lsmkv.policy.apply import apply, count_arrival, input_tables
from lsmkv.policy.base import Policy, Task
from lsmkv.version.rules import check_level_rule
from lsmkv.version.shape import TableMeta, TreeShape
from lsmkv.version.state import mean_arrival
from lsmkv.version.version import rebuild

STEPS = 64
"""No flush needs more tasks than this: the policy would not terminate."""


class PaperTree:
    """A shape that grows by flushes; every entry has a key of its own."""

    def __init__(self, level0_runs: int) -> None:
        self.shape = TreeShape(level0_runs=level0_runs)
        self.arrivals = (0, 0)
        self.number = 0
        self.seq = 0
        self.copied: Counter[int] = Counter()
        """Entries written to each level by merges."""
        self.tasks: list[Task] = []

    def table(self, entries: int) -> TableMeta:
        self.number += 1
        self.seq += entries
        return TableMeta(self.number, entries, entries, 0, b"a", b"z", self.seq - entries + 1, self.seq)

    def flush(self, entries: int) -> None:
        table = self.table(entries)
        self.shape = rebuild(self.shape, frozenset(), ((0, table.number, table),))

    def run(self, task: Task) -> None:
        merged = input_tables(self.shape, task)
        moved = len(task.inputs) == 1 and task.inputs[0].level != task.output_level
        if moved:
            outputs = merged
        else:
            self.number += 1
            outputs = [replace(_sum(merged), number=self.number)]
            self.copied[task.output_level] += sum(t.entries for t in merged)
        self.arrivals = count_arrival(self.arrivals, self.shape, task)
        self.number += 1
        self.shape = replace(apply(self.shape, task, outputs, self.number), buffer_entries=mean_arrival(self.arrivals))
        self.tasks.append(task)
        check_level_rule(self.shape)

    def settle(self, policy: Policy) -> int:
        """Run tasks until there is none; how many."""
        for done in range(STEPS):
            task = policy.pick(self.shape)
            if task is None:
                return done
            self.run(task)
        raise AssertionError("does not settle: " + "; ".join(t.reason for t in self.tasks[-4:]))


def _sum(tables):
    entries = sum(t.entries for t in tables)
    return TableMeta(0, entries, entries, 0, b"a", b"z", min(t.min_seq for t in tables), max(t.max_seq for t in tables))


@pytest.fixture
def paper_tree():
    return PaperTree
