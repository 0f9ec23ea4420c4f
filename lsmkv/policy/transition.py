"""From one policy to another: what the change costs before it is made, and what has been paid of it.

A tree in line with one policy may be surplus under the next one: runs that have to be merged, levels that hold too much.
The bytes of merges done only for that are the *debt* (:attr:`lsmkv.policy.base.Task.debt`). Since policies are pure, the
debt of a change is found by walking the shape to rest on paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["Debt", "Pace", "TransitionReport"]

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
    """A change of policy: what it was predicted to cost, what has been paid, what is left."""

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
