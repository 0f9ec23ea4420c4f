"""A scan in progress: an iterator that keeps what it reads alive and lets go of it when done."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Self

from lsmkv.live.snapshots import SnapshotRegistry
from lsmkv.live.state import ReadState
from lsmkv.live.tables import TableCache
from lsmkv.read.scan import scan

__all__ = ["Scan"]


class Scan(Iterator[tuple[bytes, bytes]]):
    """Yields ``(key, value)`` as of the moment it was made; later writes do not show.

    It pins tables and old versions until it is exhausted, closed or dropped; use it as a context manager to leave early.
    """

    __slots__ = ("__weakref__", "_finalizer", "_items", "_state")

    def __init__(
        self,
        state: ReadState,
        tables: TableCache,
        snapshots: SnapshotRegistry,
        seq: int,
        bounds: tuple[bytes | None, bytes | None],
        *,
        reverse: bool,
    ) -> None:
        self._state: ReadState | None = state  # its view keeps the tables from being unlinked
        self._items = scan(state, tables, *bounds, reverse=reverse, seq=seq)
        self._finalizer = weakref.finalize(self, snapshots.release, seq)
        self._finalizer.atexit = False

    def __next__(self) -> tuple[bytes, bytes]:
        """The next entry. CorruptionError or IOFailedError if a block cannot be read. I/O: a block now and then."""
        try:
            return next(self._items)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of tables and versions; iteration ends. A second call does nothing."""
        self._items = iter(())
        self._state = None
        self._finalizer()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()
