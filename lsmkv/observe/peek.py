"""Reading a store's entries from its files: no lock, no change, also beside a live writer.

A peek shows one moment: the tables of one manifest and what the logs add to them. Beside a writer that installs a new version
while we look, the moment is chosen again.
"""

from __future__ import annotations

from collections.abc import Iterator

from lsmkv.base.keys import MAX_SEQ
from lsmkv.base.ledger import Ledger
from lsmkv.env.fs import FileSystem
from lsmkv.env.rng import seeded
from lsmkv.errors import BusyError, LsmError
from lsmkv.live.batches import memtables_of
from lsmkv.live.snapshots import Pin, SnapshotRegistry
from lsmkv.live.state import Immutable, ReadState, View
from lsmkv.live.tables import TableCache
from lsmkv.memtable import new_memtable
from lsmkv.observe.files import list_files, load_manifest
from lsmkv.observe.readonly import ReadOnly
from lsmkv.read.scan import prefix_range, scan
from lsmkv.recover.replay import replay
from lsmkv.version.state import ManifestState

__all__ = ["Peek"]

ATTEMPTS = 8
"""Times a moment is chosen before giving up on a store that changes faster than it can be read."""


class Peek:
    """The entries of the store at ``path`` as of now.

    Raises InvalidArgumentError if there is no store, CorruptionError, FormatTooNewError, IOFailedError, and BusyError if a
    writer keeps replacing files faster than they can be opened.

    I/O: the manifest and the logs once, the index and filter of every table.
    """

    def __init__(self, path: str, fs: FileSystem) -> None:
        self._fs = ReadOnly(fs)
        self.path = path
        for _ in range(ATTEMPTS):
            before = load_manifest(self._fs, path)
            try:
                self._open(before)
            except LsmError:
                if load_manifest(self._fs, path) == before:
                    raise
            else:
                if load_manifest(self._fs, path) == before:
                    return
        raise BusyError("its files change faster than they can be read")

    def _open(self, state: ManifestState) -> None:
        """Choose the moment: open the tables of ``state`` and replay the logs above its floor."""
        self.manifest = state
        numbers = sorted(n for n in list_files(self._fs, self.path).logs if n >= state.wal_floor)
        rng = seeded()
        batches = replay(self._fs, self.path, numbers, state.last_seq).batches
        mems = list(memtables_of(batches, lambda: new_memtable("skiplist", rng), MAX_SEQ))
        self.log_entries = sum(mem.entries for mem, _ in mems)
        """Entries that only the logs hold."""
        tables = state.shape.tables
        self._tables = TableCache(self._fs, self.path, None, Ledger(), max(len(tables), 1))
        for table in tables:
            self._tables.get(table.number)
        imms = tuple(Immutable(mem, 0, ranges=ranges) for mem, ranges in reversed(mems))
        self._state = ReadState(new_memtable("skiplist", rng), imms, View(state.shape), 0).ranged()

    def scan(
        self, start: bytes | None = None, stop: bytes | None = None, *, prefix: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Live entries with start <= key < stop that begin with ``prefix``, in key order. I/O: reads the range once."""
        low, high = prefix_range(start, stop, prefix)
        snapshots = SnapshotRegistry()
        snapshots.acquire(MAX_SEQ)
        pin = Pin(snapshots, MAX_SEQ, self._state)
        return scan(self._state, self._tables, low, high, reverse=False, pin=pin)
