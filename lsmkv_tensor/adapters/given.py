"""The fields of StoreOptions among what an engine's configuration gives to an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.options import StoreOptions

__all__ = ["store_options"]

_SEAMS = frozenset({"fs", "clock", "rng", "scheduler"})
_FIELDS = frozenset(f.name for f in fields(StoreOptions)) - _SEAMS - {"capacity_bytes"}


def store_options(owner: str, given: Mapping[str, Any], *, capacity_bytes: int, io_timeout_s: float | None) -> StoreOptions:
    """The options of a store; ``io_timeout_s`` unless it is given.

    InvalidArgumentError naming ``owner`` and a key that is no field, or what StoreOptions refuses. The seams are taken too, for
    tests.
    """
    unknown = sorted(set(given) - _FIELDS - _SEAMS)
    if unknown:
        msg = f"{owner} has no setting {unknown[0]!r}; besides its own there are {', '.join(sorted(_FIELDS))}"
        raise InvalidArgumentError(msg)
    return StoreOptions(**{"io_timeout_s": io_timeout_s, **given, "capacity_bytes": capacity_bytes})
