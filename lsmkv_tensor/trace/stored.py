"""A trace against a real page store, through its public calls, as an engine would make them.

Every block of the trace becomes a page of made-up bytes. For each request: ask how long a prefix is stored, read it, store what
was missing. Pages may have several sizes: then each conversation belongs to one of as many namespaces, by chance from a seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lsmkv.env.clock import Clock, SystemClock
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.pagestats import PageStoreStats
from lsmkv_tensor.retention.budget import bytes_a_day
from lsmkv_tensor.retention.quota import divide
from lsmkv_tensor.trace.blocks import Counts, Upstream, prints_of
from lsmkv_tensor.trace.played import TraceClock
from lsmkv_tensor.trace.requests import Ids, Request, Trace
from lsmkv_tensor.trace.rows import Row
from lsmkv_tensor.trace.run import named
from lsmkv_tensor.vlog.layout import BLOCK, MAX_SEGMENT_BYTES

__all__ = ["KEY_BYTES", "by_size", "replay_store"]

KEY_BYTES = 28
SEGMENTS = 64
SEGMENT_PAGES = 8
"""Pages of the largest size that a segment holds at least."""


def by_size(trace: Trace, page_bytes: Sequence[int], seed: int = 0) -> tuple[Trace, NDArray[np.int64]]:
    """Give each conversation one of the sizes; the trace with its blocks renumbered, and the bytes of each block.

    A conversation is known by its second block: the first is often everybody's. Blocks that conversations of different sizes
    share become several.
    """
    numbers: dict[tuple[int, int], int] = {}
    requests: list[Request] = []
    sizes: list[int] = []
    for request in trace.requests:
        names = request.blocks.tolist()
        mixed = int(prints_of(np.array([names[min(1, len(names) - 1)] + seed]))[0]) if names else 0
        which = (mixed >> 32) % len(page_bytes)
        for name in names:
            if (which, name) not in numbers:
                numbers[which, name] = len(numbers)
                sizes.append(page_bytes[which])
        requests.append(request._replace(blocks=np.array([numbers[which, name] for name in names], dtype=np.int64)))
    return Trace(requests, len(numbers)), np.array(sizes, dtype=np.int64)


def replay_store(
    trace: Trace,
    path: str,
    *,
    capacity: float = 0.1,
    page_bytes: int | Sequence[int] = 16 << 10,
    upstream_blocks: int = 0,
    options: StoreOptions | None = None,
    dwpd: float | None = None,
    clock: Clock | None = None,
    progress: Callable[[Counts], None] | None = None,
    seed: int = 0,
) -> Row:
    """Replay a trace against the page store at ``path``, which is created; what it did.

    ``capacity``: bytes the pages may take, as a part of the bytes of all distinct blocks (0 to 1). ``options``: of the store;
    its capacity is set here (index and spare segment come on top), its segments are scaled unless ``segment_bytes`` is given.
    Its clock follows the trace, so that a day of a write budget is a day of requests, unless ``options`` name a clock.
    ``dwpd``: the write budget as so many times the bytes of pages a day, instead of ``options.write_bytes_per_day``.
    ``seed``: which conversation has which page size.
    Raises InvalidArgumentError, and what the store raises.

    I/O: all of the trace's pages that are not hits are written once.
    """
    kinds = [page_bytes] if isinstance(page_bytes, int) else list(page_bytes)
    if not 0 < capacity <= 1:
        raise InvalidArgumentError(f"capacity = {capacity!r}: must be a part of the distinct blocks, above 0 and at most 1")
    if not kinds or min(kinds) < KEY_BYTES:
        raise InvalidArgumentError(f"page_bytes = {page_bytes!r}: must be at least {KEY_BYTES} each")
    trace, sizes = by_size(trace, kinds, seed)
    options = options if options is not None else StoreOptions()
    bytes_of_pages = int(capacity * int(_padded(sizes).sum()))
    segment = options.segment_bytes
    if segment is None:  # scaled as the pages are: a store of real size has 64 segments or more
        segment = max(bytes_of_pages // SEGMENTS, SEGMENT_PAGES * (max(kinds) + BLOCK))
        segment = min(max(segment, 16 * BLOCK), MAX_SEGMENT_BYTES) & -BLOCK
    if dwpd is not None:
        options = replace(options, write_bytes_per_day=bytes_a_day(bytes_of_pages, dwpd))
    options = replace(options, capacity_bytes=physical_capacity(bytes_of_pages, segment), segment_bytes=segment)
    clock = clock if clock is not None else SystemClock()
    played = TraceClock(clock)
    options = options if options.clock is not None else replace(options, clock=played)
    counts = Counts()
    upstream = Upstream(upstream_blocks)
    began = clock.monotonic()
    with PageStore.open(path, options=options) as store:
        engine = _Engine(store, sizes, clock)
        for request in trace.requests:
            blocks = request.blocks
            played.reach(request.at_s)
            counts.requests += 1
            counts.references += len(blocks)
            above = upstream.use(blocks)
            counts.upstream_hits += above
            counts.asked += len(blocks) - above
            if len(blocks):
                engine.serve(blocks, above, counts)
            if progress is not None:
                progress(counts)
        stats = store.stats()
    if engine.wrong:
        raise AssertionError(f"{engine.wrong} pages did not hold what was stored under their key")
    seconds = clock.monotonic() - began
    share = bytes_of_pages / max(int(_padded(sizes).sum()), 1)
    return _row(counts, stats, options, share, bytes_of_pages, upstream_blocks, seconds, engine.times, sizes)


def physical_capacity(bytes_of_pages: int, segment_bytes: int) -> int:
    """The ``capacity_bytes`` of a store whose pages may take so many bytes: index and spare segment on top, and a little."""
    low, high = bytes_of_pages, 4 * bytes_of_pages + 8 * segment_bytes + (64 << 20)
    while high - low > 4096:
        middle = (low + high) // 2
        try:
            enough = divide(middle, segment_bytes, None).page_bytes >= bytes_of_pages
        except InvalidArgumentError:
            enough = False
        low, high = (low, middle) if enough else (middle, high)
    return high


def _padded(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes that pages take in segments."""
    return (sizes + (BLOCK - 1)) & -BLOCK


