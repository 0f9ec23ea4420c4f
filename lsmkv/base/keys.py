"""What an entry is: limits, sequence numbers, kinds, and the tag that packs the last two.

An *entry* is ``(user key, sequence number, kind, value)``. Entries sort by key ascending, then sequence number
descending, so the newest version of a key comes first. ``tag = seq << 8 | kind`` is one unsigned 64-bit column.
"""

from __future__ import annotations

__all__ = ["DELETE", "MAX_KEY_BYTES", "MAX_SEQ", "MAX_VALUE_BYTES", "PUT", "Entry", "check_key", "check_value", "checked_range"]

from typing import TypeAlias

from lsmkv.errors import InvalidArgumentError

MAX_KEY_BYTES = 64 << 10
"""Longest key: fits a 32-bit length anywhere and keeps one fence small."""

MAX_VALUE_BYTES = 64 << 20
"""Longest value: larger objects belong into a value log."""

MAX_SEQ = (1 << 56) - 1
"""Largest sequence number (56 bits beside 8 bits of kind); reading at MAX_SEQ sees everything."""

DELETE = 0
PUT = 1

Entry: TypeAlias = tuple[int, bytes | None]
"""``(sequence number, value)``; value None is a tombstone."""


def check_key(key: object) -> None:
    """Raise InvalidArgumentError unless ``key`` is bytes of at most MAX_KEY_BYTES."""
    if type(key) is not bytes:
        msg = f"key must be bytes, not {type(key).__name__}"
        raise InvalidArgumentError(msg)
    if len(key) > MAX_KEY_BYTES:
        msg = f"key has {len(key)} bytes, the limit is {MAX_KEY_BYTES}"
        raise InvalidArgumentError(msg)


def check_value(value: object) -> None:
    """Raise InvalidArgumentError unless ``value`` is bytes of at most MAX_VALUE_BYTES."""
    if type(value) is not bytes:
        msg = f"value must be bytes, not {type(value).__name__}"
        raise InvalidArgumentError(msg)
    if len(value) > MAX_VALUE_BYTES:
        msg = f"value has {len(value)} bytes, the limit is {MAX_VALUE_BYTES}: store a reference instead"
        raise InvalidArgumentError(msg)


def checked_range(start: object, stop: object) -> bytes:
    """The first key of the range [start, stop) that is to be deleted; None: unbounded.

    Raises InvalidArgumentError for bounds that are no keys, and for an empty range.
    """
    low = start if start is not None else b""
    for bound in (low, stop):
        if bound is not None:
            check_key(bound)
    assert isinstance(low, bytes)
    if isinstance(stop, bytes) and low >= stop:
        msg = f"delete_range from {start!r} to {stop!r}: start must be below stop (None: unbounded)"
        raise InvalidArgumentError(msg)
    return low
