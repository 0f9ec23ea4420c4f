"""Blocks and copies in seconds: what operations take on a machine where they were timed.

``t0 + a * filter checks + b * blocks * (1 - hit rate) + c * bytes`` (design section 5), with a price for a block that the cache
does hold as well: in Python neither a filter check nor a cached block is free. The prices come from ``lsmkv calibrate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from lsmkv.cost.checks import number
from lsmkv.errors import InvalidArgumentError

__all__ = ["KINDS", "PerOperation", "Seconds"]

KINDS = ("zero_lookups", "lookups", "scans", "updates")
"""The kinds of operations, as :class:`~lsmkv.cost.records.Workload` names their rates."""


@dataclass(frozen=True, slots=True)
class PerOperation:
    """A cost of each kind of operation, in one unit: blocks or seconds."""

    zero_lookup: float
    lookup: float
    scan: float
    update: float

    @property
    def vector(self) -> tuple[float, float, float, float]:
        """In the order of :data:`KINDS`."""
        return (self.zero_lookup, self.lookup, self.scan, self.update)

    def mean(self, mix: Sequence[float]) -> float:
        """Per operation of a mix of shares that sum to 1, in the order of :data:`KINDS`."""
        return sum(share * cost for share, cost in zip(mix, self.vector, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Prices on one machine, in seconds each; all finite and at least 0.

    Raises InvalidArgumentError for anything else.
    """

    lookup_s: float = 0.0
    """A lookup, before it asks any filter or block."""
    found_s: float = 0.0
    """On top of it, if it finds its key: taking the value out."""
    scan_s: float = 0.0
    """A scan, before it opens any run."""
    seek_s: float = 0.0
    """A run that a scan opens."""
    update_s: float = 0.0
    """A write, log and memtable."""
    filter_check_s: float = 0.0
    """A filter asked."""
    block_s: float = 0.0
    """A block fetched, wherever it comes from."""
    block_read_s: float = 0.0
    """On top of it, if the cache does not hold the block."""
    scan_entry_s: float = 0.0
    """An entry that a scan returns."""
    merge_byte_s: float = 0.0
    """A byte that a flush or a merge writes, the reading of it included."""

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        for field in fields(self):
            number(field.name, getattr(self, field.name))
        if not any(asdict(self).values()):
            raise InvalidArgumentError("Seconds has no price above 0: a machine takes time for something (`lsmkv calibrate`)")

    def lookup(self, blocks: float, filter_checks: float, cache_hit_rate: float = 0.0, *, found: bool = False) -> float:
        """Seconds of a lookup; ``found``: of a key that is there."""
        return self.lookup_s + found * self.found_s + filter_checks * self.filter_check_s + blocks * self._block(cache_hit_rate)

    def scan(self, blocks: float, entries: float, seeks: float = 0.0, cache_hit_rate: float = 0.0) -> float:
        """Seconds of a scan that opens ``seeks`` runs and returns ``entries``."""
        return self.scan_s + seeks * self.seek_s + entries * self.scan_entry_s + blocks * self._block(cache_hit_rate)

    def update(self, merge_bytes: float) -> float:
        """Seconds of a write for which flush and merges, sooner or later, write ``merge_bytes``."""
        return self.update_s + merge_bytes * self.merge_byte_s

    def _block(self, cache_hit_rate: float) -> float:
        """Seconds of a block."""
        return self.block_s + (1 - cache_hit_rate) * self.block_read_s
