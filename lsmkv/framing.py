"""Cutting many writes into frames: each is one commit, one record of the log, all or nothing.

A frame holds at most FRAME_BYTES and FRAME_OPS operations (one larger operation is a frame by itself). What is given as a list
or tuple is in memory anyway and cut by slices; anything else is drawn one operation at a time, so that no more than one frame
and one operation of a long stream are held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lsmkv.arguments import (
    MANY,
    all_bytes,
    check_pair,
    checked_iter,
    checked_iter_of_pairs,
    checked_keys,
    checked_pairs,
    width_of,
)
from lsmkv.base.keys import MAX_KEY_BYTES, check_key, check_value

__all__ = ["FRAME_BYTES", "FRAME_OPS", "Frame", "frames_of_keys", "frames_of_pairs", "only_frame"]

FRAME_BYTES = 4 << 20
"""Most bytes (keys and values) of a frame of more than one operation."""

FRAME_OPS = 4096
"""Most operations of a frame."""


class Frame(NamedTuple):
    """One commit."""

    keys: Sequence[bytes]
    values: Sequence[bytes | None]
    """None is a delete."""
    nbytes: int
    """Of keys and values together."""
    widths: tuple[int, int] | None = None
    """That of every key and of every value of so many puts that it pays to know; None: they differ, or nobody looked."""


def only_frame(pairs: object) -> Frame | None:
    """The frame of a list or tuple of pairs that fits one; None if it takes several, or none, or is not such a thing."""
    if not isinstance(pairs, list | tuple) or not 0 < len(pairs) <= FRAME_OPS:
        return None
    keys: Sequence[bytes]
    values: Sequence[bytes]
    try:
        keys, values = zip(*pairs, strict=True)
    except (TypeError, ValueError):
        keys, values = checked_pairs(pairs)
    if len(keys) >= MANY and all_bytes(keys) and all_bytes(values):
        key_width, value_width = width_of(keys), width_of(values)
        size = (key_width + value_width) * len(keys)
        if 0 < key_width <= MAX_KEY_BYTES and value_width >= 0 and size <= FRAME_BYTES:
            return Frame(keys, values, size, (key_width, value_width))
    keys, values = checked_pairs(pairs)
    size = sum(map(len, keys)) + sum(map(len, values))
    return Frame(keys, values, size) if size <= FRAME_BYTES else None


def frames_of_pairs(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[Frame]:
    """Frames of puts, in order. InvalidArgumentError at the first pair that is none; the frames before it have come."""
    if not isinstance(pairs, list | tuple):
        yield from _drawn(_checked(checked_iter_of_pairs(pairs)))
        return
    for at in range(0, len(pairs), FRAME_OPS):
        keys, values = checked_pairs(pairs[at : at + FRAME_OPS] if len(pairs) > FRAME_OPS else pairs)
        yield from _halves(keys, values, sum(map(len, keys)) + sum(map(len, values)))


def frames_of_keys(keys: Iterable[bytes]) -> Iterator[Frame]:
    """Frames of deletes, in order. InvalidArgumentError at the first key that is none; the frames before it have come."""
    if not isinstance(keys, list | tuple):
        yield from _drawn(_deletes(checked_iter(keys, "delete_many takes an iterable of keys")))
        return
    for at in range(0, len(keys), FRAME_OPS):
        chunk = tuple(checked_keys(keys[at : at + FRAME_OPS]))
        yield from _halves(chunk, (None,) * len(chunk), sum(map(len, chunk)))


def _checked(pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes, int]]:
    """Each pair, checked, and its bytes."""
    for pair in pairs:
        check_pair(pair)
        key, value = pair
        check_key(key)
        check_value(value)
        yield key, value, len(key) + len(value)


def _deletes(keys: Iterator[bytes]) -> Iterator[tuple[bytes, None, int]]:
    """Each key, checked, and its bytes."""
    for key in keys:
        check_key(key)
        yield key, None, len(key)


def _drawn(operations: Iterator[tuple[bytes, bytes | None, int]]) -> Iterator[Frame]:
    """Frames of operations that come one by one; each frame is given out as soon as it is known to be full."""
    keys: list[bytes] = []
    values: list[bytes | None] = []
    size = 0
    for key, value, nbytes in operations:
        if keys and size + nbytes > FRAME_BYTES:
            yield Frame(keys, values, size)
            keys, values, size = [], [], 0
        keys.append(key)
        values.append(value)
        size += nbytes
        if size >= FRAME_BYTES or len(keys) == FRAME_OPS:
            yield Frame(keys, values, size)
            keys, values, size = [], [], 0
    if keys:
        yield Frame(keys, values, size)


def _halves(keys: Sequence[bytes], values: Sequence[bytes | None], size: int) -> Iterator[Frame]:
    """Frames of up to FRAME_OPS operations of ``size`` bytes: halved until each is small enough."""
    if size <= FRAME_BYTES or len(keys) == 1:
        yield Frame(keys, values, size)
        return
    middle = len(keys) // 2
    left = sum(map(len, keys[:middle])) + sum(len(v) for v in values[:middle] if v is not None)
    yield from _halves(keys[:middle], values[:middle], left)
    yield from _halves(keys[middle:], values[middle:], size - left)
