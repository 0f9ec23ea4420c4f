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
    chore: bool = False
    """Due whatever the policy, or asked for by hand: what it takes from level 0 is no arrival that shapes the levels."""


class Policy(Protocol):
    """A compaction policy: any class with ``pick``, best a frozen dataclass of its parameters, in a module of its own.

    Two more methods are used where a policy has them. ``describe() -> dict``: how it is recorded, JSON-ready, key ``name``
    first; without it the name is ``"module:Class"`` and the fields of the dataclass are its parameters. ``wakes_s(shape) ->
    float | None``: the next time at which ``pick`` may change its mind although nothing was written.
    """

    def pick(self, shape: TreeShape) -> Task | None:
        """The next task, or None when the tree is settled."""
        ...