def _row(
    counts: Counts,
    stats: PageStoreStats,
    options: StoreOptions,
    share: float,
    capacity: int,
    upstream: int,
    seconds: float,
    times: dict[str, list[float]],
    sizes: NDArray[np.int64],
) -> Row:
    """What happened, as a row."""
    percentiles = {
        f"{what}_p{p}_ms": float(np.percentile(found, p)) * 1000 if found else 0.0
        for what, found in times.items()
        for p in (50, 99)
    }
    stored = stats.put_pages * float(_padded(sizes).mean()) if len(sizes) else 0.0
    return Row(
        mode="store",
        eviction=options.eviction,
        admission=named(options.admission, options.controller),
        capacity_share=share,
        capacity=capacity,
        upstream_blocks=upstream,
        **counts.asking(),
        written=stats.put_pages,
        declined=stats.declined_pages + stats.refused_pages,
        evicted=stats.evicted_pages,
        ghost_hits=0,
        written_bytes=stats.written_bytes,
        moved_bytes=stats.gc_moved_bytes,
        gc_write_amplification=1 + stats.gc_moved_bytes / stored if stored else 0.0,
        physical_bytes=stats.physical_bytes,
        seconds=seconds,
        **percentiles,
    )


class _Engine:
    """Asks, reads and stores as an engine does, and measures the calls."""

    def __init__(self, store: PageStore, sizes: NDArray[np.int64], clock: Clock) -> None:
        self._sizes = sizes
        self._clock = clock
        self._spaces = {int(size): _namespace(store, int(size)) for size in np.unique(sizes)}
        self._scratch = np.zeros(0, dtype=np.uint8)
        self.times: dict[str, list[float]] = {"probe": [], "get": [], "put": []}
        self.wrong = 0
        """Pages that did not hold what was stored under their key."""

    def serve(self, blocks: Ids, above: int, counts: Counts) -> None:
        """One request whose first ``above`` blocks the engine has itself."""
        keys = [_key(int(block)) for block in blocks]
        size = int(self._sizes[blocks[0]])
        space = self._spaces[size]
        asked = keys[above:]
        with self._timed("probe"):
            hits = space.contains_prefix(asked)
        read = 0
        if hits:
            part = asked[:hits]
            views = self._views(hits, size)
            with self._timed("get"):
                flags = space.get_into(part, views)
            for flag, view, key in zip(flags, views, part, strict=True):
                self.wrong += flag and bytes(view[:KEY_BYTES]) != key
            read = hits if all(flags) else flags.index(False)
        counts.hits += read
        start = above + read
        part = keys[start:]
        if part:  # in one call: two would look like two requests, and what comes before would count twice
            views = self._views(len(part), size)
            for view, key in zip(views, part, strict=True):
                view[:KEY_BYTES] = key
            parents = [None if start + i == 0 else keys[start + i - 1] for i in range(len(part))]
            with self._timed("put"):
                space.put_many(part, views, parents)

    def _views(self, count: int, size: int) -> list[memoryview]:
        """Buffers for so many pages."""
        if len(self._scratch) < count * size:
            self._scratch = np.zeros(count * size, dtype=np.uint8)
        whole = memoryview(self._scratch)
        return [whole[at * size : (at + 1) * size] for at in range(count)]

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        """Note how long the body takes."""
        began = self._clock.monotonic()
        yield
        self.times[what].append(self._clock.monotonic() - began)


def _namespace(store: PageStore, size: int) -> Namespace:
    """The namespace of pages of one size."""
    return store.namespace({"replay": "trace", "page_bytes": size}, size)


def _key(block: int) -> bytes:
    """The key of a block: a digest, as engines make them."""
    return hashlib.sha256(block.to_bytes(8, "little")).digest()[:KEY_BYTES]
