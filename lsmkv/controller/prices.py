"""What operations cost on given runs, in blocks: the part of the cost model that is asked thousands of times.

The same sums as :func:`lsmkv.cost.predict` for runs that span all keys, with filters water-filled ideally. A *block* is one fetch
of a data block; everything else is counted in blocks by :class:`Prices`, because in Python a filter check is not free and what a
merge does to an entry is not, either. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import exp, inf, log
from typing import TYPE_CHECKING, NamedTuple

from lsmkv.cost.checks import number
from lsmkv.cost.monkey import LN2_SQUARED

if TYPE_CHECKING:
    from lsmkv.cost.seconds import Seconds

__all__ = ["Mix", "Prices", "ReadCosts", "Timed", "false_positive_rates", "read_costs", "timed"]


@dataclass(frozen=True, slots=True)
class Prices:
    """What things cost, in block fetches. Raises InvalidArgumentError for anything but finite numbers in their ranges."""

    check: float = 0.1
    """One filter asked."""
    merged: float = 1 / 16
    """One entry read and written by a merge: two blocks of 32."""
    flushed: float = 1 / 32
    """One entry written by a flush."""
    block_entries: float = 32.0
    scan_entries: float = 32.0
    bits_per_key: float = 10.0
    """Filter memory over all entries."""
    seek: float = 0.0
    """One run that a scan opens, on top of its block."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        for field in fields(self):
            number(f"Prices.{field.name}", getattr(self, field.name), 1 if field.name.endswith("_entries") else 0)


class Timed(NamedTuple):
    """Prices that follow from seconds."""

    prices: Prices
    block_s: float
    """Seconds of the block fetch that they are counted in."""


def timed(prices: Prices, seconds: Seconds, entry_bytes: float, cache_hit_rate: float = 0.0) -> Timed | None:
    """Prices as a machine's seconds have them; None if a block takes no time there: nothing can be counted in it.

    ``entry_bytes``: of an entry in a file. ``cache_hit_rate``: of blocks, in eighths, since sums are kept by price.
    """
    block_s = seconds.block_s + (1 - round(8 * cache_hit_rate) / 8) * seconds.block_read_s
    if block_s <= 0:
        return None
    copied = seconds.merge_byte_s * float(f"{entry_bytes:.2g}") / block_s
    check, seek = seconds.filter_check_s / block_s, seconds.seek_s / block_s
    return Timed(replace(prices, check=check, merged=copied, flushed=copied, seek=seek), block_s)


class Mix(NamedTuple):
    """Operations by kind: counts, or shares."""

    zero: float = 0.0
    """Lookups of absent keys."""
    found: float = 0.0
    """Lookups of present keys."""
    scans: float = 0.0
    writes: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return self.zero + self.found + self.scans + self.writes

    def scaled(self, factor: float) -> Mix:
        """Each times ``factor``."""
        return Mix(*(factor * n for n in self))

    def plus(self, other: Mix) -> Mix:
        """Both together."""
        return Mix(*(a + b for a, b in zip(self, other, strict=True)))


class ReadCosts(NamedTuple):
    """Blocks per operation."""

    zero: float
    found: float
    scan: float

    def of(self, mix: Mix) -> float:
        """What the reads of a mix cost."""
        return mix.zero * self.zero + mix.found * self.found + mix.scans * self.scan


def false_positive_rates(sizes: Sequence[float], bits_per_key: float) -> list[float]:
    """The rates of water-filled filters: in proportion to the runs' entries, at most 1, over one budget (Monkey)."""
    total, weighted = sum(sizes), sum(n * log(n) for n in sizes)
    bits = bits_per_key * total * LN2_SQUARED
    largest = sorted(sizes, reverse=True)
    for n in largest:
        factor = exp(-(bits + weighted) / total)
        if factor * n <= 1:
            return [min(1.0, factor * size) for size in sizes]
        total -= n
        weighted -= n * log(n)
    return [1.0] * len(sizes)


def read_costs(sizes: Sequence[float], prices: Prices, live: float = inf) -> ReadCosts:
    """What one lookup and one scan cost on runs of these entries, newest first; ``live``: keys overwritten at random."""
    if not sizes:
        return ReadCosts(0.0, 0.0, 0.0)
    rates = false_positive_rates(sizes, prices.bits_per_key)
    keys = min(live, sum(sizes))
    once = live == inf
    zero = found = scan = 0.0
    left, asked, last = 1.0, 0.0, len(sizes) - 1
    for row, (size, rate) in enumerate(zip(sizes, rates, strict=True)):
        share = min(1.0, size / keys)
        zero += rate + prices.check
        holds = left if row == last else min(left, share if once else left * share)
        found += holds * (asked + prices.check + 1)
        asked += rate + prices.check
        left -= holds
        none = (1 - share) ** prices.scan_entries
        scan += 1 + prices.seek + (prices.scan_entries * share - 1 + none) / prices.block_entries
    return ReadCosts(zero, found, scan)
