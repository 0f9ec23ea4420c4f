"""What a compaction policy is: a pure function from the shape of the tree to the next task.

A policy sees nothing but a :class:`~lsmkv.version.shape.TreeShape`; it does no I/O, reads no clock and keeps no state,
so the same object runs in the engine and in a simulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lsmkv.version.shape import TreeShape

__all__ = ["Policy", "RunInput", "Task"]


@dataclass(frozen=True, slots=True)
class RunInput:
    """Tables of one run that a task consumes."""

    level: int
    run: int
    """Run id."""
    tables: tuple[int, ...]
    """File numbers, in key order."""


@dataclass(frozen=True, slots=True)
class Task:
    """Merge the inputs (newest first) into one run of ``output_level``.

    ``output_run`` is the id of the resident run that the result joins (its untouched tables stay), or None for a new,
    youngest run. ``reason`` is a short sentence for logs and people.
    """

    inputs: tuple[RunInput, ...]
    output_level: int
    output_run: int | None
    reason: str


class Policy(Protocol):
    """A compaction policy."""

    def pick(self, shape: TreeShape) -> Task | None:
        """The next task, or None when the tree is settled."""
        ...

    def describe(self) -> dict[str, object]:
        """Name and parameters, JSON-ready, as the manifest records them (key ``name`` first)."""
        ...
