"""Reading pages by a deadline: into memory of our own, by a thread that may be left, then into the caller's what came in time.

The straight path (:mod:`lsmkv_tensor.vlog.reader`) reads into the caller's memory; a read that hangs there would have to be
waited for, because it may write to that memory whenever it ends. Here the caller's memory is written only by the caller's own
thread, before it returns. Pages are read in parts, in the order they were asked for, so that a prefix arrives first. Where the
page cache can be read without waiting for the device, that thread reads from there and nothing is copied twice
(:mod:`lsmkv_tensor.vlog.cached`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from lsmkv_tensor.runtime.attempts import AttemptPool
from lsmkv_tensor.vlog.atonce import Found
from lsmkv_tensor.vlog.cached import LEAST_BYTES, Fetches
from lsmkv_tensor.vlog.staging import StagingPool
from lsmkv_tensor.vlog.when import ByDeadline, When

__all__ = ["PART_BYTES", "Deliverer", "Hurried", "read_by", "scatter"]

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

    def at_once(self, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]], when: When) -> Found:
        """What its caller's own thread finds without waiting too long for the device."""
        ...

    def fetcher(self, page_bytes: int) -> Fetches | None:
        """What brings its pages without a copy, if anything does."""
        ...

    @property
    def knows_all(self) -> bool:
        """Whether a page that the fetcher calls absent is."""
        ...


class Hurried(NamedTuple):
    """What came of a call."""

    delivered: list[bool]
    late: list[int]
    """The pages that are not there because of the deadline, by position."""
    copied: list[int]
    """The pages that came through memory of our own, by position."""


def read_by(
    reader: Deliverer, pool: AttemptPool, staging: StagingPool, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]],
    until: float,
) -> Hurried:  # fmt: skip
    """As ``get_into`` of a PageReader, but back at the moment ``until`` of the pool's clock.

    ``targets`` are not touched after this returns. A late page is False.

    I/O: as PageReader.get_into, once per PART_BYTES; pages that are taken from the page cache are read once more, from memory.
    """
    if not keys:
        return _NONE
    size = sum(map(len, targets[0]))
    verdicts, copied = reader.at_once(keys, targets, ByDeadline(pool, until))
    delivered = list(map(bool, verdicts))
    if None not in verdicts:
        reader.count(delivered, size)
        return Hurried(delivered, [], copied)
    left = [i for i, verdict in enumerate(verdicts) if verdict is None]
    reader.count([bool(verdict) for verdict in verdicts if verdict is not None], size)
    rest = _by_others(reader, pool, staging, [keys[i] for i in left], [targets[i] for i in left], until)
    for i, flag in zip(left, rest.delivered, strict=True):
        delivered[i] = flag
    return Hurried(delivered, [left[i] for i in rest.late], copied + [left[i] for i in rest.copied])


def _by_others(
    reader: Deliverer, pool: AttemptPool, staging: StagingPool, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]],
    until: float,
) -> Hurried:  # fmt: skip
    """Pages that are brought by threads that may be left."""
    size = sum(map(len, targets[0]))
    fetcher = reader.fetcher(size) if size >= LEAST_BYTES else None
    if fetcher is None:
        return _staged(reader, pool, staging, keys, targets, until)
    verdicts = _taken(fetcher, pool, keys, targets, until, size)
    left = [i for i, verdict in enumerate(verdicts) if verdict is None or not (verdict or reader.knows_all)]
    known = [verdict for verdict in verdicts if verdict or (verdict is False and reader.knows_all)]
    reader.count([bool(verdict) for verdict in known], size)
    rest = _staged(reader, pool, staging, [keys[i] for i in left], [targets[i] for i in left], until) if left else _NONE
    delivered = [bool(verdict) for verdict in verdicts]
    for i, flag in zip(left, rest.delivered, strict=True):
        delivered[i] = flag
    return Hurried(delivered, [left[i] for i in rest.late], [left[i] for i in rest.copied])


def _taken(
    fetcher: Fetches, pool: AttemptPool, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]], until: float, size: int
) -> list[bool | None]:
    """Pages from the page cache into the caller's memory, as far as there is time; see :func:`lsmkv_tensor.vlog.cached.take`."""
    step = max(PART_BYTES // size, 1)
    starts = range(0, len(keys), step)
    parts = [partial(fetcher.fetch, keys[start : start + step]) for start in starts]
    verdicts: list[bool | None] = []
    results = pool.results(parts, until, _nothing)
    try:
        for start, fetched in zip(starts, results, strict=False):
            verdicts += fetcher.take(fetched, targets[start : start + step])
    finally:
        results.close()  # here, not whenever it is collected
    return verdicts + [None] * (len(keys) - len(verdicts))


def _staged(
    reader: Deliverer, pool: AttemptPool, staging: StagingPool, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]],
    until: float,
) -> Hurried:  # fmt: skip
    """Pages through memory of our own."""
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
    late = list(range(len(delivered), len(keys)))
    delivered += [False] * len(late)
    reader.count(delivered, size)
    return Hurried(delivered, late, [i for i, there in enumerate(delivered) if there])


def scatter(page: memoryview, spans: Sequence[memoryview]) -> None:
    """Copy a page into its spans (NumPy lets go of the GIL meanwhile)."""
    source = np.frombuffer(page, np.uint8)
    at = 0
    for span in spans:
        if len(span):
            np.frombuffer(span, np.uint8)[:] = source[at : at + len(span)]
            at += len(span)


def _nothing() -> None:
    """There is no memory to take back."""


_NONE = Hurried([], [], [])
