"""LevelDB through plyvel: log on, no fsync per write, no compression.

LevelDB has no flush call. Where a run must end, the database is closed and opened again, which writes its memtable as a table;
in timed writes that is left out, in LevelDB's favour.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bench.peers.base import IndexPeer, PagePeer, Pages, Pairs, Settings, UnavailableError

__all__ = ["PlyvelIndex", "PlyvelPages"]

_LEVEL_CELLS = 6
"""Level, files, size, time, read, written."""

_QUIET_S = 0.5


def _open(path: Path, settings: Settings) -> Any:
    try:
        import plyvel  # noqa: PLC0415 - optional: its absence is an answer, not an error
    except ImportError as error:
        msg = f"plyvel is not installed ({error})"
        raise UnavailableError(msg) from error
    return plyvel.DB(
        str(path),
        create_if_missing=True,
        compression=None,
        write_buffer_size=settings.write_buffer_bytes,
        lru_cache_size=settings.cache_bytes,
        bloom_filter_bits=settings.filter_bits_per_key,
    )


class PlyvelIndex(IndexPeer):
    """LevelDB as an index."""

    name = "plyvel"

    def __init__(self, path: Path, settings: Settings) -> None:
        """See the base class."""
        self._path, self._settings = path, settings
        self._bind()

    def _bind(self) -> None:
        self._db = _open(self._path, self._settings)
        self.get = self._db.get
        self.put = self._db.put

    def put_many(self, pairs: Pairs) -> None:
        """One write batch."""
        with self._db.write_batch() as batch:
            put = batch.put
            for key, value in pairs:
                put(key, value)

    def get_many(self, keys: list[bytes]) -> Sequence[bytes | None]:
        """One get per key: LevelDB has no batch read."""
        return list(map(self._db.get, keys))

    def scan(self, start: bytes, count: int) -> Pairs:
        """Iterator from ``start``."""
        with self._db.iterator(start=start) as pairs:
            return list(islice(pairs, count))

    def end_run(self) -> None:
        """Close and open again: the memtable becomes a table at level 0."""
        self._db.close()
        self._bind()

    def compact(self) -> None:
        """Compact the whole range."""
        self._db.compact_range()

    def settle(self) -> None:
        """LevelDB does not tell what is due: wait until it has written no table for a while."""
        last = -1.0
        while (now := sum(self.background().values())) != last:
            last = now
            time.sleep(_QUIET_S)

    def background(self) -> Mapping[str, float]:
        """From the table of levels that LevelDB prints: level 0 is written by flushes, the others by compactions."""
        written = {"MB flushed": 0.0, "MB compacted": 0.0}
        for line in self._db.get_property(b"leveldb.stats").decode().splitlines():
            cells = line.split()
            if len(cells) == _LEVEL_CELLS and cells[0].isdigit():
                written["MB compacted" if int(cells[0]) else "MB flushed"] += float(cells[-1])
        return written

    def close(self) -> None:
        """Close the database."""
        self._db.close()


class PlyvelPages(PagePeer):
    """LevelDB with pages as values. ``sync`` is an fsync of the log."""

    name = "plyvel"

    def __init__(self, path: Path, page_bytes: int) -> None:
        """See the base class."""
        del page_bytes
        self._db = _open(path, Settings(write_buffer_bytes=64 << 20))

    def put_batch(self, keys: list[bytes], pages: Pages) -> None:
        """One write batch of copies: the binding takes bytes only."""
        with self._db.write_batch() as batch:
            for key, page in zip(keys, pages, strict=True):
                batch.put(key, page.tobytes())

    def sync(self) -> None:
        """A synced write: LevelDB's log is one file in order, so everything before it is durable too."""
        self._db.put(b"\0sync", b"", sync=True)

    def get_batch(self, keys: list[bytes], out: Pages) -> None:
        """One get per key, then a copy."""
        for row, key in zip(out, keys, strict=True):
            value = self._db.get(key)
            if value is None:
                raise KeyError
            memoryview(row)[:] = value

    def probe(self, keys: list[bytes]) -> int:
        """One get per key until the first miss."""
        get = self._db.get
        return next((i for i, key in enumerate(keys) if get(key) is None), len(keys))

    def delete_batch(self, keys: list[bytes]) -> None:
        """One write batch of tombstones."""
        with self._db.write_batch() as batch:
            for key in keys:
                batch.delete(key)

    def close(self) -> None:
        """Close the database."""
        self._db.close()
