"""vLLM's file tier, and ``LsmkvTier``: secondary tiers over a primary tier's memory, driven as its tiering manager does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from vllm.v1.kv_offload.base import LookupResult, ReqContext, ScheduleEndContext, make_offload_key
from vllm.v1.kv_offload.config import (
    OffloadingCacheConfig,
    OffloadingConfig,
    OffloadingGroupConfig,
    OffloadingModelConfig,
    OffloadingParallelConfig,
)
from vllm.v1.kv_offload.tiering.base import TransferJob
from vllm.v1.kv_offload.tiering.fs.manager import FileSystemTierManager
from vllm.v1.kv_offload.tiering.spec import TieringOffloadingSpec

from bench.scratch import aligned_bytes
from lsmkv.env.posix import PosixFileSystem
from lsmkv.testing import FaultFileSystem
from lsmkv_tensor.adapters.vllm_tier import LsmkvTier
from lsmkv_tensor.testing.conformance import Backend, NotApplicableError, Subject
from lsmkv_tensor.testing.conformance.own import hanging_segments
from lsmkv_tensor.testing.conformance.protocol import Pages

__all__ = ["FsTierSubject", "LsmkvTierSubject", "TierBackend", "fs_tier", "lsmkv_tier"]

VERSION = f"vllm {version('vllm')}"
CHUNKS = 160
POLL_S = 0.00005


def offloading_spec(page_bytes: int) -> TieringOffloadingSpec:
    """Pages of this size; its own primary tier is not used."""
    parallel = OffloadingParallelConfig(
        rank=0,
        world_size=1,
        tp_size=1,
        pp_size=1,
        pcp_size=1,
        dcp_size=1,
        data_parallel_index=0,
        data_parallel_size=1,
        data_parallel_rank_local=None,
        is_parallelism_agnostic=False,
    )
    config = OffloadingConfig(
        groups=(OffloadingGroupConfig(tokens_per_block=16, layer_names=("l0", "l1"), group_id=0),),
        worker_kv_bytes_per_block=page_bytes,
        enable_kv_cache_events=False,
        extra_config={"cpu_bytes_to_use": 4 * page_bytes, "secondary_tiers": []},
        engine_id="stock",
        model=OffloadingModelConfig(name="m", dtype="bfloat16"),
        cache=OffloadingCacheConfig(tokens_per_hash=16, blocks_per_chunk=1),
        parallel=parallel,
    )
    return TieringOffloadingSpec(config)


class TierBackend:
    """A tier behind the kit's calls. Its calls come one at a time, as under vLLM's lock; transfers go on meanwhile."""

    def __init__(self, page_bytes: int, chunks: int = CHUNKS, memory: Pages | None = None) -> None:
        if memory is None:
            memory = aligned_bytes(chunks * page_bytes).reshape(chunks, page_bytes)  # as vLLM's mapping: O_DIRECT asks for it
        self.memory = memory
        self.tier: Any = None
        self.disk: FaultFileSystem | None = None
        self._lock = threading.Lock()
        self._free = list(range(len(memory)))
        self._done: dict[int, Any] = {}
        self._job = 0
        self._request = 0

    def put(self, keys: Sequence[bytes], pages: Pages) -> list[bool]:
        """A store job; chunks are the caller's again when it is reported."""
        with self._chunks(len(keys)) as chunks:
            self.memory[chunks] = pages
            result = self.transfer("submit_store", keys, chunks)
        return [result.success] * len(keys)

    def exists(self, keys: Sequence[bytes]) -> list[bool]:
        """Lookups, step after step, until none says to try again."""
        with self._lock:
            self._request += 1
            request = ReqContext(req_id=f"r{self._request}")
            self.tier.on_new_request(request)
        found: dict[bytes, Any] = {}
        while True:
            with self._lock:
                for key in keys:
                    if found.get(key) not in (LookupResult.HIT, LookupResult.MISS):
                        found[key] = self.tier.lookup(_key(key), request)
                self.tier.on_schedule_end(ScheduleEndContext(new_req_ids=[], preempted_req_ids=[]))
            if LookupResult.RETRY not in found.values():
                break
            time.sleep(POLL_S)
        with self._lock:
            self.tier.on_request_finished(request)
        return [found[key] is LookupResult.HIT for key in keys]

    def get(self, keys: Sequence[bytes], out: Pages, deadline_s: float | None) -> list[bool]:
        """A load job of what lookups find; vLLM gives it no deadline."""
        del deadline_s
        flags = self.exists(keys)
        rows = [i for i, flag in enumerate(flags) if flag]
        if not rows:
            return flags
        with self._chunks(len(rows)) as chunks:
            result = self.transfer("submit_load", [keys[i] for i in rows], chunks)
            came = {_key(keys[i]) for i in rows} if result.success else set(result.successful_keys or ())
            for i, chunk in zip(rows, chunks, strict=True):
                flags[i] = _key(keys[i]) in came
                if flags[i]:
                    out[i] = self.memory[chunk]
        return flags

    def transfer(self, submit: str, keys: Sequence[bytes], chunks: Sequence[int]) -> Any:
        """Submit a job and wait for its result."""
        with self._lock:
            self._job += 1
            job = self._job
            context = ReqContext(req_id=f"j{job}")
            loads = submit == "submit_load"
            getattr(self.tier, submit)(TransferJob(job, list(map(_key, keys)), np.array(chunks), loads, context))
        while True:
            with self._lock:
                self._done.update({one.job_id: one for one in self.tier.get_finished_jobs()})
                if job in self._done:
                    return self._done.pop(job)
            time.sleep(POLL_S)

    def settle(self) -> None:
        """What our queue holds; a store job is done when it is reported."""
        if self.disk is not None:
            self.tier.holding.store.sync()

    def delete(self, keys: Sequence[bytes]) -> None:
        """VLLM asks a tier for none."""
        del keys
        msg = "vLLM's tiers have no delete"
        raise NotApplicableError(msg)

    def close(self) -> None:
        """Its own."""
        self.tier.shutdown()

    @contextmanager
    def _chunks(self, n: int) -> Iterator[list[int]]:
        """Chunks that nobody else uses."""
        with self._lock:
            taken = [self._free.pop() for _ in range(n)]
        try:
            yield taken
        finally:
            with self._lock:
                self._free += taken


