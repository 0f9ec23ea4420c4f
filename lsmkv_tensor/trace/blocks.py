"""Block mode: a cache of so many blocks replays a trace, without a store. Pure, and exact enough to compare policies by.

For each request, in order:

1. An engine with a cache of its own (the *upstream tier*, an LRU of blocks, leaf before root) uses the prefix it has.
2. The store is asked for what comes after. Its hits are the unbroken run of blocks from there.
3. Every resident block of the request was used, leaf to root, the ancestors in the upstream tier included.
4. Blocks that are absent are offered; admission judges; room is made for the admitted ones; they are inserted, leaf to root.

A request that brings more than the capacity stores its first blocks. Blocks have size 1 and the capacity is a number of blocks,
unless sizes are given: then both are bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.protocol import Admission, Eviction, Remembering, Seen
from lsmkv_tensor.retention.steering import Done, Steering
from lsmkv_tensor.trace.requests import Ids, Request, Trace

__all__ = ["BlockCache", "Counts", "Upstream", "prints_of"]


class Asking(TypedDict):
    """The part of a row that tells what was asked for and delivered."""

    requests: int
    references: int
    upstream_hits: int
    asked: int
    hits: int
    hit_rate: float


@dataclass(slots=True)
class Counts:
    """What happened; blocks."""

    requests: int = 0
    references: int = 0
    """Blocks of all requests."""
    upstream_hits: int = 0
    """Blocks that the engine had itself."""
    asked: int = 0
    """Blocks that the store was asked for."""
    hits: int = 0
    """Blocks that the store delivered."""
    written: int = 0
    written_bytes: int = 0
    declined: int = 0
    """Blocks offered that admission did not want."""
    evicted: int = 0
    evicted_bytes: int = 0
    ghost_hits: int = 0
    """Blocks written again that had been evicted and were remembered."""

    @property
    def hit_rate(self) -> float:
        """Hits in what the store was asked for (without an upstream tier: in all references)."""
        return self.hits / max(self.asked, 1)

    def asking(self) -> Asking:
        """What was asked for and delivered, as a row names it."""
        return Asking(
            requests=self.requests,
            references=self.references,
            upstream_hits=self.upstream_hits,
            asked=self.asked,
            hits=self.hits,
            hit_rate=self.hit_rate,
        )


def prints_of(blocks: Ids) -> NDArray[np.uint64]:
    """A fingerprint for each block: its number, mixed (SplitMix64)."""
    x = (blocks.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed


class Upstream:
    """The engine's own cache: the least recently used block goes first, leaves before roots."""

    def __init__(self, blocks: int) -> None:
        self._most = blocks
        self._held: OrderedDict[int, None] = OrderedDict()

    def use(self, blocks: Ids) -> int:
        """The length of the prefix it has; afterwards it has the whole prompt, as far as that fits."""
        if not self._most:
            return 0
        names = blocks.tolist()
        known = next((at for at, one in enumerate(names) if one not in self._held), len(names))
        for one in reversed(names):
            self._held[one] = None
            self._held.move_to_end(one)
        while len(self._held) > self._most:
            self._held.popitem(last=False)
        return known


class BlockCache:
    """A cache under an eviction and an admission policy, both made for the same ``capacity``.

    ``upstream``: blocks of the engine's own cache. ``sizes``: bytes of each block; None: 1.
    """

    def __init__(
        self,
        capacity: int,
        unique_blocks: int,
        eviction: Eviction,
        admission: Admission,
        upstream: int = 0,
        sizes: NDArray[np.int64] | None = None,
    ) -> None:
        self.counts = Counts()
        self._capacity = capacity
        self._used = 0
        self._eviction = eviction
        self._admission = admission
        self._upstream = Upstream(upstream)
        self._sizes = np.ones(unique_blocks, dtype=np.int64) if sizes is None else sizes
        self._prints = prints_of(np.arange(unique_blocks))
        self._slot_of = np.full(unique_blocks, -1, dtype=np.int64)
        self._block_in = np.full(unique_blocks, -1, dtype=np.int64)
        self.steering: Steering | None = None
        """The controller, told of every request; None: there is none."""
        self._free = list(range(unique_blocks - 1, -1, -1))

    def replay(self, trace: Trace) -> Iterator[Counts]:
        """Serve every request; the counts so far after each."""
        for request in trace.requests:
            self.serve(request)
            yield self.counts

    def serve(self, request: Request) -> int:
        """One request; the hits in the store."""
        blocks = request.blocks
        counts = self.counts
        counts.requests += 1
        counts.references += len(blocks)
        above = self._upstream.use(blocks)
        counts.upstream_hits += above
        counts.asked += len(blocks) - above
        slots = self._slot_of[blocks]
        here = slots >= 0
        asked = here[above:]
        hits = len(asked) if asked.all() else int(asked.argmin())
        counts.hits += hits
        if self.steering is not None:
            self.steering.note(self._prints[blocks[::-1]], self._sizes[blocks[::-1]])
        if here.any():
            self._eviction.on_hit(slots[here][::-1])
        absent = blocks[above + hits :][~here[above + hits :]]
        if len(absent):
            self._offer(absent, request.at_s)
        return hits

    def _offer(self, absent: Ids, now_s: float) -> None:
        """A probe that missed these blocks, and the put that follows it."""
        prints, sizes = self._prints[absent], self._sizes[absent]
        self._admission.sight(prints, now_s)
        self._admission.observe(self._seen(now_s))
        wanted = self._admission.decide(prints, sizes, now_s)
        self.counts.declined += int(len(absent) - np.count_nonzero(wanted))
        admitted = absent[wanted]
        admitted = admitted[np.cumsum(self._sizes[admitted]) <= self._capacity][::-1]
        if not len(admitted):
            return
        sizes = self._sizes[admitted]
        short = self._used + int(sizes.sum()) - self._capacity
        if short > 0:
            self._evict(short)
        slots = np.array([self._free.pop() for _ in range(len(admitted))], dtype=np.int64)
        self._slot_of[admitted] = slots
        self._block_in[slots] = admitted
        self._used += int(sizes.sum())
        self._eviction.on_insert(slots, sizes, self._prints[admitted])
        self.counts.written += len(slots)
        self.counts.written_bytes += int(sizes.sum())
        if isinstance(self._eviction, Remembering):
            self.counts.ghost_hits = self._eviction.ghost_hits

    def _evict(self, nbytes: int) -> None:
        """Make room."""
        slots = self._eviction.victims(nbytes)
        self._eviction.on_remove(slots, evicted=True)
        blocks = self._block_in[slots]
        self._slot_of[blocks] = -1
        self._block_in[slots] = -1
        self._free += slots[::-1].tolist()
        self._used -= int(self._sizes[blocks].sum())
        self.counts.evicted += len(slots)
        self.counts.evicted_bytes += int(self._sizes[blocks].sum())

    def done(self) -> Done:
        """What the controller may know."""
        return Done(self.counts.hits, self.counts.written_bytes, 0)

    def _seen(self, now_s: float) -> Seen:
        """What the admission policy may know."""
        c = self.counts
        return Seen(now_s, self._capacity, self._used, c.written_bytes, c.evicted_bytes, c.ghost_hits, c.hits)
