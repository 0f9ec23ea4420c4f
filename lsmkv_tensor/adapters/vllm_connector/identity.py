"""Which engines the connector serves, and what gives the bytes of a rank's page their meaning."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn, TypeAlias

from lsmkv_tensor.adapters.vllm_connector.blocks import PagedBlocks
from lsmkv_tensor.adapters.vllm_connector.plan import RankPages
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.runtime.process import environment

__all__ = ["check_engine", "hashes_per_block", "member_name", "rank_pages"]

Config: TypeAlias = Any
"""``VllmConfig``."""
Caches: TypeAlias = Any
"""``KVCacheConfig``."""

_WHOLE = frozenset({"FullAttentionSpec", "MLAAttentionSpec"})
"""Caches that keep every block of a prompt."""
_FORGEABLE = "xxhash"
"""vLLM seeds hashes that begin so by chance, in every process anew."""


def check_engine(config: Config, caches: Caches) -> None:
    """InvalidArgumentError for engines that the connector does not serve, saying what to change."""
    parallel, policy = config.parallel_config, config.kv_transfer_config.kv_load_failure_policy
    if policy != "recompute":
        _refuse(
            f"kv_load_failure_policy = {policy!r} would end requests whose pages are damaged or were evicted: "
            'add "kv_load_failure_policy": "recompute" to --kv-transfer-config'
        )
    for name in ("pipeline_parallel_size", "prefill_context_parallel_size", "decode_context_parallel_size"):
        if getattr(parallel, name, 1) > 1:
            _refuse(f"{name} = {getattr(parallel, name)}: only tensor and data parallel engines are served")
    groups = caches.kv_cache_groups
    kinds = sorted({kind for group in groups for kind in _kinds(group.kv_cache_spec)})
    if len(groups) != 1 or not _WHOLE.issuperset(kinds):
        _refuse(f"the model has {len(groups)} groups of KV caches ({', '.join(kinds)}); one of full attention is served")
    speculative = config.speculative_config
    if speculative is not None and speculative.use_eagle():
        _refuse("a drafting model's cache depends on the token after each block: leave --speculative-config out, or use ngram")
    algorithm = config.cache_config.prefix_caching_hash_algo
    if algorithm.startswith(_FORGEABLE) and "PYTHONHASHSEED" not in environment():
        _refuse(
            f"--prefix-caching-hash-algo {algorithm} names blocks differently in every process: nothing would ever be found. "
            "Use sha256, or set PYTHONHASHSEED to one value everywhere"
        )


def hashes_per_block(caches: Caches) -> tuple[int, int]:
    """Tokens of a block, and block hashes of a request that a block has."""
    tokens = caches.kv_cache_groups[0].kv_cache_spec.block_size
    hashed = getattr(caches, "hash_block_size", None) or tokens
    return tokens, tokens // hashed


def member_name(config: Config) -> str:
    """The directory of a rank: every rank there is tells one from another, also those whose pages are the same."""
    parallel = config.parallel_config
    return f"connector-rank{parallel.rank}-dp{parallel.data_parallel_index}"


def rank_pages(config: Config, caches: Caches, blocks: PagedBlocks, version: str, revision: str | None) -> RankPages:
    """The namespace of this rank.

    The version of vLLM is part of it (up to the second number): a new one may lay blocks out in a new way without telling.
    """
    model, cache = config.model_config, config.cache_config
    fields: dict[str, object] = {
        "engine": "vllm connector",
        "version": ".".join(version.split(".")[:2]),
        "model": model.model,
        "weights": model.revision,
        "revision": revision,
        "dtype": str(model.dtype),
        "quantization": model.quantization,
        "rope": _plain(getattr(getattr(model, "hf_text_config", None), "rope_parameters", None)),
        "cache_dtype": cache.cache_dtype,
        "hash": cache.prefix_caching_hash_algo,
        "page_tokens": hashes_per_block(caches)[0],
        "kv_layout": getattr(caches, "kv_cache_layout", None),
        "attention": _attention(config, caches),
        "layers": blocks.fields(),
        "tensor_parallel": _share(config, caches),
    }
    return RankPages(fields, blocks.page_bytes)


def _share(config: Config, caches: Caches) -> list[int]:
    """Which part of every layer's cache this rank has, and of how many: ranks that keep the same share pages."""
    parallel = config.parallel_config
    alike = max(getattr(caches, "kv_tp_replicas", 1), 1)
    size = parallel.tensor_parallel_size
    return [parallel.rank % size // alike, max(size // alike, 1)]


def _attention(config: Config, caches: Caches) -> list[str]:
    """The attention backends of the layers, with the instruction set where one decides how blocks are laid out (CPUs)."""
    layers = config.compilation_config.static_forward_context
    found = set()
    for name in caches.kv_cache_groups[0].layer_names:
        backend = getattr(layers.get(name), "attn_backend", None)
        if backend is not None:
            found.add(f"{backend.get_name()} {getattr(layers[name], 'isa', '')}".strip())
    return sorted(found)


def _kinds(spec: Any) -> Iterable[str]:  # noqa: ANN401  # vLLM's KVCacheSpec
    """The kinds of cache in a group."""
    inner = getattr(spec, "kv_cache_specs", None)
    return (type(one).__name__ for one in inner.values()) if inner else (type(spec).__name__,)


def _plain(value: object) -> object:
    """A configuration value as text, the same in every process."""
    return None if value is None else json.dumps(value, sort_keys=True, default=str)


def _refuse(what: str) -> NoReturn:
    """Raise InvalidArgumentError."""
    msg = f"LsmkvConnector: {what}"
    raise InvalidArgumentError(msg)
