"""What a server's command line says about the SGLang backend, and which directory and namespaces follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, NoReturn, TypeAlias

from lsmkv_tensor.adapters.given import QUEUE_BYTES, SETTINGS, check_path, check_seconds, whole
from lsmkv_tensor.adapters.holding import CONFLICTS, Conflict
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.options import StoreOptions

__all__ = ["SglangConfig", "StorageConfig", "member_name", "read_config"]

StorageConfig: TypeAlias = Any
"""SGLang's ``HiCacheStorageConfig``."""

IO_TIMEOUT_S = 4.0
"""SGLang gives its storage threads 10 s to end, and prefetching 1 s and a little."""
LEAST_TIMEOUT_S, MOST_TIMEOUT_S = 0.05, 9.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SglangConfig:
    """The ``"lsmkv"`` part of ``--hicache-storage-backend-extra-config``; every other key there is a field of StoreOptions."""

    path: str
    """Directory under which each process has its own. Required."""
    options: StoreOptions
    """How the store is opened. ``io_timeout_s`` is 4 and ``put_queue_bytes`` 512 MiB unless said."""
    on_conflict: Conflict = "wait"
    """What to do if the process's directory cannot be had: "wait", "follow" or "fresh" (:mod:`lsmkv_tensor.adapters.holding`)."""
    conflict_wait_s: float = 5.0
    """Seconds that the server's start waits for it with "wait"."""
    member: str | None = None
    """Name of the process's directory. None: made of the ranks."""
    revision: str | None = None
    """What the model's name does not tell: revision of the weights, adapters, quantisation. Pages of another are not seen."""
    codec: str = "raw"
    """"raw" or "shuffle_zstd" (lossless)."""


def read_config(extra: Mapping[str, Any] | None, seams: Mapping[str, Any] = MappingProxyType({})) -> SglangConfig:
    """The settings of ``extra_config["lsmkv"]`` and the seams of StoreOptions.

    InvalidArgumentError naming the key that is missing, unknown or wrong.
    """
    given = (extra or {}).get("lsmkv")
    if not isinstance(given, Mapping):
        _refuse(
            '"lsmkv" is missing from --hicache-storage-backend-extra-config: '
            'add "lsmkv": {"path": "/nvme/kv", "capacity_bytes": 1000000000000}'
        )
    own = {f.name for f in fields(SglangConfig)} - {"options"}
    unknown = sorted(set(given) - own - SETTINGS)
    if unknown:
        _refuse(f'"lsmkv" has the unknown key {unknown[0]!r}; there are {", ".join(sorted(own | SETTINGS))}')
    check_path('"lsmkv"', given.get("path"))
    config: dict[str, Any] = {key: given[key] for key in own & set(given)}
    for name, kinds in (("member", (str, type(None))), ("revision", (str, type(None))), ("codec", (str,))):
        if not isinstance(config.get(name, "-"), kinds) or config.get(name) == "":
            _refuse(f'"lsmkv": {name} = {config[name]!r}: must be a text')
    if config.get("codec", "raw") not in ("raw", "shuffle_zstd"):
        _refuse(
            f'"lsmkv": codec = {config["codec"]!r}: must be "raw" or "shuffle_zstd": an engine\'s bytes come back as they were'
        )
    if config.get("on_conflict", "wait") not in CONFLICTS:
        _refuse(f'"lsmkv": on_conflict = {config["on_conflict"]!r}: must be one of {", ".join(CONFLICTS)}')
    check_seconds('"lsmkv"', conflict_wait_s=config.get("conflict_wait_s", 0))
    options: dict[str, Any] = {"io_timeout_s": IO_TIMEOUT_S, "put_queue_bytes": QUEUE_BYTES}
    options |= {key: whole(given[key]) for key in SETTINGS & set(given)} | dict(seams)
    found = StoreOptions(**options)
    timeout = found.io_timeout_s
    if timeout is not None and not LEAST_TIMEOUT_S <= timeout <= MOST_TIMEOUT_S:
        _refuse(
            f'"lsmkv": io_timeout_s = {timeout!r}: must be {LEAST_TIMEOUT_S:g} to {MOST_TIMEOUT_S:g} seconds, as SGLang gives '
            "its storage threads 10 to end; or null: calls take as long as the disk does"
        )
    return SglangConfig(**config, options=found)


def member_name(config: StorageConfig) -> str:
    """The directory of a process: every rank there is tells one from another, also those whose pages are the same."""
    ranks = (
        ("tp", config.tp_rank, config.tp_size),
        ("pp", config.pp_rank, config.pp_size),
        ("cp", getattr(config, "attn_cp_rank", 0), getattr(config, "attn_cp_size", 1)),
    )
    parts = [f"{name}{rank}of{size}" for name, rank, size in ranks if size > 1 or name == "tp"]
    data = getattr(config, "dp_rank", 0) or 0
    return "-".join([*parts, *([f"dp{data}"] if data else [])])


def rank_fields(config: StorageConfig, pool: str) -> dict[str, object]:
    """The ranks that keep a pool's pages apart: tensor parallel ones share those of a replicated (MLA) pool, never Mamba's."""
    shared = config.is_mla_model and pool != "mamba"
    found: dict[str, object] = {"pp": [config.pp_rank, config.pp_size]}
    if not shared:
        found["tp"] = [config.tp_rank, config.tp_size]
    size = getattr(config, "attn_cp_size", 1)
    if size > 1:
        found["cp"] = [config.attn_cp_rank, size]
    return found


def _refuse(what: str) -> NoReturn:
    """Raise InvalidArgumentError."""
    raise InvalidArgumentError(what)
