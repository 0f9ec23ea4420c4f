"""What an engine's configuration gives to an adapter: the fields of StoreOptions among it, and numbers that can be meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.options import StoreOptions

__all__ = ["check_counts", "check_seconds", "store_options", "whole"]

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
    values = {key: whole(value) for key, value in given.items()}
    return StoreOptions(**{"io_timeout_s": io_timeout_s, **values, "capacity_bytes": whole(capacity_bytes)})


def whole(value: Any) -> Any:  # noqa: ANN401  # whatever a configuration holds
    """A value of a configuration: 1e12 is a whole number, whatever JSON and YAML make of it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
