"""How memory is shared between the memtable and the filters: by what one more byte of either saves.

A larger memtable makes fewer, larger arrivals: less is merged, and a tree of the same entries has fewer runs. More filter bits
make fewer runs answer in vain. At the best split of a budget one more byte saves as much in either place. The cost is the
long-run cost of the present shape at the usual mix, in block fetches like every other of the controller's. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from lsmkv.controller.choose import long_run, robust_cost
from lsmkv.controller.constants import KEEP
from lsmkv.controller.prices import Mix, Prices
from lsmkv.policy.geometry import Geometry

__all__ = ["LEAST_MEMTABLE", "Memory", "Split", "best_split", "priced"]

LEAST_MEMTABLE = 64 << 10
"""Bytes of the smallest memtable that is considered."""
KEPT_BITS = 4.0
"""Filter bits per key that are never taken away: tables without a filter stay so until a merge, whoever asks meanwhile."""
SLACK = 0.95
"""Part of the budget that a split gives away: the tree grows, and its filters with it."""
MOST_BITS = 24.0
"""Filter bits per key beyond which nothing is gained: one false positive in 100,000."""
STEP = 2**0.5
"""Between two memtables that are considered; a smaller change would not be worth a look at the options."""
STEPS = 24
MIB = 1 << 20


class Memory(NamedTuple):
    """What the memtable and the filters may take."""

    memtable_bytes: int
    filter_bits_per_key: float

    def taken(self, entries: float) -> float:
        """Bytes of both."""
        return self.memtable_bytes + self.filter_bits_per_key * entries / 8


@dataclass(frozen=True, slots=True)
class Split:
    """Another split from now on: at the next memtable, and filter by filter as tables are written."""

    memory: Memory
    before: Memory
    saves: float
    """Blocks per operation that the model expects to save at the present mix."""
    memtable_mib_saves: float
    """Blocks per operation that one more MiB of memtable would have saved before, in the mean over a step."""
    filter_mib_saves: float
    """The same of one more MiB of filters."""
    cost_blocks: float = 0.0
    """Nothing is rewritten for it."""
    block_s: float | None = None
    """Seconds of a block, if it was found by seconds: all numbers above times this are seconds. None: by prices in blocks."""


def priced(prices: Prices, memory: Memory | None) -> Prices:
    """The prices with the filters that are in force; as they are if nobody asked for a split."""
    return prices if memory is None else replace(prices, bits_per_key=_quarter(memory.filter_bits_per_key))


def best_split(
    budget_bytes: float, entries: float, arrivals: float, geometry: Geometry, mix: Mix, prices: Prices, present: Memory
) -> Split | None:
    """A split of the budget that costs clearly less than the present one; None if there is none.

    ``entries`` in the tree, ``arrivals``: how many arrivals of the present memtable that is. A present split above the budget is
    left whatever it costs, the memtable as it is if that is nearly as good.
    """

    def cost(memory: Memory) -> float:
        """Blocks per operation."""
        count = arrivals * present.memtable_bytes / memory.memtable_bytes
        return robust_cost(long_run(geometry, max(count, 1.0), priced(prices, memory)), mix, 0.0)

    def with_memtable(size: float) -> Memory:
        """The rest is the filters'."""
        return Memory(int(size), min(MOST_BITS, 8 * max(budget_bytes - size, 0.0) / entries))

    over = present.taken(entries) > budget_bytes * 1.01
    budget_bytes *= SLACK
    sizes = [size for step in range(STEPS + 1) if (size := budget_bytes / STEP**step) >= LEAST_MEMTABLE]
    floor = min(present.filter_bits_per_key, KEPT_BITS)
    kept = [size for size in sizes if with_memtable(size).filter_bits_per_key >= floor]
    if over and with_memtable(present.memtable_bytes).filter_bits_per_key >= floor:
        kept.append(float(present.memtable_bytes))
    sizes = kept or sizes[-1:]
    told = [(cost(one), one) for one in map(with_memtable, sizes)]
    if not told:
        return None
    least, memory = min(told, key=lambda pair: (pair[0], pair[1].memtable_bytes))
    same = [pair for pair in told if pair[1].memtable_bytes == present.memtable_bytes]
    if over and same and KEEP * same[0][0] <= least:
        least, memory = same[0]
    now = cost(present)
    if not over and least > KEEP * now:
        return None
    larger = present._replace(memtable_bytes=int(present.memtable_bytes * STEP))
    bits = present.filter_bits_per_key + 2
    more = present._replace(filter_bits_per_key=bits)
    return Split(
        memory,
        present,
        now - least,
        (now - cost(larger)) / ((larger.memtable_bytes - present.memtable_bytes) / MIB),
        (now - cost(more)) / (2 * entries / 8 / MIB),
    )


def _quarter(bits: float) -> float:
    """Bits in steps of a quarter: the sums are kept by price."""
    return round(4 * bits) / 4 if bits < inf else bits
