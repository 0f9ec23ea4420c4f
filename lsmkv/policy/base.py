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
    """Merge the inputs (newest first) into one run of ``output_level``, or drop them.

    ``output_run`` is the id of the resident run that the result joins (its untouched tables stay), or None for a new,
    youngest run. ``reason`` is a short sentence for logs and people.
    """

    inputs: tuple[RunInput, ...]
    output_level: int
    output_run: int | None
    reason: str
    debt: int = 0
    """Bytes of those inputs that are merged only because the tree was left by another policy or size ratio."""
    drops: bool = False
    """The inputs are deleted and nothing is written: ``output_level`` and ``output_run`` mean nothing."""


class Policy(Protocol):
    """A compaction policy: a frozen dataclass with ``pick`` is one.

    ``describe`` may be left out: the name is then ``"module:Class"`` and the fields of the dataclass are its parameters.
    """

    def pick(self, shape: TreeShape) -> Task | None:
        """The next task, or None when the tree is settled."""
        ...

    def describe(self) -> dict[str, object]:
        """Name and parameters, JSON-ready, as the manifest records them (key ``name`` first)."""
        ...
