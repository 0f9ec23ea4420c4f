"""What vLLM gives a tier and a connector, as small as it can be; the jobs against the real package prove the signatures."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, field
from enum import Enum, auto
from types import SimpleNamespace

import numpy as np


class KVConnectorRole(Enum):
    SCHEDULER = 0
    WORKER = 1


class KVConnectorBase_V1:  # noqa: N801 - vLLM's name
    """The methods that the connector has, with their signatures."""

    def __init__(self, vllm_config, role, kv_cache_config): ...

    def register_kv_caches(self, kv_caches): ...

    def get_handshake_metadata(self): ...

    def bind_connector_metadata(self, connector_metadata): ...

    def clear_connector_metadata(self): ...

    def has_connector_metadata(self): ...

    def start_load_kv(self, forward_context, **kwargs): ...

    def wait_for_layer_load(self, layer_name): ...

    def save_kv_layer(self, layer_name, kv_layer, attn_metadata, **kwargs): ...

    def wait_for_save(self): ...

    def get_finished(self, finished_req_ids): ...

    def get_block_ids_with_load_errors(self): ...

    def get_kv_connector_stats(self): ...

    def set_xfer_handshake_metadata(self, metadata): ...

    def on_new_request(self, request): ...

    def get_num_new_matched_tokens(self, request, num_computed_tokens): ...

    def update_state_after_alloc(self, request, blocks, num_external_tokens): ...

    def build_connector_meta(self, scheduler_output): ...

    def request_finished(self, request, block_ids): ...

    def reset_cache(self): ...

    def shutdown(self): ...

    @staticmethod
    def build_kv_connector_stats(data=None): ...

    @staticmethod
    def build_prom_metrics(vllm_config, metric_types, labelnames, per_engine_labelvalues): ...


class KVConnectorStats:
    def reset(self): ...

    def aggregate(self, other): ...

    def reduce(self): ...

    def is_empty(self): ...


class KVCacheBlocks:
    """The blocks of a request, a list for each cache group."""

    def __init__(self, *groups):
        self.groups = groups

    def get_block_ids(self, allow_none=False):
        return self.groups


@dataclass
class NewRequestData:
    """The fields that are read."""

    req_id: str
    block_ids: tuple
    num_computed_tokens: int


@dataclass
class CachedRequestData:
    """The fields that are read."""

    req_ids: list
    resumed_req_ids: set
    new_block_ids: list
    num_computed_tokens: list


@dataclass
class SchedulerOutput:
    """The fields that are read."""

    scheduled_new_reqs: list
    scheduled_cached_reqs: CachedRequestData
    num_scheduled_tokens: dict


class Request:
    """The attributes that are read."""

    def __init__(self, request_id, tokens, block_tokens, hash_tokens=None, *, skip=False):
        self.request_id = request_id
        self.tokens = list(tokens)
        self.num_tokens = len(self.tokens)
        self.num_computed_tokens = 0
        self.num_preemptions = 0
        self.skip_reading_prefix_cache = skip
        step, above, self.block_hashes = hash_tokens or block_tokens, b"none", []
        for at in range(0, len(self.tokens) - step + 1, step):
            above = hashlib.sha256(pickle.dumps((above, tuple(self.tokens[at : at + step])))).digest()
            self.block_hashes.append(above)


REQUEST = ("request_id", "num_tokens", "skip_reading_prefix_cache", "block_hashes", "num_preemptions")
CONFIGS = {
    "KVTransferConfig": ("kv_load_failure_policy", "kv_connector_extra_config", "is_kv_producer", "is_kv_consumer"),
    "CacheConfig": ("prefix_caching_hash_algo", "cache_dtype"),
    "ModelConfig": ("model", "revision", "dtype", "quantization", "hf_text_config"),
    "ParallelConfig": (
        "rank",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "prefill_context_parallel_size",
        "decode_context_parallel_size",
        "data_parallel_index",
    ),
}
"""What is read of each configuration."""
CACHES = ("num_blocks", "kv_cache_groups", "kv_cache_layout", "hash_block_size", "kv_tp_replicas")


class FullAttentionSpec:
    def __init__(self, block_size):
        self.block_size = block_size


class Backend:
    @staticmethod
    def get_name():
        return "FAKE_ATTN"


def vllm_config(extra, *, role="kv_both", policy="recompute", algorithm="sha256", **changes):
    """A ``VllmConfig``, as far as it is read; ``changes``: attributes of any of its parts."""
    parts = {
        "kv_transfer_config": {
            "kv_connector_extra_config": extra,
            "kv_load_failure_policy": policy,
            "is_kv_producer": role in ("kv_both", "kv_producer"),
            "is_kv_consumer": role in ("kv_both", "kv_consumer"),
        },
        "cache_config": {"prefix_caching_hash_algo": algorithm, "cache_dtype": "auto"},
        "model_config": {"model": "m", "revision": None, "dtype": "bfloat16", "quantization": None, "hf_text_config": None},
        "parallel_config": dict.fromkeys(CONFIGS["ParallelConfig"], 1) | {"rank": 0, "data_parallel_index": 0},
        "compilation_config": {"static_forward_context": {"l0": SimpleNamespace(attn_backend=Backend, isa="fake")}},
    }
    for part in parts.values():
        part.update({name: value for name, value in changes.items() if name in part})
    return SimpleNamespace(speculative_config=changes.get("speculative"), **{k: SimpleNamespace(**v) for k, v in parts.items()})


def cache_config(blocks, block_tokens, **changes):
    """A ``KVCacheConfig``, as far as it is read."""
    group = SimpleNamespace(layer_names=["l0", "l1"], kv_cache_spec=FullAttentionSpec(block_tokens))
    fixed = {"num_blocks": blocks, "kv_cache_groups": [group], "kv_cache_layout": None, "kv_tp_replicas": 1}
    return SimpleNamespace(**fixed | {"hash_block_size": None} | changes)


# the tier's


class LookupResult(Enum):
    MISS = auto()
    HIT = auto()
    HIT_PENDING = auto()
    RETRY = auto()


@dataclass
class ReqContext:
    """What is used of it."""

    req_id: str
    positions: dict = field(default_factory=dict)

    def get_offload_key_position(self, key):
        return self.positions.get(key)


@dataclass
class TransferJob:
    job_id: int
    keys: list
    chunk_ids: np.ndarray
    is_promotion: bool
    req_context: ReqContext


@dataclass
class JobResult:
    job_id: int
    success: bool
    successful_keys: tuple | None = None
    transfer_time: float | None = None
    transfer_bytes: int | None = None


class SecondaryTierManager:
    """The methods that the tier has, with their signatures."""

    def __init__(self, offloading_spec, primary_kv_view, tier_type, backpressure_detector=None): ...

    def lookup(self, key, req_context): ...

    def submit_store(self, job_metadata): ...

    def submit_load(self, job_metadata): ...

    def get_finished_jobs(self): ...

    def has_pending_work(self): ...

    def touch(self, keys, req_context): ...

    def on_new_request(self, req_context): ...

    def on_request_finished(self, req_context): ...

    def on_schedule_end(self, context): ...

    def drain_jobs(self): ...

    def shutdown(self): ...

    def get_stats(self): ...

    @staticmethod
    def build_metric_definitions(extra_config): ...


OFFLOADING = {
    "OffloadingConfig": ("groups", "model", "cache", "parallel", "replicated_layout", "canonical_layout", "kv_cache_layout"),
    "OffloadingModelConfig": ("name", "dtype"),
    "OffloadingCacheConfig": ("tokens_per_hash", "blocks_per_chunk"),
    "OffloadingGroupConfig": ("tokens_per_block", "layer_names"),
    "OffloadingParallelConfig": (
        "rank",
        "tp_size",
        "pp_size",
        "pcp_size",
        "dcp_size",
        "data_parallel_index",
        "is_parallelism_agnostic",
    ),
}
"""What is read of each configuration."""


def offloading_spec(model="m", rank=0, portable=False):
    """An ``OffloadingSpec``, as far as it is read."""
    parallel = {"rank": rank, "tp_size": 2, "pp_size": 1, "pcp_size": 1, "dcp_size": 1, "data_parallel_index": 0}
    config = SimpleNamespace(
        model=SimpleNamespace(name=model, dtype="bfloat16"),
        cache=SimpleNamespace(tokens_per_hash=16, blocks_per_chunk=1),
        groups=[SimpleNamespace(tokens_per_block=16, layer_names=("l0",))],
        parallel=SimpleNamespace(**parallel, is_parallelism_agnostic=portable),
        replicated_layout=False,
        canonical_layout=False,
        kv_cache_layout=None,
    )
    return SimpleNamespace(config=config)
