"""What an engine's configuration gives to an adapter: the fields of StoreOptions among it, and numbers that can be meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.options import StoreOptions

__all__ = [
    "QUEUE_BYTES",
    "SETTINGS",
    "check_counts",
    "check_given",
    "check_path",
    "check_seconds",
    "seams_in",
    "store_options",
    "whole",
]

_SEAMS = frozenset({"fs", "clock", "rng", "scheduler"})
SETTINGS = frozenset(f.name for f in fields(StoreOptions)) - _SEAMS
"""Fields of StoreOptions that a configuration can set."""


QUEUE_BYTES = 512 << 20
"""Bytes of pages that an engine's puts may leave behind to be written, unless its configuration says."""


def store_options(
    owner: str, given: Mapping[str, Any], *, capacity_bytes: int, io_timeout_s: float | None, put_queue_bytes: int = 0
) -> StoreOptions:
    """The options of a store; ``io_timeout_s`` and ``put_queue_bytes`` unless they are given.

    InvalidArgumentError naming ``owner`` and a key that is no field, or what StoreOptions refuses. Seams are taken, too.
    """
    settings = SETTINGS - {"capacity_bytes"}
    unknown = sorted(set(given) - settings - seams_in(given))
    if unknown:
        msg = f"{owner} has no setting {unknown[0]!r}; besides its own there are {', '.join(sorted(settings))}"
        raise InvalidArgumentError(msg)
    values = {key: whole(value) for key, value in given.items()}
    fixed = {"io_timeout_s": io_timeout_s, "put_queue_bytes": put_queue_bytes}
    return StoreOptions(**{**fixed, **values, "capacity_bytes": whole(capacity_bytes)})


def seams_in(given: Mapping[str, Any]) -> frozenset[str]:
    """The keys that hold an object of a test: file system, clock. A configuration file can hold none."""
    return frozenset(key for key in _SEAMS & set(given) if not isinstance(given[key], str | int | float | list | dict))


def whole(value: Any) -> Any:  # noqa: ANN401  # whatever a configuration holds
    """A value of a configuration: 1e12 is a whole number, whatever JSON and YAML make of it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def check_given(owner: str, where: str, **values: object) -> None:
    """InvalidArgumentError naming the first of ``path`` and ``max_bytes`` that is None, and ``where`` to add it."""
    for name, value in values.items():
        if value is None:
            msg = f'{owner}: {name} is missing: add "path": "/nvme/kv", "max_bytes": 1000000000000 {where}'
            raise InvalidArgumentError(msg)


def check_path(owner: str, path: object) -> str:
    """``path``, which must begin with "/": what a relative one means depends on where each process was started."""
    if not isinstance(path, str) or not path.startswith("/"):
        msg = f'{owner}: path = {path!r}: must be the directory of the cache, from "/" on'
        raise InvalidArgumentError(msg)
    return path


def check_counts(owner: str, **values: object) -> None:
    """InvalidArgumentError naming ``owner`` and the first of these that is no integer of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            msg = f"{owner}: {name} = {value!r}: must be an integer of at least 1"
            raise InvalidArgumentError(msg)


def check_seconds(owner: str, **values: object) -> None:
    """InvalidArgumentError naming ``owner`` and the first of these that is no number of seconds."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            msg = f"{owner}: {name} = {value!r}: must be a number of seconds of at least 0"
            raise InvalidArgumentError(msg)
