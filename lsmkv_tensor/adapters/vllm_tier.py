"""vLLM: a secondary tier of its offloading connector in a page store.

::

    --kv-transfer-config '{"kv_connector": "OffloadingConnector", "kv_role": "kv_both", "kv_connector_extra_config": {
        "spec_name": "TieringOffloadingSpec", "cpu_bytes_to_use": 10737418240, "blocks_per_chunk": 16,
        "secondary_tiers": [{"type": "LsmkvTier", "module_path": "lsmkv_tensor.adapters.vllm_tier",
                             "path": "/nvme/kv", "max_bytes": 1000000000000}]}}'

Written for vLLM 0.33. Every call comes from the scheduler and returns at once: transfers are done by threads of the tier, between
the primary tier's memory and the disk; what is stored is asked for in the background, together for a whole step. A load delivers
each page that is whole, wherever the bad one stands; a key that could not be loaded is a miss until its request has ended, or the
request would ask for ever.

A store is finished when its chunks are copied into the queue of the page store (``put_queue_bytes``): vLLM may use its memory
again, and they can be found and loaded. A worker writes them. Small stores are copied where they are submitted, which takes no
longer than to have a thread do it.

A page is a chunk of the primary tier; its key is vLLM's block hash with the number of the cache group. The namespace holds what
vLLM's own file tier folds into its path (model, dtype, groups, parallel sizes and rank), and the chunk's size.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from lsmkv.env.clock import SystemClock
from lsmkv_tensor.adapters.given import QUEUE_BYTES, check_counts, check_given, check_path, check_seconds, store_options, whole
from lsmkv_tensor.adapters.holding import Conflict, Holding
from lsmkv_tensor.adapters.jobs import DroppedError, Jobs
from lsmkv_tensor.adapters.verdicts import Verdicts
from lsmkv_tensor.adapters.versions import SUPPORTED, require_version
from lsmkv_tensor.adapters.vllm_memory import TierMemory
from lsmkv_tensor.adapters.vllm_records import Base, job_result, lookup_result, request_context, vllm_locality
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.runtime.putpieces import Verdict

__all__ = ["LsmkvTier"]

Spec: TypeAlias = Any
"""vLLM's ``OffloadingSpec``."""
Request: TypeAlias = Any
"""vLLM's ``ReqContext``."""
Job: TypeAlias = Any
"""vLLM's ``TransferJob``."""
Result: TypeAlias = Any
"""vLLM's ``JobResult``."""

IO_TIMEOUT_S = 30.0
"""Nothing waits for a transfer but its request; a disk that hangs longer is left alone."""
AT_ONCE_BYTES = 1 << 20
"""Bytes of a store that the scheduler's own thread copies: 0.15 ms."""
SHUTDOWN_S = 3.0
"""vLLM kills its engine 5 s after it asked it to end."""

_log = logging.getLogger(__name__)


