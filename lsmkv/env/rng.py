"""The random seam: a seed replays a run bit for bit."""

from __future__ import annotations

import random
from typing import Protocol

__all__ = ["Rng", "seeded"]


class Rng(Protocol):
    """What the engine asks of chance (satisfied by :class:`random.Random`)."""

    def random(self) -> float:
        """A float in [0, 1)."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """An integer of ``k`` random bits."""
        ...


def seeded(seed: int | None = None) -> Rng:
    """A generator that repeats for the same seed; None takes one from the operating system."""
    return random.Random(seed)  # noqa: S311 - repeatable on purpose; nothing secret depends on it
