"""What ``lsmkv doctor`` knows of engines: which are here, whether their keys are the same in every process, what to set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from shlex import quote
from typing import Literal, TypeAlias

from lsmkv_tensor.adapters.versions import BUILDS, CONNECTOR, SUPPORTED, is_supported

__all__ = ["ENGINES", "Check", "check_engines", "check_hash", "installed", "setting"]

Outcome: TypeAlias = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    outcome: Outcome
    """"note": it works, but there is something to know. "bad": what was asked for will not work."""
    found: str
    advice: str | None = None
    """What to do or to set."""


ENGINES = tuple(SUPPORTED)
STABLE = {"vllm": ("sha256", "sha256_cbor"), "lmcache": ("blake3", "sha256", "sha256_cbor", "sha256_cbor_64bit")}
"""Hash algorithms whose digests depend on the tokens alone."""
SEEDED = {"vllm": ("xxhash", "xxhash_cbor"), "lmcache": ("builtin",)}
"""Those that begin with a seed that each process draws for itself, unless PYTHONHASHSEED is set."""
ONLY_CONNECTOR = "vllm connector"
"""What can be used of a vLLM that has no tiers that the tier was written for."""
OWN = ("blake3", "builtin")
"""LMCache's own; it borrows the others from vLLM, and takes Python's where that is not installed."""
ELSEWHERE = "run lsmkv in the engine's environment"
INSTEAD = {
    "vllm": "--prefix-caching-hash-algo sha256",
    "lmcache": "pre_caching_hash_algorithm: sha256_cbor (its server: --hash-algorithm blake3)",
}


def installed(package: str) -> str | None:
    """The version of an engine, under any of its names; None if it is not here."""
    for name in (package, *BUILDS.get(package, ())):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def check_engines(asked: Iterable[str], find: Callable[[str], str | None] = installed) -> tuple[list[str], list[Check]]:
    """The engines that are here and can be used (as :func:`setting` calls them), and what was found.

    ``asked``: those that must be; none: any will do.
    """
    wanted = list(asked)
    usable, checks = [], []
    for engine in wanted or ENGINES:
        found = find(engine)
        low, below = SUPPORTED[engine]
        install = f"pip install '{engine}>={low},<{below}'"
        if found is not None and is_supported(engine, found):
            usable.append(engine)
            checks.append(Check(engine, "ok", f"{found}, supported ({low} up to below {below})"))
        elif found is not None and engine == "vllm" and is_supported(engine, found, CONNECTOR):
            usable.append(ONLY_CONNECTOR)
            told = f"{found}: its connector is supported ({CONNECTOR[0]} up to below {CONNECTOR[1]}), its tier from {low} on"
            checks.append(Check(engine, "note", told, "the connector (docs/adapters/vllm.md), or " + install))
        elif found is not None:
            checks.append(Check(engine, "bad", f"{found}: its adapters were written for {low} up to below {below}", install))
        elif wanted:
            checks.append(Check(engine, "bad", "not installed in this Python", f"{ELSEWHERE}, or {install}"))
    if not checks:
        checks.append(Check("engine", "note", f"none of {', '.join(ENGINES)} is installed in this Python", ELSEWHERE))
    return usable, checks


def check_hash(engine: str, algorithm: str | None, seed: str | None, *, vllm: bool = True) -> Check:
    """Whether a prompt has the same keys after a restart and in other processes.

    ``algorithm``: None where nobody said it. ``seed``: PYTHONHASHSEED, None if not set. ``vllm``: whether that is installed.
    """
    engine = engine.removesuffix(" connector")
    name = f"{engine} hash"
    fixed = seed is not None and seed != "random"
    if engine not in STABLE:
        return Check(name, "ok", "SHA-256 of the tokens: the same in every process")
    if algorithm is None:
        told = "not said: its server's blake3 is the same in every process, builtin, without a server, is not"
        return Check(name, "note", told, f"--lmcache-hash, and {INSTEAD[engine]}")
    if algorithm not in STABLE[engine] + SEEDED[engine]:
        known = ", ".join(STABLE[engine] + SEEDED[engine])
        return Check(name, "note", f"{algorithm}: not known here ({known} are)", "compare the keys of two processes first")
    if engine == "lmcache" and algorithm not in OWN and not vllm:
        told = f"{algorithm} comes from vLLM, which is not installed in this Python: LMCache takes Python's builtin hash instead"
        outcome: Outcome = "note" if fixed else "bad"
        return Check(name, outcome, told, f"{ELSEWHERE}; or its server with --hash-algorithm blake3, which needs no vLLM")
    if fixed and (engine == "vllm" or algorithm in SEEDED[engine]):
        return Check(name, "note", f"{algorithm}, seeded by PYTHONHASHSEED={seed}", "set the same value in every process, always")
    if algorithm in SEEDED[engine]:
        told = f"{algorithm} without PYTHONHASHSEED: other keys in every process, no hits after a restart"
        found = Check(name, "bad", told, f"{INSTEAD[engine]}, or the same PYTHONHASHSEED everywhere")
    else:
        where = " (its server's; without a server LMCache takes Python's instead)" if algorithm == "blake3" else ""
        found = Check(name, "ok", f"{algorithm}{where}: the same in every process")
    return found


def setting(engine: str, path: str, capacity_bytes: int) -> str:
    """What to set so that the engine keeps its pages in ``path``."""
    if engine == "sglang":
        extra = {
            "backend_name": "lsmkv",
            "module_path": "lsmkv_tensor.adapters.sglang",
            "class_name": "LsmkvHiCache",
            "interface_v1": 1,
            "lsmkv": {"path": path, "capacity_bytes": capacity_bytes},
        }
        told = "--enable-hierarchical-cache --hicache-storage-backend dynamic --hicache-storage-backend-extra-config"
        return f"{told} {quote(json.dumps(extra))}"
    if engine == ONLY_CONNECTOR:
        connector = {
            "kv_connector": "LsmkvConnector",
            "kv_role": "kv_both",
            "kv_connector_module_path": "lsmkv_tensor.adapters.vllm_connector",
            "kv_load_failure_policy": "recompute",
            "kv_connector_extra_config": {"path": path, "max_bytes": capacity_bytes},
        }
        return f"--kv-transfer-config {quote(json.dumps(connector))}"
    if engine == "vllm":
        tier = {"type": "LsmkvTier", "module_path": "lsmkv_tensor.adapters.vllm_tier", "path": path, "max_bytes": capacity_bytes}
        spec = {
            "spec_name": "TieringOffloadingSpec",
            "cpu_bytes_to_use": 10 << 30,
            "blocks_per_chunk": 16,
            "secondary_tiers": [tier],
        }
        connector = {"kv_connector": "OffloadingConnector", "kv_role": "kv_both", "kv_connector_extra_config": spec}
        return f"--kv-transfer-config {quote(json.dumps(connector))}"
    if engine == "lmcache":
        parameters = {"path": path, "capacity_bytes": capacity_bytes}
        plugin = {"module_path": "lsmkv_tensor.adapters.lmcache_l2", "class_name": "LsmkvL2Adapter", "adapter_params": parameters}
        return f"--l2-adapter {quote(json.dumps({'type': 'plugin', **plugin}))}"
    options = f"StoreOptions(capacity_bytes={capacity_bytes})"
    return f"PrefixCache(TensorStore.open({path!r}, page_format_for(model), namespace=NAME, options={options}), model)"
