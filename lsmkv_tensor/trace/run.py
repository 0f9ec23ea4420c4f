"""Replays: a trace against policies at capacities, as rows. Without a store this is pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.retention.names import load_eviction
from lsmkv_tensor.retention.steering import Steering, steered_admission
from lsmkv_tensor.retention.steering_settings import StoreController
from lsmkv_tensor.trace.blocks import BlockCache, Counts
from lsmkv_tensor.trace.requests import Trace
from lsmkv_tensor.trace.rows import Row

__all__ = ["DEFAULT_ADMISSION", "DEFAULT_EVICTION", "Progress", "named", "replay"]

DEFAULT_EVICTION = "mq"
DEFAULT_ADMISSION = "all"

Progress: TypeAlias = Callable[[Counts], None]
"""Told the counts so far after each request."""


def replay(
    trace: Trace,
    *,
    capacity: float | Sequence[float] = 0.1,
    eviction: str | Sequence[str] = DEFAULT_EVICTION,
    admission: str | Sequence[str] = DEFAULT_ADMISSION,
    upstream_blocks: int = 0,
    write_blocks_per_day: float | None = None,
    controller: StoreController | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Replay a trace in block mode: one row for each capacity, eviction and admission policy.

    ``capacity``: parts of the distinct blocks of the trace (0 to 1), or numbers of blocks (above 1). Policies by name, as
    :func:`lsmkv_tensor.retention.names.load_eviction` takes them. ``upstream_blocks``: what the engine before the store caches
    itself. ``write_blocks_per_day``: the admission policy's budget. ``controller``: steers the admission, as it does in a store.
    Raises InvalidArgumentError.
    """
    rows = []
    for size in [capacity] if isinstance(capacity, int | float) else capacity:
        blocks = blocks_of(size, trace)
        for keep in [eviction] if isinstance(eviction, str) else eviction:
            for let_in in [admission] if isinstance(admission, str) else admission:
                cache = BlockCache(
                    blocks,
                    trace.unique_blocks,
                    load_eviction(keep)(blocks),
                    policy := steered_admission(let_in, controller)(blocks, write_blocks_per_day),
                    upstream_blocks,
                )
                if controller is not None:
                    cache.steering = Steering(controller, let_in, blocks, load_eviction(keep))
                    cache.steering.serve(policy, cache.done)
                for counts in cache.replay(trace):
                    if progress is not None:
                        progress(counts)
                rows.append(_row(cache.counts, keep, named(let_in, controller), blocks, trace, upstream_blocks))
    return rows


def named(admission: str, controller: StoreController | None) -> str:
    """The admission of a row: the policy's name, and whether it was steered."""
    return f"{admission}, steered" if controller is not None and controller.mode == "on" else admission


def blocks_of(capacity: float, trace: Trace) -> int:
    """A capacity in blocks; InvalidArgumentError if it is none."""
    if isinstance(capacity, bool) or not capacity > 0:
        raise InvalidArgumentError(f"capacity = {capacity!r}: must be above 0")
    return max(int(capacity * trace.unique_blocks) if capacity <= 1 else int(capacity), 1)


def _row(counts: Counts, eviction: str, admission: str, blocks: int, trace: Trace, upstream: int) -> Row:
    """What happened, as a row."""
    return Row(
        mode="blocks",
        eviction=eviction,
        admission=admission,
        capacity_share=blocks / max(trace.unique_blocks, 1),
        capacity=blocks,
        upstream_blocks=upstream,
        **counts.asking(),
        written=counts.written,
        declined=counts.declined,
        evicted=counts.evicted,
        ghost_hits=counts.ghost_hits,
    )
