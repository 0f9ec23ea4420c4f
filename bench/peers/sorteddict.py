"""``sortedcontainers.SortedDict``: the ceiling. No log, no file: what an index in this process's memory can do at most.

It is no rival: nothing of it survives the process, and its memory is that of all its entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.peers.base import IndexPeer, Pairs, Settings, UnavailableError

__all__ = ["SortedDictIndex"]


class SortedDictIndex(IndexPeer):
    """A sorted dict as an index."""

    name = "sortedcontainers"
    durable = False

    def __init__(self, path: Path, settings: Settings) -> None:
        """See the base class; it takes none of the settings."""
        del path, settings
        try:
            from sortedcontainers import SortedDict  # noqa: PLC0415 - as the other subjects
        except ImportError as error:
            msg = f"sortedcontainers is not installed ({error})"
            raise UnavailableError(msg) from error
        self._dict: Any = SortedDict()
        self.get = self._dict.get
        self.put = self._dict.__setitem__

    def put_many(self, pairs: Pairs) -> None:
        """``update``, which sorts everything anew when the batch is a large part of it."""
        self._dict.update(pairs)

    def get_many(self, keys: list[bytes]) -> Sequence[bytes | None]:
        """One get per key."""
        return list(map(self._dict.get, keys))

    def contains_many(self, keys: list[bytes]) -> list[bool]:
        """One look per key."""
        return list(map(self._dict.__contains__, keys))

    def scan(self, start: bytes, count: int) -> Pairs:
        """A slice of the key list from ``start``."""
        entries = self._dict
        at = entries.bisect_left(start)
        return [(key, entries[key]) for key in entries.keys()[at : at + count]]

    def close(self) -> None:
        """Forget everything."""
        self._dict.clear()
