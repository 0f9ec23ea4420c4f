"""Traces made to measure: conversations with a given sharing and number of turns, in phases, from a seed. Pure.

A conversation begins with one of a few system prompts, with probability ``sharing``, or with a prompt of its own. Each turn
sends everything so far and some blocks more; after it the user thinks, or leaves. Popular prompts are chosen like words are:
the k-th with weight 1/k. Phases follow each other; each has system prompts of its own, so what was popular changes.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lsmkv.env.rng import Rng
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.trace.requests import Request, Trace

__all__ = ["Phase", "generate"]

BLOCK_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of a trace."""

    requests: int = 1000
    sharing: float = 0.5
    """Part of the conversations that begin with a system prompt of many (0 to 1)."""
    turns: float = 3.0
    """Turns of a conversation, on average; at least 1."""
    prompts: int = 20
    """System prompts there are."""
    prompt_blocks: int = 8
    """Blocks of each, and of a prompt of one's own."""
    turn_blocks: float = 4.0
    """Blocks that a turn adds, on average; at least 1."""
    think_s: float = 60.0
    """Seconds between the turns of a conversation, on average."""
    requests_per_s: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what cannot be generated."""
        checks = {
            "requests": self.requests >= 1,
            "sharing": 0 <= self.sharing <= 1,
            "turns": self.turns >= 1,
            "prompts": self.prompts >= 1,
            "prompt_blocks": self.prompt_blocks >= 1,
            "turn_blocks": self.turn_blocks >= 1,
            "think_s": self.think_s > 0,
            "requests_per_s": self.requests_per_s > 0,
        }
        for name, good in checks.items():
            if not good:
                raise InvalidArgumentError(f"Phase.{name} = {getattr(self, name)!r} is out of range")


class _Maker:
    """Makes the requests of one trace."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self.blocks = 0

    def fresh(self, count: int) -> list[int]:
        """So many blocks that nobody had before."""
        self.blocks += count
        return list(range(self.blocks - count, self.blocks))

    def waiting(self, mean: float) -> float:
        """A time with this mean, distributed exponentially."""
        return -math.log(1.0 - self._rng.random()) * mean

    def count(self, mean: float) -> int:
        """A number of at least 1 with this mean, distributed geometrically."""
        if mean <= 1:
            return 1
        return 1 + int(math.log(1.0 - self._rng.random()) / math.log(1 - 1 / mean))

    def popular(self, of: int) -> int:
        """One of so many, the k-th with weight 1/k."""
        weights = [1 / (k + 1) for k in range(of)]
        at = self._rng.random() * sum(weights)
        for k, weight in enumerate(weights):
            at -= weight
            if at < 0:
                return k
        return of - 1


def generate(phases: Sequence[Phase], rng: Rng) -> Trace:
    """A trace of these phases, one after the other."""
    maker = _Maker(rng)
    requests: list[Request] = []
    start_s = 0.0
    for phase in phases:
        requests += _phase(phase, maker, start_s)
        start_s = requests[-1].at_s
    return Trace(requests, maker.blocks)


def _phase(phase: Phase, maker: _Maker, start_s: float) -> list[Request]:
    """Its requests in order of time."""
    prompts = [maker.fresh(phase.prompt_blocks) for _ in range(phase.prompts)]
    made: list[Request] = []
    next_s = start_s
    due: list[tuple[float, int, list[int], int]] = []  # when, tie, what the conversation has so far, turns left
    begun = 0
    while len(made) < phase.requests:
        if not due or next_s <= due[0][0]:
            own = maker._rng.random() >= phase.sharing  # noqa: SLF001 - the maker is this module's
            base = maker.fresh(phase.prompt_blocks) if own else prompts[maker.popular(phase.prompts)]
            heapq.heappush(due, (next_s, begun, base, maker.count(phase.turns)))
            begun += 1
            next_s += maker.waiting(phase.turns / phase.requests_per_s)
        at_s, tie, so_far, turns = heapq.heappop(due)
        so_far = so_far + maker.fresh(maker.count(phase.turn_blocks))
        tokens = len(so_far) * BLOCK_TOKENS
        made.append(Request(at_s, np.array(so_far, dtype=np.int64), tokens, BLOCK_TOKENS))
        if turns > 1:
            heapq.heappush(due, (at_s + maker.waiting(phase.think_s), tie, so_far, turns - 1))
    return made
