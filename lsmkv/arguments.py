"""Checking what callers pass, many values at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NoReturn, Protocol, TypeAlias, TypeVar

from lsmkv.base.keys import MAX_KEY_BYTES, MAX_VALUE_BYTES, check_key, check_value
from lsmkv.errors import InvalidArgumentError

__all__ = [
    "PathArgument",
    "PathLike",
    "check_bounds",
    "check_pair",
    "checked_iter",
    "checked_iter_of_pairs",
    "checked_keys",
    "checked_pairs",
    "checked_path",
    "checked_values",
    "measured_keys",
    "same_width",
]

T = TypeVar("T")

MOST_PACKED_BYTES = 253
"""A length takes one byte, and two more must fit."""


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
    return measured_keys(keys)[0]


def measured_keys(keys: Iterable[bytes]) -> tuple[Sequence[bytes], int]:
    """``keys`` if all are bytes within the limit, and the length of the longest (0: there are none)."""
    if not isinstance(keys, list | tuple):
        keys = list(checked_iter(keys, "keys must be an iterable of bytes"))
    if not keys:
        return keys, 0
    if list(map(type, keys)).count(bytes) == len(keys):  # lists that are counted: half the time of a set or a maximum
        lengths = list(map(len, keys))
        longest = lengths[0]
        if lengths.count(longest) != len(keys):
            longest = max(lengths)
        if longest <= MAX_KEY_BYTES:
            return keys, longest
    for key in keys:
        check_key(key)
    return keys, max(map(len, keys))


def same_width(keys: Sequence[object], width: int) -> bool:
    """Whether all are bytes (or bytearrays) of exactly this length; False for lengths above MOST_PACKED_BYTES.

    Each is packed behind a byte with its length, cut one byte beyond the width: two C loops, a quarter of the time of looking
    at types and lengths.
    """
    if width > MOST_PACKED_BYTES:
        return False
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
    if set(map(type, values)) != {bytes} or max(map(len, values)) > MAX_VALUE_BYTES:
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
