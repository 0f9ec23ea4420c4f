"""What a server's command line says about the connector, and what it may not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from lsmkv_tensor.adapters.given import check_counts, check_path, check_seconds, store_options, whole
from lsmkv_tensor.adapters.holding import CONFLICTS, Conflict
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.options import StoreOptions

__all__ = ["ConnectorSettings", "read_settings"]

OWNER = "LsmkvConnector"
IO_TIMEOUT_S = 4.0
"""A step waits for the pages that it loads; a disk that hangs longer costs computing them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorSettings:
    """``kv_connector_extra_config``; every other key there is a field of StoreOptions."""

    path: str
    """Directory under which each rank has its own. Required."""
    options: StoreOptions
    """How stores are opened. Its capacity is ``max_bytes``, required, of each rank; ``io_timeout_s`` is 4 unless said."""
    revision: str | None = None
    """What the model's name does not tell: revision of the weights, adapters, quantisation. Pages of another are not seen."""
    on_conflict: Conflict = "wait"
    """What to do if a rank's directory cannot be had: "wait", "follow" or "fresh" (:mod:`lsmkv_tensor.adapters.holding`)."""
    conflict_wait_s: float = 5.0
    """Seconds that the engine's start waits for it with "wait"."""
    threads: int = 2
    """That write pages."""
    max_store_bytes: int = 1 << 30
    """Bytes of blocks that may wait to be written, of each rank; they are copies in host memory. What is more is not stored."""
    shutdown_s: float = 3.0
    """Seconds that blocks which wait when the engine ends are given; the rest is dropped. vLLM kills its engine after 5."""


def read_settings(given: Mapping[str, Any]) -> ConnectorSettings:
    """The settings. InvalidArgumentError naming the key that is missing, unknown or wrong."""
    own = {f.name for f in fields(ConnectorSettings)} - {"options"}
    found = {key: given[key] for key in own & set(given)}
    for name in ("path", "max_bytes"):
        if name not in given:
            _refuse(f'{name} is missing: add "kv_connector_extra_config": {{"path": "/nvme/kv", "max_bytes": 1000000000000}}')
    check_path(OWNER, given["path"])
    if not isinstance(found.get("revision", ""), str | None):
        _refuse(f"revision = {found['revision']!r}: must be a text")
    if found.get("on_conflict", "wait") not in CONFLICTS:
        _refuse(f"on_conflict = {found['on_conflict']!r}: must be one of {', '.join(CONFLICTS)}")
    check_counts(
        OWNER, max_bytes=whole(given["max_bytes"]), **{name: found.get(name, 1) for name in ("threads", "max_store_bytes")}
    )
    check_seconds(OWNER, **{name: found.get(name, 0) for name in ("conflict_wait_s", "shutdown_s")})
    rest = {key: value for key, value in given.items() if key not in own | {"max_bytes"}}
    options = store_options(OWNER, rest, capacity_bytes=given["max_bytes"], io_timeout_s=IO_TIMEOUT_S)
    return ConnectorSettings(**found, options=options)


def _refuse(what: str) -> NoReturn:
    """Raise InvalidArgumentError."""
    msg = f"{OWNER}: {what}"
    raise InvalidArgumentError(msg)
