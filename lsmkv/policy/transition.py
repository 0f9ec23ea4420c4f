"""From one policy to another: what the change costs before it is made, and what has been paid of it.

A tree in line with one policy may be surplus under the next one: runs that have to be merged, levels that hold too much.
The bytes of merges done only for that are the *debt* (:attr:`lsmkv.policy.base.Task.debt`). Since policies are pure, the
debt of a change is found by walking the shape to rest on paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.apply import apply, input_tables
from lsmkv.policy.base import Policy, Task
from lsmkv.policy.ranges import is_move
from lsmkv.version.shape import TreeShape

__all__ = ["Debt", "Pace", "TransitionReport", "debt", "debt_blocks"]

STEPS = 1000
"""A walk of more tasks than this and four for each table does not end."""

Pace: TypeAlias = Literal["greedy", "lazy"]
"""Greedy: surplus work is done now. Lazy: each level is brought in line by the first arrival that reaches it."""


@dataclass(frozen=True, slots=True)
class Debt:
    """Work that only the change of policy causes."""

    bytes: int = 0
    """Bytes of tables that have to be read and merged (what is written is as much or less)."""
    blocks: int = 0
    """The same in data blocks, each table rounded up."""
    steps: int = 0
    """Tasks with a debt."""


@dataclass(frozen=True, slots=True)
class TransitionReport:
    """A change of policy: what it was predicted to cost, what has been paid, what is left.

    ``predicted`` is what settling at once, greedily, costs. A greedy switch that no write disturbs pays exactly that; a lazy one
    pays with each arrival only what is then still surplus, mostly much less, so the two differ by design.
    """

    from_policy: dict[str, object]
    to_policy: dict[str, object]
    pace: Pace
    predicted: Debt
    paid_bytes: int
    paid_blocks: int
    paid_steps: int
    remaining: Debt
    done: bool
    """Nothing remains: the tree is in line with the policy."""

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, as the manifest records it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> TransitionReport:
        """What :meth:`to_dict` made."""
        debts = {name: Debt(**recorded[name]) for name in ("predicted", "remaining")}
        return cls(**{**recorded, **debts})


def debt(shape: TreeShape, policy: Policy, *, block_bytes: int) -> Debt:
    """What has to be merged before ``shape`` is in line with ``policy``, found by walking it there on paper.

    The walk drops nothing (keys are not known): an upper bound where versions collapse. It is exact in the number of bytes
    read while no writes come. ``block_bytes`` is the size of a data block.

    Raises InvalidArgumentError for a policy that does not come to rest.
    """
    total = Debt()
    shape = replace(shape, patient=False)
    limit = STEPS + 4 * len(shape.tables)
    for _ in range(limit):
        task = policy.pick(shape)
        if task is None:
            return total
        if task.debt:
            blocks = debt_blocks(shape, task, block_bytes)
            total = Debt(total.bytes + task.debt, total.blocks + blocks, total.steps + 1)
        shape = _walk(shape, task)
    msg = f"{policy!r} does not come to rest: after {limit} tasks without a write between them it picks yet another"
    raise InvalidArgumentError(msg)


def debt_blocks(shape: TreeShape, task: Task, block_bytes: int) -> int:
    """The data blocks of the inputs that make up ``task.debt``, each table rounded up."""
    if not task.debt:
        return 0
    places = {number: one.level for one in task.inputs for number in one.tables}
    tables = input_tables(shape, task)
    if task.debt < sum(t.bytes for t in tables):  # an arrival that met surplus runs: those are the debt
        tables = [t for t in tables if places[t.number] == task.output_level]
    if sum(t.bytes for t in tables) != task.debt:
        return -(-task.debt // block_bytes)
    return sum(-(-t.bytes // block_bytes) for t in tables)


def _walk(shape: TreeShape, task: Task) -> TreeShape:
    """The shape after a task; a move of one whole run leaves its tables as they are."""
    merged = input_tables(shape, task)
    return apply(shape, task, merged if is_move(shape, task, merged) else None)
