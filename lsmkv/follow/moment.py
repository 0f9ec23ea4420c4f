"""One moment of a followed store, held: what snapshots of a follower read.

The writer knows nothing of it and may merge, drop and unlink: the tables are held open, and memtables that still grow keep
the versions that the moment's sequence number needs.
"""

from __future__ import annotations

from collections.abc import Sequence

from lsmkv.arguments import check_bounds, checked_keys
from lsmkv.base.keys import check_key
from lsmkv.errors import ClosedError
from lsmkv.iterator import Scan
from lsmkv.live.snapshots import Pin, SnapshotRegistry
from lsmkv.live.state import ReadState, StateBox
from lsmkv.live.tables import TableCache
from lsmkv.read.lookup import find_at
from lsmkv.read.multiget import find_many
from lsmkv.read.scan import prefix_range

__all__ = ["Moment", "tables_between"]


class Moment:
    """A state with its tables held; see :class:`lsmkv.snapshot.Source`."""

    __slots__ = ("_box", "_path", "_snapshots", "_state", "_tables")

    def __init__(self, path: str, box: StateBox, state: ReadState, tables: TableCache, snapshots: SnapshotRegistry) -> None:
        """``box`` is the follower's, which says when it was closed."""
        self._path = path
        self._box = box
        self._state = state
        self._tables = tables
        self._snapshots = snapshots

    def get_at(self, key: bytes, seq: int) -> bytes | None:
        """One key. I/O: as ``DB.get``."""
        check_key(key)
        entry = find_at(self._open(), self._tables, key, seq)
        return None if entry is None else entry[1]

    def get_many_at(self, keys: Sequence[bytes], seq: int) -> list[bytes | None]:
        """Many keys. I/O: as ``DB.get_many``."""
        return find_many(self._open(), self._tables, checked_keys(keys), seq)

    def scan_at(self, seq: int, start: bytes | None, stop: bytes | None, *, prefix: bytes | None, reverse: bool) -> Scan:
        """A range. I/O: as ``DB.scan``."""
        check_bounds(start, stop, prefix)
        state = self._open()
        with self._snapshots.door:
            self._snapshots.acquire(seq)
        pin = Pin(self._snapshots, seq)
        return Scan(self._box, self._tables, pin, prefix_range(start, stop, prefix), reverse=reverse, state=state)

    def _open(self) -> ReadState:
        """The state, if the follower is open."""
        if self._box.current is None:
            raise ClosedError(self._path)
        return self._state


def tables_between(state: ReadState, start: bytes | None, stop: bytes | None) -> list[int]:
    """Numbers of the tables that may hold a key with start <= key < stop."""
    return [
        table.number
        for run in state.view.runs
        for table in run.tables
        if (start is None or table.largest >= start) and (stop is None or table.smallest < stop)
    ]
