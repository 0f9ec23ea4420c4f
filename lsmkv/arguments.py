"""Checking what callers pass, many values at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NoReturn, Protocol, TypeAlias, TypeVar

from lsmkv.base.keys import MAX_KEY_BYTES, MAX_VALUE_BYTES, check_key, check_value
from lsmkv.errors import InvalidArgumentError

__all__ = [
    "MANY",
    "PathArgument",
    "PathLike",
    "all_bytes",
    "check_bounds",
    "check_each",
    "check_pair",
    "checked_iter",
    "checked_iter_of_pairs",
    "checked_keys",
    "checked_pairs",
    "checked_path",
    "checked_values",
    "measured_keys",
    "same_width",
    "width_of",
]

T = TypeVar("T")

MANY = 8
"""Fewer items are looked at one by one."""

MOST_PACKED_BYTES = 253
"""A length takes one byte, and two more must fit."""

MOST_PACKED = 512
"""Keys packed at once: what packs them is remembered, at 32 bytes a key."""


class PathLike(Protocol):
    """A path object, such as :class:`pathlib.Path`."""

    def __fspath__(self) -> str:
        """The path as a string."""
        ...


PathArgument: TypeAlias = str | PathLike


def checked_path(path: PathArgument, what: str = "path") -> str:
    """``path`` as a string; InvalidArgumentError, naming it ``what``, unless it is one or a path object that holds one."""
    found: object = path
    if not isinstance(path, str) and not isinstance(path, type) and hasattr(path, "__fspath__"):
        found = path.__fspath__()
    if not isinstance(found, str):
        _refuse(f"{what} must be a str or a path object, not {type(found).__name__}")
    if not found or "\0" in found:
        _refuse(f"{what} = {found!r}: must not be empty and hold no null character")
    return found


def checked_iter(items: Iterable[T], what: str) -> Iterator[T]:
    """An iterator over ``items``; InvalidArgumentError, naming them ``what``, if they cannot be iterated over."""
    try:
        return iter(items)
    except TypeError:
        _refuse(f"{what}, not {type(items).__name__}")


def checked_keys(keys: Iterable[bytes]) -> Sequence[bytes]:
    """``keys`` if all are bytes within the limit."""
    keys = _listed(keys)
    if keys and (not all_bytes(keys) or max(map(len, keys)) > MAX_KEY_BYTES):
        check_each(keys)
    return keys


def measured_keys(keys: Iterable[bytes]) -> tuple[Sequence[bytes], int]:
    """Keys to look up, and the length of the longest (0: there are none).

    Among many of one width a bytearray is let through, which can be looked for like any key; who cannot, says so by a
    TypeError (see :func:`check_each`).
    """
    keys = _listed(keys)
    if len(keys) >= MANY and type(keys[0]) is bytes and same_width(keys, width := len(keys[0])):
        return keys, width
    keys = checked_keys(keys)
    return keys, max(map(len, keys), default=0)


def _listed(keys: Iterable[bytes]) -> Sequence[bytes]:
    """The keys as they are, or drawn into a list."""
    return (
        keys
        if type(keys) is list or isinstance(keys, list | tuple)
        else list(checked_iter(keys, "keys must be an iterable of bytes"))
    )


def check_each(keys: Iterable[object]) -> None:
    """InvalidArgumentError naming the first key that is none."""
    for key in keys:
        check_key(key)


def all_bytes(items: Sequence[object]) -> bool:
    """Whether each is bytes and nothing else."""
    return list(map(type, items)).count(bytes) == len(items)


def width_of(items: Sequence[bytes]) -> int:
    """The length that all of these bytes have; -1 if they differ."""
    width = len(items[0])
    alike = same_width(items, width) if width <= MOST_PACKED_BYTES else list(map(len, items)).count(width) == len(items)
    return width if alike else -1


def same_width(keys: Sequence[object], width: int) -> bool:
    """Whether all are bytes (or bytearrays) of exactly this length; False for lengths above MOST_PACKED_BYTES.

    Each is packed behind a byte with its length, cut one byte beyond the width: two C loops, a quarter of the time of looking
    at types and lengths.
    """
    if width > MOST_PACKED_BYTES:
        return False
    if len(keys) > MOST_PACKED:
        return all(same_width(keys[at : at + MOST_PACKED], width) for at in range(0, len(keys), MOST_PACKED))
    try:
        packed = _packer(width + 2, len(keys)).pack(*keys)
    except struct.error:
        return False
    return packed[:: width + 2] == bytes((width,)) * len(keys)


@lru_cache(1 << 8)
def _packer(width: int, count: int) -> struct.Struct:
    """Packs so many strings, each with a byte for its length."""
    return struct.Struct(f"{width}p" * count)


def checked_values(values: Sequence[bytes]) -> Sequence[bytes]:
    """``values`` if all are bytes within the limit."""
    if not all_bytes(values) or max(map(len, values)) > MAX_VALUE_BYTES:
        for value in values:
            check_value(value)
    return values


def checked_pairs(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """The keys and the values of at least one pair, all within the limits."""
    try:
        keys, values = zip(*pairs, strict=True)
        return checked_keys(keys), checked_values(values)
    except (TypeError, ValueError, InvalidArgumentError):
        for pair in pairs:
            check_pair(pair)
        raise


def check_pair(pair: object) -> None:
    """Refuse what is not a tuple (or list) of two."""
    if not isinstance(pair, tuple | list):
        _refuse(f"expected (key, value) pairs, not {type(pair).__name__}")
    if len(pair) != 2:
        _refuse(f"expected (key, value) pairs, not a {type(pair).__name__} of {len(pair)}")


def checked_iter_of_pairs(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """An iterator over what ``put_many`` was given; a mapping is refused, since iterating over it gives keys alone."""
    if isinstance(pairs, Mapping):
        _refuse("expected (key, value) pairs, not a mapping: pass d.items()")
    return checked_iter(pairs, "expected an iterable of (key, value) pairs")


def check_bounds(start: bytes | None, stop: bytes | None, prefix: bytes | None) -> None:
    """Refuse bounds that are not keys."""
    for bound in (start, stop, prefix):
        if bound is not None:
            check_key(bound)


def _refuse(msg: str) -> NoReturn:
    """Raise InvalidArgumentError."""
    raise InvalidArgumentError(msg)
