"""A scan in progress: an iterator that keeps what it reads alive and lets go of it when done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from lsmkv.errors import ClosedError
from lsmkv.live.snapshots import Pin
from lsmkv.live.state import ReadState, StateBox
from lsmkv.live.tables import TableCache
from lsmkv.read.scan import scan

__all__ = ["Scan"]


class Scan(Iterator[tuple[bytes, bytes]]):
    """Yields ``(key, value)`` as of the moment it was made; later writes do not show.

    It pins tables and old versions until it is exhausted, closed or dropped; use it as a context manager to leave early.
    """

    __slots__ = ("_items", "_pin")

    def __init__(
        self,
        box: StateBox,
        tables: TableCache,
        pin: Pin,
        bounds: tuple[bytes | None, bytes | None],
        *,
        reverse: bool,
        state: ReadState | None = None,
    ) -> None:
        """``state``: the moment to read, None for the one in ``box``; once that is empty the scan ends."""
        current = box.current
        if current is None:
            raise ClosedError("the store")
        state = current if state is None else state
        pin.holds = state  # its view keeps the tables from being unlinked
        self._pin = pin
        self._items: Iterator[tuple[bytes, bytes]] = scan(state, tables, *bounds, reverse=reverse, pin=pin, box=box)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:  # noqa: PYI034 - the inner iterator saves a Python call an entry
        """The entries still to come; one underlying sequence, however often it is asked for."""
        if self._pin.failure is not None:
            raise self._pin.failure
        return self._items

    def __next__(self) -> tuple[bytes, bytes]:
        """The next entry. CorruptionError or IOFailedError if a block cannot be read, ClosedError after the store was closed.

        A scan that failed fails again: its end is never mistaken for the end of the range.

        I/O: a block now and then.
        """
        if self._pin.failure is not None:
            raise self._pin.failure
        return next(self._items)

    def close(self) -> None:
        """Let go of tables and versions; iteration ends, also that of a loop that is under way. A second call does nothing."""
        self._items = iter(())
        self._pin.release()
        if self._pin.chunk:
            self._pin.chunk.clear()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()