class LsmkvTier(Base):  # type: ignore[misc]  # vLLM's class where it is installed
    """vLLM's tier over a page store; made by vLLM. Its calls come one at a time, from the thread that has vLLM's lock.

    ``path``: directory under which each engine has its own. ``max_bytes``: capacity of each. ``on_conflict``,
    ``conflict_wait_s``: what to do when that directory cannot be had (:mod:`lsmkv_tensor.adapters.holding`). ``threads``: that
    move pages. ``max_store_pages``: pages that may wait to be stored; more are refused, and vLLM's back-pressure hears of it.
    ``put_queue_bytes`` (512 MiB unless said): bytes of pages that may wait to be written, in memory of the page store; 0: a
    store is finished when it is written. ``shutdown_s``: seconds that pages which wait then are given; the rest is dropped.
    ``revision``: what the model's name does not tell. Anything else is a field of StoreOptions.

    Raises InvalidArgumentError, ImportError (another version of vLLM).

    I/O: as ``PageStore.open``.
    """

    def __init__(
        self,
        offloading_spec: Spec,
        primary_kv_view: memoryview,
        tier_type: str,
        backpressure_detector: object = None,
        *,
        path: str | None = None,
        max_bytes: int | None = None,
        locality: str | None = None,
        revision: str | None = None,
        on_conflict: Conflict = "wait",
        conflict_wait_s: float = 5.0,
        threads: int = 2,
        max_store_pages: int = 4096,
        shutdown_s: float = SHUTDOWN_S,
        **options: Any,  # noqa: ANN401  # fields of StoreOptions
    ) -> None:
        if Base is not object:
            require_version("vllm", *SUPPORTED["vllm"])
            super().__init__(offloading_spec, primary_kv_view, tier_type, backpressure_detector)
        self.tier_type = tier_type
        check_given("LsmkvTier", 'to the tier, beside "type"', path=path, max_bytes=max_bytes)
        self.locality = vllm_locality(locality)
        check_counts("LsmkvTier", max_bytes=whole(max_bytes), threads=threads, max_store_pages=max_store_pages)
        check_seconds("LsmkvTier", conflict_wait_s=conflict_wait_s, shutdown_s=shutdown_s)
        if not isinstance(revision, str | None):
            msg = f"LsmkvTier: revision = {revision!r}: must be a text"
            raise InvalidArgumentError(msg)
        root = check_path("LsmkvTier", path)
        chosen = store_options(
            "LsmkvTier", options, capacity_bytes=whole(max_bytes), io_timeout_s=IO_TIMEOUT_S, put_queue_bytes=QUEUE_BYTES
        )
        self._clock = chosen.clock or SystemClock()
        self._memory = TierMemory(primary_kv_view)
        config = offloading_spec.config
        member = f"rank{config.parallel.rank}-dp{config.parallel.data_parallel_index}"
        self.holding = Holding(root, member, chosen, on_conflict=on_conflict, wait_s=conflict_wait_s)
        try:
            self._view = self.holding.view(namespace_fields(offloading_spec, revision), self._memory.page_bytes)
        except BaseException:
            self.holding.close()
            raise
        self._jobs: Jobs[tuple[str, Any]] = Jobs("lsmkv-vllm", threads=threads, max_store_pages=max_store_pages)
        self._shutdown_s = shutdown_s
        self._verdicts = Verdicts()
        self._loads: dict[int, list[bytes]] = {}
        self._results: list[Result] = []
        self._written: deque[Sequence[Verdict]] = deque()
        """What became of pages that waited to be written; appended by the store's worker."""
        at_once = chosen.put_queue_bytes >= self._memory.page_bytes and chosen.io_timeout_s is not None
        self._at_once_pages = AT_ONCE_BYTES // self._memory.page_bytes if at_once else 0
        self._wait_s = IO_TIMEOUT_S if chosen.io_timeout_s is None else chosen.io_timeout_s
        self.counts = dict.fromkeys(_METRICS, 0)
        """What happened so far, by the names of the metrics."""
        self._told = dict(self.counts)

    # asking

    def lookup(self, key: bytes, req_context: Request) -> Any:  # noqa: ANN401  # vLLM's LookupResult
        """HIT, MISS, or RETRY at the next step; at once if the store knows of it. I/O: none here."""
        self._collect()
        page = bytes(key)
        known = self._verdicts.look(page, req_context.req_id, lambda: self._view().knows([page]))
        return lookup_result("RETRY" if known is None else "HIT" if known else "MISS")

    def on_schedule_end(self, context: object = None) -> None:
        """Have the keys of this step asked for. I/O: in the background, as ``Namespace.contains``."""
        del context
        self._collect()
        keys = self._verdicts.take()
        if keys:
            ask = lambda: ("asked", (keys, self._held(keys)))  # noqa: E731  # one line says it
            if not self._jobs.submit("load", len(keys), ask, lambda _: ("asked", (keys, [False] * len(keys)))):
                self._verdicts.learn(keys, [False] * len(keys))

    def on_new_request(self, req_context: Request) -> Any:  # noqa: ANN401  # vLLM's RequestOffloadingContext
        """No wishes of its own."""
        del req_context
        return request_context()

    def on_request_finished(self, req_context: Request) -> None:
        """What is known of its keys may be forgotten."""
        self._verdicts.finished(req_context.req_id)

    def touch(self, keys: Collection[bytes], req_context: Request) -> None:
        """They were used in a tier above. I/O: in the background, as ``Namespace.contains_prefix``."""
        chain = _in_order(keys, range(len(keys)), req_context)[0]
        reader = self._view().reader
        if chain and reader is not None:
            self._jobs.submit("load", len(chain), lambda: ("touched", reader.contains_prefix(chain)), lambda _: ("touched", 0))

    # transfers

    def submit_store(self, job_metadata: Job) -> None:
        """Store chunks of the primary tier that are not there yet. I/O: in the background, as ``Namespace.put_many``."""
        keys, chunks = _in_order(job_metadata.keys, job_metadata.chunk_ids, job_metadata.req_context)
        job = job_metadata.job_id
        store, accepted = partial(self._store, job, keys, chunks), set[int]()
        if len(keys) <= self._at_once_pages and not self._jobs.storing:
            try:
                told = self._store(job, keys, chunks, accepted, wait_s=0.0)
            except Exception as error:  # noqa: BLE001 - as in a thread: the engine is told
                told = ("failed", (job, len(keys), error))
            if told[0] != "stored" or all(told[1][2]):  # else the queue is full: a thread waits for room
                self._jobs.report(told)
                return
        left = len(keys) - len(accepted)
        if not self._jobs.submit("store", len(keys), partial(store, accepted), lambda error: ("failed", (job, left, error))):
            self._jobs.report(("failed", (job, left, None)))

    def submit_load(self, job_metadata: Job) -> None:
        """Load chunks into the primary tier. I/O: in the background, as ``Namespace.get_into``."""
        keys, chunks = list(map(bytes, job_metadata.keys)), [int(chunk) for chunk in job_metadata.chunk_ids]
        job = job_metadata.job_id

        def load() -> tuple[str, Any]:
            """Which came."""
            began = self._clock.monotonic()
            reader = self._view().reader
            flags = [False] * len(keys) if reader is None else reader.get_into(keys, self._memory.spans(chunks))
            return "loaded", (job, keys, flags, self._clock.monotonic() - began)

        def failed(_: Exception | None) -> tuple[str, Any]:
            """None came."""
            return "loaded", (job, keys, [False] * len(keys), 0.0)

        if not self._jobs.submit("load", len(keys), load, failed):
            self._jobs.report(failed(None))

    def get_finished_jobs(self) -> Iterable[Result]:
        """The results since the last call. I/O: none."""
        self._collect()
        found, self._results = self._results, []
        return found

    def has_pending_work(self) -> bool:
        """Whether a transfer is under way or not told yet."""
        return bool(self._results) or self._jobs.pending

    def drain_jobs(self) -> None:
        """Wait until every transfer has ended: after that nothing touches the primary tier. I/O: theirs."""
        self._jobs.wait_idle()
        self._collect()

    def shutdown(self) -> None:
        """Do what was submitted, for ``shutdown_s`` seconds, and end the threads and the store. I/O: as ``PageStore.close``."""
        self.counts["dropped_pages"] += self.holding.end(self._jobs, self._shutdown_s)
        self._collect()

    # what vLLM reports

    @classmethod
    def build_metric_definitions(cls, extra_config: Mapping[str, Any]) -> dict[str, Any]:
        """The tier's counters, as vLLM's ``OffloadingCounterMetadata``."""
        del extra_config
        from vllm.v1.kv_offload.base import OffloadingCounterMetadata  # noqa: PLC0415  # only vLLM asks

        return {f"vllm:lsmkv_{name}": OffloadingCounterMetadata(documentation=text) for name, text in _METRICS.items()}

    def get_stats(self) -> Any:  # noqa: ANN401  # vLLM's OffloadingConnectorStats
        """What the counters gained since the last call; None if nothing. I/O: none."""
        self._collect()
        gained = {name: n - self._told[name] for name, n in self.counts.items() if n != self._told[name]}
        if not gained or Base is object:
            return None
        from vllm.distributed.kv_transfer.kv_connector.v1.offloading.metrics import (  # noqa: PLC0415  # only with vLLM
            OffloadingConnectorStats,
        )

        self._told.update(self.counts)
        stats = OffloadingConnectorStats()
        for name, n in gained.items():
            stats.increase_counter(f"vllm:lsmkv_{name}", n)
        return stats

    # helpers

    def _store(
        self, job: int, keys: list[bytes], chunks: list[int], accepted: set[int], wait_s: float | None = None
    ) -> tuple[str, Any]:
        """Store chunks or have them written; ``accepted`` gains those that wait now. ``wait_s``: for room in the queue."""
        began = self._clock.monotonic()
        writer = self._view().writer if self.holding.claim() else None
        if writer is None:
            return "declined", (job, len(keys))
        parents, memory = [None, *keys[:-1]], self._memory.spans(chunks)
        unwanted: set[int] = set()
        if writer.queue_bytes >= self._memory.page_bytes:
            wait_s = self._wait_s if wait_s is None else wait_s
            flags, new = writer.offer(keys, memory, parents, told=self._note_written, wait_s=wait_s, ask_first=False)
            accepted |= new
        else:
            flags = writer.put_many(keys, memory, parents, wait=True, unwanted=unwanted)
        return "stored", (job, keys, flags, unwanted, len(accepted), self._clock.monotonic() - began)

    def _note_written(self, keys: Sequence[bytes], verdicts: Sequence[Verdict]) -> None:
        """These waited to be written; called by the store's worker."""
        del keys
        self._written.append(verdicts)

    def _held(self, keys: Sequence[bytes]) -> list[bool]:
        """Which pages are there."""
        reader = self._view().reader
        return [False] * len(keys) if reader is None else [bool(flag) for flag in reader.contains(keys)]

    def _collect(self) -> None:
        """Take what the threads have done."""
        while self._written:
            verdicts = self._written.popleft()
            self.counts["stored_pages"] += verdicts.count(True)
            self.counts["declined_pages"] += verdicts.count(None)
            self.counts["failed_pages"] += verdicts.count(False)
        for kind, what in self._jobs.finished():
            if kind == "asked":
                self._verdicts.learn(*what)
            elif kind == "stored":
                self._note_stored(*what)
            elif kind == "loaded":
                self._note_loaded(*what)
            elif kind == "declined":
                self.counts["declined_pages"] += what[1]
                self._results.append(job_result(what[0], success=False))
            elif kind == "failed":
                dropped = isinstance(what[2], DroppedError)
                self.counts["failed_pages"] += 0 if dropped else what[1]
                self._results.append(job_result(what[0], success=False))
                if what[2] is not None and not dropped:
                    _log.warning("lsmkv: storing %d pages failed: %s: %s", what[1], type(what[2]).__name__, what[2])

    def _note_stored(
        self, job: int, keys: list[bytes], flags: list[bool], unwanted: set[int], waiting: int, seconds: float
    ) -> None:
        """Pages were offered; so many of them wait to be written, and count when they are."""
        self._verdicts.stored(key for key, flag in zip(keys, flags, strict=True) if flag)
        self.counts["stored_pages"] += sum(flags) - waiting
        self.counts["declined_pages"] += len(unwanted)
        self.counts["failed_pages"] += len(flags) - sum(flags) - len(unwanted)
        moved = sum(flags) * self._memory.page_bytes
        self._results.append(job_result(job, success=sum(flags) + len(unwanted) == len(flags), seconds=seconds, moved=moved))

    def _note_loaded(self, job: int, keys: list[bytes], flags: list[bool], seconds: float) -> None:
        """Pages were asked for; each that came counts, whatever became of those before it."""
        came = [key for key, flag in zip(keys, flags, strict=True) if flag]
        self._verdicts.miss(key for key, flag in zip(keys, flags, strict=True) if not flag)
        self.counts["loaded_pages"] += len(came)
        self.counts["missing_pages"] += len(keys) - len(came)
        moved, whole = len(came) * self._memory.page_bytes, len(came) == len(keys)
        self._results.append(
            job_result(job, success=whole, keys=None if whole or not came else tuple(came), seconds=seconds, moved=moved)
        )


