"""A store in the model's words: what is asked of it, from its counts; what runs it, from its shape and options.

Counts only say what was asked, how often each kind. What a prediction answers, blocks, copies and rates, never enters it.
"""

from __future__ import annotations

from lsmkv.base.ledger import Account
from lsmkv.cost.checks import number, whole
from lsmkv.cost.records import System, Workload
from lsmkv.cost.seconds import Seconds
from lsmkv.policy.base import Policy
from lsmkv.version.shape import TreeShape

__all__ = ["system_of", "workload_of"]

BLOCK_BYTES = 4096
"""Of a block, unless the store was opened with other options."""
BLOCK_ENTRY_BYTES = 4
"""Beside key and value, about so many for each entry of a block."""
FALLBACK_ENTRY_BYTES = 100.0
"""Of an entry in a tree that has none yet."""


def workload_of(account: Account, scan_entries: float = 32.0, live_entries: float | None = None) -> Workload:
    """The mix of operations that an account counted; one of each kind if it counted none.

    Lookups that memtables answered are not on the account. How long scans are and how many keys are overwritten is not, either.
    Raises InvalidArgumentError.
    """
    rates = (account.absent, account.gets.found, account.scans, account.entries)
    absent, found, scans, updates = map(float, rates if any(rates) else (1, 1, 1, 1))
    return Workload(absent, found, scans, updates, scan_entries, live_entries)


def system_of(
    shape: TreeShape,
    policy: Policy,
    *,
    block_bytes: int = BLOCK_BYTES,
    block_cache_bytes: int = 0,
    memtable_entries: float = 0.0,
    filter_allocation: str = "monkey",
    seconds: Seconds | None = None,
) -> System:
    """What runs a tree of this shape: sizes of its entries, of its flushes, its filter bits as they are.

    ``cache_hit_rate`` is the share of the tables that a cache of ``block_cache_bytes`` holds: right for keys that are asked for
    evenly, too low for any skew. Raises InvalidArgumentError.
    """
    tables, entries = shape.tables, shape.entries
    raw = sum(t.raw_bytes for t in tables)
    entry_bytes = raw / entries if raw else FALLBACK_ENTRY_BYTES
    flush = shape.buffer_entries / (shape.level0_runs + 1)
    if not flush and shape.levels[0].runs:
        flush = shape.levels[0].entries / len(shape.levels[0].runs)
    cache = whole("block_cache_bytes", block_cache_bytes, 0)
    return System(
        policy,
        block_entries=max(1.0, whole("block_bytes", block_bytes, 1) / (entry_bytes + BLOCK_ENTRY_BYTES)),
        entry_bytes=entry_bytes,
        memtable_entries=number("memtable_entries", memtable_entries),
        cache_hit_rate=min(1.0, cache / shape.bytes) if shape.bytes else 0.0,
        seconds=seconds,
        entries=entries or None,
        flush_entries=max(1, round(flush or entries)),
        level0_runs=shape.level0_runs,
        filter_bits_per_key=sum(t.filter_bits for t in tables) / entries if entries else 10.0,
        filter_allocation=filter_allocation,
    )
