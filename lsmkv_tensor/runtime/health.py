"""How a store is, in one record for whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Health", "State"]

State: TypeAlias = Literal["ok", "degraded", "failing", "closed"]
"""``ok``; ``degraded``: it serves, but something is wrong; ``failing``: all is a miss until the disk is well; ``closed``."""


@dataclass(frozen=True, slots=True)
class Health:
    """A store at one moment."""

    state: State
    reasons: tuple[str, ...]
    """Sentences, the gravest first; none if all is well."""
    since: float
    """Wall time, seconds since 1970, from which it has been in this state."""
    trips: int
    """Times that failures opened the breaker, or that the store was poisoned, since opening."""
    attempts: int
    """Times that the disk was tried since."""
    recoveries: int
    """Times that it was found well again."""
