"""What the read path counts: plain integers that cost ~30 ns to bump, summed up by ``stats()`` and the cost ledger.

One :class:`Counters` is shared by all tables of a store. A *fetch* is one logical data-block access, before any cache:
``block_fetches = cache_hits + block_reads``. Increments are not locked: CPython runs ``x.n += 1`` without switching
threads, so nothing is lost under the GIL.
"""

from __future__ import annotations

__all__ = ["Counters"]


class Counters:
    """Counts since the store was opened (or since :meth:`clear`)."""

    __slots__ = ("block_bytes", "block_reads", "cache_hits", "filter_checks", "filter_false_positives", "filter_negatives")

    block_reads: int
    """Data blocks read from the file (cache misses and reads without a cache; compaction is not counted)."""
    block_bytes: int
    """Bytes those reads transferred."""
    cache_hits: int
    """Data blocks found in the block cache."""
    filter_checks: int
    """Keys asked of a Bloom filter."""
    filter_negatives: int
    """Keys a filter ruled out."""
    filter_false_positives: int
    """Keys a filter let through although the table does not hold them."""

    def __init__(self) -> None:
        self.clear()

    @property
    def block_fetches(self) -> int:
        """Logical data-block accesses, the unit of the cost model."""
        return self.block_reads + self.cache_hits

    def clear(self) -> None:
        """Set every count to zero."""
        for name in self.__slots__:
            setattr(self, name, 0)

    def as_dict(self) -> dict[str, int]:
        """Every count by name."""
        return {name: getattr(self, name) for name in self.__slots__}
