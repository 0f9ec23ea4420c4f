"""The pages of one of SGLang's pools in the store: keys and memory in, flags out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv.env.clock import Clock, SystemClock
from lsmkv_tensor.adapters.holding import Holding
from lsmkv_tensor.adapters.hostpool import HostPages
from lsmkv_tensor.adapters.sglang.config import MOST_TIMEOUT_S, SglangConfig, StorageConfig, rank_fields
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.offering import PagesTold
from lsmkv_tensor.spans import PageBuffers, PageSpans

__all__ = ["FLAT", "PIECES", "PoolStore", "Put"]

Order: TypeAlias = Literal["pieces", "flat"]
PIECES: Order = "pieces"
FLAT: Order = "flat"
"""Whether a page's bytes are its pieces in the pool's memory, or the tensor that the pool makes of it: another order."""

PART_BYTES = 32 << 20
"""Bytes of pages that are put at a time; between two parts a call sees whether its time is over."""
SPARE = 0.9
"""Part of ``io_timeout_s`` after which no further part is begun."""
MARK = b"\1"
"""What is stored for a page of a pool without data."""
DIRECT_ALIGNMENT = 4096


class Put(NamedTuple):
    """What became of pages that were offered."""

    flags: list[bool]
    declined: int
    """How many flags are True although nothing was stored: nobody wanted the page."""


class Got(NamedTuple):
    """What became of pages that were asked for."""

    flags: list[bool]
    copies: int = 0
    """Copies of pages that this process made on the way to the pool, of all that came."""


class PoolStore:
    """One pool's pages. Any thread may call anything."""

    def __init__(
        self,
        holding: Holding,
        config: SglangConfig,
        ranks: StorageConfig,
        name: str,
        host: HostPages | None,
        *,
        order: Order = PIECES,
        page_bytes: int | None = None,
        told: PagesTold | None = None,
    ) -> None:
        """``host``: the pool; None if it is not known. ``page_bytes``: where that does not follow from it.

        ``told``: called by the store's worker with what became of pages that waited to be written.
        """
        self.holding = holding
        self._told = told
        self.host = host
        whole = order == FLAT or host is None or not host.pieces
        self.empty = host is not None and host.empty
        size = page_bytes if page_bytes is not None else host.page_bytes if host is not None else 0
        self.page_bytes = len(MARK) if self.empty else size
        options = config.options
        self._clock: Clock = options.clock if options.clock is not None else SystemClock()
        self._timeout_s = options.io_timeout_s
        queued = options.put_queue_bytes >= max(self.page_bytes, 1)
        self._at_once = None if queued or not options.put_queue_bytes else True
        """A page that is larger than the whole queue is written before its call returns."""
        self.write_copies = int(whole) + int(queued or not (whole or (host is not None and host.aligned(DIRECT_ALIGNMENT))))
        """Copies of a page between the pool and the disk: into a flat tensor, into the queue or into aligned memory."""
        self._whole = whole
        fields: dict[str, object] = {
            "engine": "sglang",
            "pool": name,
            "order": FLAT if whole else PIECES,
            "model": ranks.model_name,
            "revision": config.revision,
            "ranks": rank_fields(ranks, name),
            **({} if host is None else host.fields()),
        }
        self._view = holding.view(fields, self.page_bytes, codec=config.codec)

    def prefix(self, keys: Sequence[str]) -> int:
        """How many pages from the first on are there. I/O: as ``Namespace.contains_prefix``."""
        reader = self._view().reader
        return 0 if reader is None else reader.contains_prefix(keys)

    def held(self, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Which pages are there. I/O: as ``Namespace.contains``."""
        reader = self._view().reader
        return np.zeros(len(keys), np.bool_) if reader is None or not keys else reader.contains(keys)

    def get(self, keys: Sequence[str], host_indices: Any) -> Got:  # noqa: ANN401  # a tensor
        """Pages into the pool's memory; which came. I/O: as ``Namespace.get_into``."""
        host = self._host()
        if host.pieces and not self.empty:
            return self.read(keys, host.memory(host_indices, len(keys)))
        slots = host.slots(host_indices, len(keys))
        if self.empty:
            return Got([bool(flag) for flag in self.held(keys)])
        pages = host.blanks(len(keys))
        got = self.read(keys, pages)
        host.put_back(slots, pages, got.flags)
        return got

    def read(self, keys: Sequence[str], buffers: PageBuffers) -> Got:
        """Pages into these buffers, or into whole pages that are then brought into the pool; which came.

        I/O: as ``Namespace.get_into``.
        """
        reader = self._view().reader
        if reader is None:
            return Got([False] * len(keys))
        copied: set[int] = set()
        flags = reader.get_into(keys, buffers, copied=copied)
        return Got(flags, len(copied) + sum(flags) * int(self._whole))

    def memory(self, host_indices: Any, pages: int) -> PageBuffers:  # noqa: ANN401  # a tensor
        """The pages in the pool's memory, or copies of them."""
        host = self._host()
        if host.pieces and not self.empty:
            return host.memory(host_indices, pages)
        slots = host.slots(host_indices, pages)
        return [MARK] * pages if self.empty else host.copied(slots)

    def put(self, keys: Sequence[str], buffers: PageBuffers, above: str | None) -> Put:
        """Store pages in their order, as many as the time is enough for; ``above``: the key of the page before the first.

        A process that has no directory of its own stores nothing, and says that all is well: SGLang would give up the rest of
        the operation, and ask again for nothing. I/O: as ``Namespace.put_many``.
        """
        writer = self._view().writer if self.holding.claim() else None
        if writer is None:
            return Put([True] * len(keys), len(keys))
        began, flags, refused = self._clock.monotonic(), [False] * len(keys), 0
        parents = [above, *keys[:-1]]
        if not self._at_once and writer.queue_bytes:
            seconds = SPARE * (MOST_TIMEOUT_S if self._timeout_s is None else self._timeout_s)
            return Put(writer.offer(keys, buffers, parents, told=self._told, wait_s=seconds, ask_first=False).flags, 0)
        step = max(PART_BYTES // self.page_bytes, 1)
        for start in range(0, len(keys), step):
            left = None if self._timeout_s is None else self._timeout_s * SPARE - (self._clock.monotonic() - began)
            if left is not None and left <= 0:
                break
            part = slice(start, min(start + step, len(keys)))
            unwanted: set[int] = set()
            stored = writer.put_many(keys[part], _part(buffers, part), parents[part], wait=self._at_once, unwanted=unwanted)
            refused += len(unwanted)
            for i in unwanted:
                stored[i] = True
            flags[part] = stored
            if not all(stored):
                break
        return Put(flags, refused)

    def _host(self) -> HostPages:
        """The pool. InvalidArgumentError if it was not registered."""
        if self.host is None:
            msg = "no host pool was registered for these slots"
            raise InvalidArgumentError(msg)
        return self.host


def _part(buffers: Any, part: slice) -> PageBuffers:  # noqa: ANN401  # PageBuffers
    """Some of the pages."""
    if isinstance(buffers, PageSpans):
        return PageSpans(buffers.addresses[part], buffers.sizes, buffers.owner)
    return buffers[part]
