"""A tree for tables of which nothing is known but what they say of themselves. Pure.

Every entry carries its sequence number, so age is never lost, only the order of runs is. Two tables that share a stretch of
the key space are in order if all sequence numbers of one lie above all of the other. If the numbers interleave, no order of
the two is certain, and they must be merged entry by entry. What is left can be put in layers: the newest tables on top, each
as high as the newer ones it meets allow. The tables of a layer do not meet, so a layer is a run, and a table never lies above
a newer one that it meets: the level rule holds by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsmkv.version.shape import TableMeta

__all__ = ["groups", "layers"]


@dataclass(frozen=True, slots=True)
class _Group:
    """Tables to be merged, and what they span together."""

    members: tuple[int, ...]
    smallest: bytes
    largest: bytes
    min_seq: int
    max_seq: int

    def interleaves(self, other: _Group) -> bool:
        """Whether both hold sequence numbers between those of the other (key ranges known to meet)."""
        return self.min_seq <= other.max_seq and other.min_seq <= self.max_seq

    def joined(self, other: _Group) -> _Group:
        """Both together."""
        return _Group(
            (*self.members, *other.members),
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            min(self.min_seq, other.min_seq),
            max(self.max_seq, other.max_seq),
        )


def groups(tables: Sequence[TableMeta]) -> list[tuple[int, ...]]:
    """Positions of the tables that must be merged with each other; a table that is fine by itself is a group of one."""
    left = [_Group((i,), t.smallest, t.largest, t.min_seq, t.max_seq) for i, t in enumerate(tables)]
    while True:
        left.sort(key=lambda group: group.smallest)
        merged: list[_Group] = []
        for group in left:
            joined = group
            apart: list[_Group] = []
            for other in merged:
                if other.largest >= joined.smallest and other.smallest <= joined.largest and joined.interleaves(other):
                    joined = joined.joined(other)
                else:
                    apart.append(other)
            merged = [*apart, joined]
        if len(merged) == len(left):
            return sorted(tuple(sorted(group.members)) for group in merged)
        left = merged  # a group spans more than its members: it may interleave with what none of them met


def layers(tables: Sequence[TableMeta]) -> list[tuple[TableMeta, ...]]:
    """The tables in runs, newest run first, each in key order. No two that meet may interleave (see :func:`groups`)."""
    runs: list[list[TableMeta]] = []
    for table in sorted(tables, key=lambda t: -t.max_seq):
        depth = 0
        for i, run in enumerate(runs):
            if any(t.smallest <= table.largest and table.smallest <= t.largest for t in run):
                depth = i + 1
        if depth == len(runs):
            runs.append([])
        runs[depth].append(table)
    return [tuple(sorted(run, key=lambda t: t.smallest)) for run in runs]
