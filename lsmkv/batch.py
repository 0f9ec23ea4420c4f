"""A batch of writes that takes effect as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable

from lsmkv.base.keys import MAX_KEY_BYTES, check_key, check_value, checked_range
from lsmkv.errors import InvalidArgumentError

__all__ = ["BATCH_BYTES", "WriteBatch", "check_batch"]

BATCH_BYTES = 1 << 30
"""Largest batch that ``write`` takes: a frame must fit in memory twice."""


class WriteBatch:
    """Puts, deletes and range deletes in order; give it to ``db.write`` or use ``with db.batch() as b``.

    Later operations on the same key win. A batch may be written more than once, to more than one store.
    """

    __slots__ = ("keys", "nbytes", "ranges", "values")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.values: list[bytes | None] = []
        self.ranges: list[tuple[int, bytes, bytes | None]] = []
        """Which operations are range deletes: (position, start, stop); their key is the start, their value None."""
        self.nbytes = 0

    def put(self, key: bytes, value: bytes) -> WriteBatch:
        """Add a put. InvalidArgumentError for anything but bytes within the limits."""
        check_key(key)
        check_value(value)
        self.keys.append(key)
        self.values.append(value)
        self.nbytes += len(key) + len(value)
        return self

    def delete(self, key: bytes) -> WriteBatch:
        """Add a delete (of a key that may or may not exist)."""
        check_key(key)
        self.keys.append(key)
        self.values.append(None)
        self.nbytes += len(key)
        return self

    def delete_many(self, keys: Iterable[bytes]) -> WriteBatch:
        """Add deletes of these keys, as :meth:`delete` one by one would."""
        added = list(keys)
        if set(map(type, added)) != {bytes} or max(map(len, added)) > MAX_KEY_BYTES:  # a quick look at all first
            for key in added:
                check_key(key)
        self.keys += added
        self.values += [None] * len(added)
        self.nbytes += sum(map(len, added))
        return self

    def delete_range(self, start: bytes | None, stop: bytes | None) -> WriteBatch:
        """Add a delete of every key with start <= key < stop, as in ``DB.delete_range``.

        What this batch put into the range before goes too, what it puts there later stays.
        """
        low = checked_range(start, stop)
        self.ranges.append((len(self.keys), low, stop))
        self.keys.append(low)
        self.values.append(None)
        self.nbytes += len(low) + len(stop or b"")
        return self

    def clear(self) -> None:
        """Forget everything added so far."""
        self.keys.clear()
        self.ranges.clear()
        self.values.clear()
        self.nbytes = 0

    def __len__(self) -> int:
        """Number of operations."""
        return len(self.keys)


def check_batch(batch: object) -> None:
    """Refuse what is no WriteBatch, and one that is too large."""
    if not isinstance(batch, WriteBatch):
        msg = f"write takes an lsmkv.WriteBatch, not {type(batch).__name__} (put_many takes pairs)"
        raise InvalidArgumentError(msg)
    if batch.nbytes > BATCH_BYTES:
        msg = f"batch has {batch.nbytes} bytes, the limit is {BATCH_BYTES}: split it"
        raise InvalidArgumentError(msg)
