"""Reading pages by a deadline: into memory of our own, by a thread that may be left, then into the caller's what came in time.

The straight path (:mod:`lsmkv_tensor.vlog.reader`) reads into the caller's memory; a read that hangs there would have to be
waited for, because it may write to that memory whenever it ends. Here the caller's memory is written only by the caller's own
thread, before it returns. Pages are read in parts, in the order they were asked for, so that a prefix arrives first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from lsmkv.base.columns import U8
from lsmkv_tensor.runtime.attempts import AttemptPool
from lsmkv_tensor.vlog.staging import StagingPool

__all__ = ["PART_BYTES", "Deliverer", "gather", "read_by", "scatter"]

PART_BYTES = 8 << 20
"""Bytes of pages read at a time: what came before a part that hangs is delivered, the part itself is not."""


class Deliverer(Protocol):
    """What reads pages: :class:`lsmkv_tensor.vlog.reader.PageReader`, or one that also asks others."""

    def deliver(self, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]]) -> list[bool]:
        """Fill each target with the page of its key, without counting."""
        ...

    def count(self, delivered: Sequence[bool], page_bytes: int) -> None:
        """Count what came in time."""
        ...


def read_by(
    reader: Deliverer, pool: AttemptPool, staging: StagingPool, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]],
    until: float,
) -> tuple[list[bool], int]:  # fmt: skip
    """As ``get_into`` of a PageReader, but back at the moment ``until`` of the pool's clock; and how many pages were late.

    ``targets`` are not touched after this returns. A late page is False.

    I/O: as PageReader.get_into, once per PART_BYTES.
    """
    if not keys:
        return [], 0
    size = sum(map(len, targets[0]))
    step = max(PART_BYTES // max(size, 1), 1)
    buffer = staging.take(size * len(keys))
    own = [buffer.view[i * size : (i + 1) * size] for i in range(len(keys))]

    def part(start: int) -> list[bool]:
        """Read the pages of one part."""
        return reader.deliver(keys[start : start + step], [[view] for view in own[start : start + step]])

    parts: list[Callable[[], list[bool]]] = [partial(part, start) for start in range(0, len(keys), step)]
    delivered: list[bool] = []
    results = pool.results(parts, until, partial(staging.give, buffer))
    try:
        for flags in results:
            for i, there in enumerate(flags, len(delivered)):
                if there:
                    scatter(own[i], targets[i])
            delivered += flags
    finally:
        results.close()  # here, not whenever it is collected
    late = len(keys) - len(delivered)
    delivered += [False] * late
    reader.count(delivered, size)
    return delivered, late


def scatter(page: memoryview, spans: Sequence[memoryview]) -> None:
    """Copy a page into its spans (NumPy lets go of the GIL meanwhile)."""
    source = np.frombuffer(page, np.uint8)
    at = 0
    for span in spans:
        if len(span):
            np.frombuffer(span, np.uint8)[:] = source[at : at + len(span)]
            at += len(span)


def gather(spans: Sequence[memoryview], into: U8) -> None:
    """Copy spans end to end (NumPy lets go of the GIL meanwhile)."""
    at = 0
    for span in spans:
        if len(span):
            into[at : at + len(span)] = np.frombuffer(span, np.uint8)
            at += len(span)
