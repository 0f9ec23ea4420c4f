"""The worker's role: read blocks into the paged cache, copy full ones out of it.

Both go on beside the steps of the engine. A request whose blocks are read waits, and nobody else can use these blocks, until they
are there and checked: so what could not be read is computed, and nothing is ever computed from it. Pages are read into memory of
the host by threads and brought into the cache between two steps. Full blocks are copied after the step that filled them (vLLM may
use their memory for something else in the next), and written by threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from lsmkv.env.clock import SystemClock
from lsmkv_tensor.adapters.holding import Holding, View
from lsmkv_tensor.adapters.jobs import DroppedError, Jobs
from lsmkv_tensor.adapters.vllm_connector.blocks import PagedBlocks
from lsmkv_tensor.adapters.vllm_connector.plan import Plan, RankPages, Save
from lsmkv_tensor.adapters.vllm_connector.settings import ConnectorSettings
from lsmkv_tensor.adapters.vllm_connector.statistics import COUNTERS
from lsmkv_tensor.errors import LsmError

__all__ = ["WorkerSide"]

Pages: TypeAlias = Any
"""A tensor of bytes [n, page_bytes]."""

COPY_BYTES = 64 << 20
"""Bytes of blocks that are copied at a time: a GPU needs as much memory beside its cache."""

_log = logging.getLogger(__name__)


class WorkerSide:
    """One rank. All calls come from one thread."""

    def __init__(
        self,
        settings: ConnectorSettings,
        member: str,
        blocks: PagedBlocks,
        pages: RankPages,
        *,
        reads: bool,
        writes: bool,
    ) -> None:
        """Open the rank's directory. InvalidArgumentError for settings that do not fit. I/O: as ``PageStore.open``."""
        self._blocks = blocks
        self._reads, self._writes = reads, writes
        self._clock = settings.options.clock or SystemClock()
        self._timeout_s = settings.options.io_timeout_s
        self._shutdown_s = settings.shutdown_s
        self._at_once = max(COPY_BYTES // blocks.page_bytes, 1)
        self.holding = Holding(
            settings.path, member, settings.options, on_conflict=settings.on_conflict, wait_s=settings.conflict_wait_s
        )
        try:
            self._view: Callable[[], View] = self.holding.view(pages.fields, pages.page_bytes)
        except BaseException:
            self.holding.close()
            raise
        most = max(settings.max_store_bytes // blocks.page_bytes, 1)
        self._jobs: Jobs[tuple[str, Any]] = Jobs("lsmkv-vllm", threads=settings.threads, max_store_pages=most)
        self._loading: dict[str, int] = {}
        """Requests whose blocks are read, and in how many parts still."""
        self._arrived: set[str] = set()
        self._failed: set[int] = set()
        self.counts = dict.fromkeys(COUNTERS, 0)
        """What happened so far, by the names of the metrics."""
        self._told = dict(self.counts)

    # steps

    def load(self, plan: Plan) -> None:
        """Have blocks read. I/O: in the background, as ``Namespace.get_into``."""
        if plan.forget:
            self._forget()
        for load in plan.loads:
            parts = list(_parts(range(len(load.keys)), self._at_once))
            self._loading[load.request] = len(parts)
            for part in parts:
                self._submit_load(load.request, [load.keys[i] for i in part], [load.blocks[i] for i in part])

    def save(self, plan: Plan) -> None:
        """Copy what the step has filled, and have it written. I/O: in the background, as ``Namespace.put_many``."""
        for chain in plan.used:
            self._jobs.submit("load", len(chain), partial(self._use, chain), lambda _: ("used", 0))
        for save in plan.saves:
            if self._writes:
                self._save(save)

    def arrived(self) -> set[str]:
        """The requests whose blocks have been read since the last call, or could not be. I/O: none."""
        self._collect()
        found, self._arrived = self._arrived, set()
        return found

    def failed(self) -> set[int]:
        """The blocks that could not be read since the last call. I/O: none."""
        found, self._failed = self._failed, set()
        return found

    def gained(self) -> dict[str, int]:
        """What the counters gained since the last call. I/O: none."""
        self._collect()
        found = {name: n - self._told[name] for name, n in self.counts.items() if n != self._told[name]}
        self._told.update(self.counts)
        return found

    def settle(self) -> None:
        """Wait until everything copied so far is written. I/O: theirs."""
        self._jobs.wait_idle()
        self._collect()

    def close(self) -> None:
        """Write what waits, for ``shutdown_s`` seconds, and end. I/O: as ``PageStore.close``."""
        self.holding.end(self._jobs, self._shutdown_s)
        self._collect()

    # reading

    def _submit_load(self, request: str, keys: Sequence[bytes], blocks: Sequence[int]) -> None:
        """Have pages read into memory of the host, by ``io_timeout_s`` from now."""
        until = None if self._timeout_s is None else self._clock.monotonic() + self._timeout_s
        nothing = ("loaded", (request, blocks, None, [False] * len(keys)))

        def read() -> tuple[str, Any]:
            """Which came, on a thread of ours."""
            reader = self._view().reader
            if reader is None:
                return nothing
            pages = self._blocks.blank(len(keys))
            left = None if until is None else max(until - self._clock.monotonic(), 0.0)
            return "loaded", (request, blocks, pages, reader.get_into(keys, pages, left))

        def failed(error: Exception) -> tuple[str, Any]:
            """None came."""
            _log.warning("lsmkv: loading %d pages failed: %s: %s", len(keys), type(error).__name__, error)
            return nothing

        if not self._reads or not self._jobs.submit("load", len(keys), read, failed):
            self._jobs.report(nothing)

    def _note_load(self, request: str, blocks: Sequence[int], pages: Pages | None, flags: Sequence[bool]) -> None:
        """Pages of a request were read: bring them into the cache; those that were not are computed."""
        came = [i for i, flag in enumerate(flags) if flag]
        try:
            if came and pages is not None:
                self._blocks.write([blocks[i] for i in came], pages if len(came) == len(flags) else pages[came])
        except Exception as error:  # noqa: BLE001 - the engine computes what it did not get
            _log.warning("lsmkv: %d pages could not be brought into the cache: %s: %s", len(came), type(error).__name__, error)
            came = []
        self._failed.update(set(blocks) - {blocks[i] for i in came})
        self.counts["loaded_pages"] += len(came)
        self.counts["missing_pages"] += len(flags) - len(came)
        if len(came) < len(flags) and self.holding.store is not None:
            try:
                self.counts["corrupt_pages"] = self.holding.store.stats().corrupt_pages
            except (LsmError, OSError) as error:
                _log.warning("lsmkv: why pages are missing cannot be told: %s", error)
        self._loading[request] -= 1
        if not self._loading[request]:
            del self._loading[request]
            self._arrived.add(request)

    def _use(self, chain: Sequence[bytes]) -> tuple[str, int]:
        """Let retention hear that these pages are in use."""
        reader = self._view().reader
        return "used", reader.contains_prefix(chain) if reader is not None else 0

    def _forget(self) -> None:
        """Drop every page, those on their way too."""
        try:
            self.settle()
            _log.info("lsmkv: %d pages were dropped, vLLM has reset its caches", self.holding.forget())
        except (LsmError, OSError) as error:
            _log.error("lsmkv: the pages could not be dropped: %s", error)

    # writing

    def _save(self, save: Save) -> None:
        """Copy the pages and have them written, some at a time."""
        parents = [save.parent, *save.keys[:-1]]
        for part in _parts(range(len(save.keys)), self._at_once):
            keys, n = [save.keys[i] for i in part], len(part)
            if self.holding.state != "own" or not self._jobs.has_room(n):
                self.counts["declined_pages"] += n
                if not self._jobs.pending:  # a follower looks whether it can have the directory, not in the step
                    self._jobs.submit("store", 0, lambda: ("claimed", self.holding.claim()), lambda _: ("claimed", 0))
                continue
            try:
                pages = self._blocks.read([save.blocks[i] for i in part])
            except Exception as error:  # noqa: BLE001 - the engine goes on without
                self._note_failure(n, error)
                continue
            above = [parents[i] for i in part]
            if not self._jobs.submit("store", n, partial(self._store, keys, pages, above), partial(self._not_stored, n)):
                self.counts["declined_pages"] += n

    def _store(self, keys: Sequence[bytes], pages: Pages, parents: Sequence[bytes | None]) -> tuple[str, int]:
        """Write pages, on a thread of ours; results are counted by kind."""
        writer = self._view().writer if self.holding.claim() else None
        if writer is None:
            return "declined_pages", len(keys)
        unwanted: set[int] = set()
        flags = writer.put_many(keys, pages, parents, wait=True, unwanted=unwanted)
        self._jobs.report(("declined_pages", len(unwanted)))
        self._jobs.report(("failed_pages", len(flags) - sum(flags) - len(unwanted)))
        return "stored_pages", sum(flags)

    def _not_stored(self, n: int, error: Exception) -> tuple[str, int]:
        """They were not."""
        if isinstance(error, DroppedError):
            return "dropped_pages", n
        self._note_failure(0, error)
        return "failed_pages", n

    def _note_failure(self, n: int, error: Exception) -> None:
        """Say why."""
        self.counts["failed_pages"] += n
        _log.warning("lsmkv: pages were not stored: %s: %s", type(error).__name__, error)

    def _collect(self) -> None:
        """Take what the threads have done."""
        for kind, n in self._jobs.finished():
            if kind == "loaded":
                self._note_load(*n)
            elif kind in self.counts:
                self.counts[kind] += n


def _parts(whole: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Pieces of at most ``size``."""
    return (whole[at : at + size] for at in range(0, len(whole), size))
