"""What the configuration of LMCache says about its page store, read and checked in one place for both adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from lsmkv_tensor.adapters.given import QUEUE_BYTES, SETTINGS, check_counts, check_path, check_seconds, seams_in, whole
from lsmkv_tensor.adapters.holding import CONFLICTS, Conflict, Holding
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.options import StoreOptions

__all__ = ["LmcacheSettings", "read_settings"]

IO_TIMEOUT_S = 30.0
"""A transfer that takes longer is a miss: a disk that hangs must not keep a request for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LmcacheSettings:
    """Every other key is a field of StoreOptions."""

    path: str
    """Directory under which each process has its own. Required."""
    options: StoreOptions
    """How it is opened. ``capacity_bytes`` is required, ``io_timeout_s`` is 30 and ``put_queue_bytes`` 512 MiB unless said."""
    member: str
    """Name of the process's directory."""
    on_conflict: Conflict = "wait"
    """What to do if that directory cannot be had (:mod:`lsmkv_tensor.adapters.holding`)."""
    conflict_wait_s: float = 5.0
    """Seconds that the start waits for it with "wait"."""
    threads: int = 2
    """Threads that move pages."""
    max_store_pages: int = 4096
    """Pages that may wait to be copied or written; more are refused, because LMCache keeps them in memory until they are."""
    shutdown_s: float = 30.0
    """Seconds that objects which wait are given when the adapter is closed; the rest is dropped. A disk may hang."""
    revision: str | None = None
    """What the model's name does not tell: revision of the weights, adapters, quantisation. Pages of another are not seen."""
    codec: str = "raw"
    """"raw" or "shuffle_zstd" (lossless)."""

    @property
    def wait_s(self) -> float:
        """Seconds that a store waits for room in the queue of puts: as long as for the disk."""
        return IO_TIMEOUT_S if self.options.io_timeout_s is None else self.options.io_timeout_s

    def hold(self) -> Holding:
        """The store of this process. I/O: as ``PageStore.open``."""
        return Holding(self.path, self.member, self.options, on_conflict=self.on_conflict, wait_s=self.conflict_wait_s)


def read_settings(given: object, where: str, member: str) -> LmcacheSettings:
    """The settings in a mapping; ``where`` names it in errors, ``member`` is the directory unless it says another.

    InvalidArgumentError naming the key that is missing, unknown or wrong.
    """
    if not isinstance(given, Mapping):
        _refuse(f'{where} must be an object such as {{"path": "/nvme/kv", "capacity_bytes": 1000000000000}}, not {given!r}')
    own = {f.name for f in fields(LmcacheSettings)} - {"options"}
    unknown = sorted(set(given) - own - SETTINGS - seams_in(given))
    if unknown:
        _refuse(f"{where} has the unknown key {unknown[0]!r}; there are {', '.join(sorted(own | SETTINGS))}")
    for key in ("path", "capacity_bytes"):
        if key not in given:
            _refuse(f'{where}: {key} is missing; add for example "path": "/nvme/kv", "capacity_bytes": 1000000000000')
    config: dict[str, Any] = {"member": member} | {key: given[key] for key in own & set(given)}
    _check(config, where)
    options: dict[str, Any] = {"io_timeout_s": IO_TIMEOUT_S, "put_queue_bytes": QUEUE_BYTES}
    options |= {key: whole(given[key]) for key in (SETTINGS | seams_in(given)) & set(given)}
    return LmcacheSettings(**config, options=StoreOptions(**options))


def _check(config: Mapping[str, Any], where: str) -> None:
    """Refuse values that cannot be meant."""
    check_path(where, config["path"])
    for name, optional in (("member", False), ("revision", True), ("codec", False)):
        value = config.get(name, "raw")
        if not (isinstance(value, str) and value) and not (optional and value is None):
            _refuse(f"{where}: {name} = {value!r}: must be a text")
    if config.get("codec", "raw") not in ("raw", "shuffle_zstd"):
        _refuse(f'{where}: codec = {config["codec"]!r}: must be "raw" or "shuffle_zstd": objects come back as they were')
    if config.get("on_conflict", "wait") not in CONFLICTS:
        _refuse(f"{where}: on_conflict = {config['on_conflict']!r}: must be one of {', '.join(CONFLICTS)}")
    check_seconds(where, **{name: config.get(name, 0) for name in ("conflict_wait_s", "shutdown_s")})
    check_counts(where, **{name: config.get(name, 1) for name in ("threads", "max_store_pages")})


def _refuse(what: str) -> NoReturn:
    """Raise InvalidArgumentError."""
    raise InvalidArgumentError(what)