def _key(digest: bytes) -> Any:
    """VLLM's key of a block."""
    return make_offload_key(digest, 0)


def fs_tier(directory: Path, page_bytes: int, memory: Pages | None = None) -> TierBackend:
    """VLLM's own."""
    backend = TierBackend(page_bytes, memory=memory)
    backend.tier = FileSystemTierManager(offloading_spec(page_bytes), memoryview(backend.memory), "fs", root_dir=str(directory))
    return backend


def lsmkv_tier(directory: Path, page_bytes: int, capacity: int, memory: Pages | None = None, **settings: Any) -> TierBackend:
    """Ours."""
    backend = TierBackend(page_bytes, memory=memory)
    backend.tier = LsmkvTier(
        offloading_spec(page_bytes),
        memoryview(backend.memory),
        "LsmkvTier",
        path=str(directory),
        max_bytes=capacity,
        **settings,
    )
    return backend


class FsTierSubject(Subject):
    """Files of blocks."""

    name = "vLLM fs tier"
    version = VERSION

    def open(self, directory: Path, capacity_bytes: int) -> TierBackend:
        """See Subject; it knows no capacity."""
        del capacity_bytes
        return fs_tier(directory, self.page_bytes)


class LsmkvTierSubject(Subject):
    """Ours in vLLM."""

    name = "lsmkv in vLLM"
    version = f"{VERSION}, lsmkv {version('lsmkv')}"

    def open(self, directory: Path, capacity_bytes: int) -> TierBackend:
        """See Subject."""
        disk = FaultFileSystem(PosixFileSystem())
        settings = {"segment_bytes": 16 * self.page_bytes + (64 << 10), "io_timeout_s": self.deadline_s, "read_threads": 1}
        backend = lsmkv_tier(directory, self.page_bytes, capacity_bytes, fs=disk, **settings)
        backend.disk = disk
        return backend

    def stalled(self, backend: Backend, directory: Path, page: Pages) -> AbstractContextManager[object]:
        """See Subject."""
        del directory, page
        assert isinstance(backend, TierBackend)
        assert backend.disk is not None
        return hanging_segments(backend.disk)
