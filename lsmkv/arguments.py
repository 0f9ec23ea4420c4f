"""Checking what callers pass, many values at a time."""

from __future__ import annotations

from collections.abc import Sequence

from lsmkv.base.keys import MAX_KEY_BYTES, MAX_VALUE_BYTES, check_key, check_value

__all__ = ["check_bounds", "checked_keys", "checked_values"]


def checked_keys(keys: Sequence[bytes]) -> Sequence[bytes]:
    """``keys`` if all are bytes within the limit."""
    if not isinstance(keys, list | tuple):
        keys = list(keys)
    if keys and (set(map(type, keys)) != {bytes} or max(map(len, keys)) > MAX_KEY_BYTES):
        for key in keys:
            check_key(key)
    return keys


def checked_values(values: Sequence[bytes]) -> Sequence[bytes]:
    """``values`` if all are bytes within the limit."""
    if set(map(type, values)) != {bytes} or max(map(len, values)) > MAX_VALUE_BYTES:
        for value in values:
            check_value(value)
    return values


def check_bounds(start: bytes | None, stop: bytes | None, prefix: bytes | None) -> None:
    """Refuse bounds that are not keys."""
    for bound in (start, stop, prefix):
        if bound is not None:
            check_key(bound)
