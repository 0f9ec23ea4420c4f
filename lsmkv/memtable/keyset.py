"""What the memtable asks of its ordered part: keys only, in order, safe to read while one thread feeds it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

__all__ = ["FIRST_CHUNK_KEYS", "MAX_CHUNK_KEYS", "KeySet"]

FIRST_CHUNK_KEYS = 32
"""Keys in the first chunk of a scan; each further chunk may double, so short scans pay for what they take."""

MAX_CHUNK_KEYS = 512
"""Keys in the largest chunk: enough to hide a chunk's cost, few enough to stop early."""


class KeySet(Protocol):
    """A growing set of byte strings in order."""

    def add(self, keys: list[bytes]) -> None:
        """Add keys that ascend and are not in the set. One thread at a time."""
        ...

    def chunks(self, start: bytes | None, stop: bytes | None, *, reverse: bool) -> Iterator[list[bytes]]:
        """The keys in ``[start, stop)``, ascending or (``reverse``) descending, in chunks that are never empty.

        Every key that was in the set before the iterator was made is returned, whatever is added meanwhile; keys added
        later may be returned or not.
        """
        ...

    def __len__(self) -> int:
        """Number of keys."""
        ...

    def check(self) -> None:
        """Assert every structural invariant."""
        ...