def namespace_fields(spec: Spec, revision: str | None) -> dict[str, object]:
    """What gives a chunk's bytes their meaning: what vLLM's file tier folds into its path."""
    config, parallel = spec.config, spec.config.parallel
    portable = parallel.is_parallelism_agnostic or config.replicated_layout
    sizes = {
        "tp": parallel.tp_size,
        "pp": parallel.pp_size,
        "pcp": parallel.pcp_size,
        "dcp": parallel.dcp_size,
        "rank": parallel.rank,
    }
    return {
        "engine": "vllm",
        "model": config.model.name,
        "dtype": str(config.model.dtype),
        "revision": revision,
        "tokens_per_hash": config.cache.tokens_per_hash,
        "blocks_per_chunk": config.cache.blocks_per_chunk,
        "page_tokens": config.cache.tokens_per_hash * config.cache.blocks_per_chunk,
        "groups": [[group.tokens_per_block, list(group.layer_names)] for group in config.groups],
        "parallel": None if portable else sizes,
        "replicated": bool(config.replicated_layout),
        "canonical": config.kv_cache_layout if config.canonical_layout else None,
    }


def _in_order(keys: Collection[bytes], chunks: Iterable[int], request: Request) -> tuple[list[bytes], list[int]]:
    """Keys and chunks as the request's tokens come, where it says so: then each page's parent is the one before it."""
    pairs = [(bytes(key), int(chunk)) for key, chunk in zip(keys, chunks, strict=True)]
    position = getattr(request, "get_offload_key_position", None)
    if position is not None:
        pairs.sort(key=lambda pair: (pair[0][-4:], position(pair[0]) or 0))
    return [key for key, _ in pairs], [chunk for _, chunk in pairs]


_METRICS = {
    "stored_pages": "Chunks offered that are stored: written, or there before.",
    "loaded_pages": "Chunks loaded into the primary tier.",
    "missing_pages": "Chunks of loads that were absent, damaged or late.",
    "declined_pages": "Chunks that admission did not want, or that a follower cannot store.",
    "failed_pages": "Chunks that found no space, no place in the queue, or a disk that failed.",
    "dropped_pages": "Chunks that still waited to be moved or written when the engine ended.",
}
"""The tier's own counters."""
