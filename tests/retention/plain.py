"""Plain simulations of the simple policies: dicts, no arrays, no cleverness. What the packed ones are measured against."""

from __future__ import annotations

import math
from collections.abc import Iterable


class PlainCache:
    """Blocks under a policy; the rules of lsmkv_tensor.trace.blocks without an upstream tier."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: dict[int, object] = {}
        self.hits = 0
        self.written = 0

    def serve(self, blocks: list[int]) -> int:
        hits = 0
        while hits < len(blocks) and blocks[hits] in self.held:
            hits += 1
        new = [b for b in blocks if b not in self.held][: self.capacity]
        for b in reversed([b for b in blocks if b in self.held]):
            self.hit(b)
        for _ in range(len(self.held) + len(new) - self.capacity):
            self.evict()
        for b in reversed(new):
            self.insert(b)
        self.hits += hits
        self.written += len(new)
        return hits

    def hit(self, block: int) -> None:
        raise NotImplementedError

    def evict(self) -> None:
        raise NotImplementedError

    def insert(self, block: int) -> None:
        raise NotImplementedError


class PlainFifo(PlainCache):
    def hit(self, block: int) -> None:
        pass

    def evict(self) -> None:
        del self.held[next(iter(self.held))]

    def insert(self, block: int) -> None:
        self.held[block] = None


class PlainLru(PlainFifo):
    def hit(self, block: int) -> None:
        self.held[block] = self.held.pop(block)


class PlainCountLru(PlainCache):
    """priority = last use + bonus * capacity * log2(uses); uses are remembered for ``ghosts`` * capacity evictions."""

    def __init__(self, capacity: int, bonus: float, ghosts: float) -> None:
        super().__init__(capacity)
        self.per_doubling = bonus * capacity
        self.memory = round(ghosts * capacity)
        self.time = 0
        self.evictions = 0
        self.last: dict[int, int] = {}
        self.uses: dict[int, int] = {}
        self.ghosts: dict[int, tuple[int, int]] = {}

    def touch(self, block: int, uses: int) -> None:
        self.time += 1
        self.last[block] = self.time
        self.uses[block] = min(uses, 255)
        self.held[block] = None

    def hit(self, block: int) -> None:
        self.touch(block, self.uses[block] + 1)

    def insert(self, block: int) -> None:
        number, uses = self.ghosts.pop(block, (-math.inf, 0))
        self.touch(block, uses + 1 if number > self.evictions - self.memory else 1)

    def evict(self) -> None:
        def rank(block: int) -> tuple[int, int]:
            return self.last[block] + round(self.per_doubling * math.log2(self.uses[block])), self.last[block]

        victim = min(self.held, key=rank)
        del self.held[victim]
        self.evictions += 1
        self.ghosts[victim] = self.evictions, self.uses[victim]


def hits_of(cache: PlainCache, requests: Iterable[list[int]]) -> list[int]:
    """The hits of each request."""
    return [cache.serve(blocks) for blocks in requests]
