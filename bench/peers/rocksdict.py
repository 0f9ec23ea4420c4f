"""RocksDB through rocksdict: raw mode (bytes in, bytes out), write-ahead log on, no fsync per write, no compression."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from bench.peers.base import IndexPeer, PagePeer, Pages, Pairs, Settings, UnavailableError

__all__ = ["BlobPages", "RocksIndex", "RocksPages"]

_MIN_BLOB_BYTES = 4096

_DUE = (
    "rocksdb.mem-table-flush-pending",
    "rocksdb.num-running-flushes",
    "rocksdb.compaction-pending",
    "rocksdb.num-running-compactions",
)

_LOOK_S = 0.05

_COUNT_CELL = 16
"""Column ``Comp(cnt)``; a size is two cells."""


def _binding() -> Any:
    try:
        import rocksdict  # noqa: PLC0415 - optional: its absence is an answer, not an error
    except ImportError as error:
        msg = f"rocksdict is not installed ({error})"
        raise UnavailableError(msg) from error
    return rocksdict


def _options(rocks: Any, settings: Settings) -> Any:
    options = rocks.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_compression_type(rocks.DBCompressionType.none())
    options.set_write_buffer_size(settings.write_buffer_bytes)
    options.set_keep_log_file_num(1)
    table = rocks.BlockBasedOptions()
    table.set_block_cache(rocks.Cache(settings.cache_bytes))
    table.set_bloom_filter(settings.filter_bits_per_key, False)
    options.set_block_based_table_factory(table)
    if not settings.compact:
        options.set_disable_auto_compactions(True)
    return options


def _open(rocks: Any, path: Path, options: Any) -> Any:
    """Open with these options on every opening.

    Without naming the column family, rocksdict reopens a database with the options it finds there and a cache of 8 MiB.
    """
    return rocks.Rdict(str(path), options, column_families={"default": options})


class RocksIndex(IndexPeer):
    """RocksDB as an index."""

    name = "rocksdict"

    def __init__(self, path: Path, settings: Settings) -> None:
        """See the base class."""
        self._rocks = _binding()
        self._db = _open(self._rocks, path, _options(self._rocks, settings))
        self._closed = False
        self.get = self._db.get
        self.put = self._db.put

    def put_many(self, pairs: Pairs) -> None:
        """One WriteBatch."""
        batch = self._rocks.WriteBatch(raw_mode=True)
        put = batch.put
        for key, value in pairs:
            put(key, value)
        self._db.write(batch)

    def change(self, pairs: Pairs, deleted: Sequence[bytes]) -> None:
        """One WriteBatch of puts and tombstones."""
        batch = self._rocks.WriteBatch(raw_mode=True)
        for key, value in pairs:
            batch.put(key, value)
        for key in deleted:
            batch.delete(key)
        self._db.write(batch)

    def get_many(self, keys: list[bytes]) -> Sequence[bytes | None]:
        """The binding's multi_get."""
        found: list[bytes | None] = self._db.get(keys)
        return found

    def scan(self, start: bytes, count: int) -> Pairs:
        """Iterator from ``start``."""
        return list(islice(self._db.items(from_key=start), count))

    def flush(self) -> None:
        """Write the memtable as a table."""
        self._db.flush()

    def compact(self) -> None:
        """Compact the whole range."""
        self._db.compact_range(None, None)

    def settle(self) -> None:
        """Until no flush and no compaction is due or running."""
        while any(self._db.property_int_value(name) for name in _DUE):
            time.sleep(_LOOK_S)

    def background(self) -> Mapping[str, float]:
        """From RocksDB's table of compactions: what it counts at level 0 are the flushes."""
        counts = {"L0": 0.0, "Sum": 0.0}
        for line in reversed(self._db.property_value("rocksdb.cfstats").splitlines()):
            cells = line.split()
            if cells and cells[0] in counts:
                counts[cells[0]] = float(cells[_COUNT_CELL])
        return {"flushes": counts["L0"], "compactions": counts["Sum"] - counts["L0"]}

    def close(self) -> None:
        """Close the database; the binding refuses a second close."""
        if not self._closed:
            self._closed = True
            self._db.close()


class RocksPages(PagePeer):
    """RocksDB with pages as ordinary values. ``sync`` flushes the memtable: only then are the values where reads find them."""

    name = "rocksdict"
    blob: ClassVar[bool] = False

    def __init__(self, path: Path, page_bytes: int) -> None:
        """See the base class."""
        del page_bytes
        self._rocks = _binding()
        options = _options(self._rocks, Settings(write_buffer_bytes=64 << 20))
        if self.blob:
            if not hasattr(options, "set_enable_blob_files"):
                msg = "this rocksdict has no blob files"
                raise UnavailableError(msg)
            options.set_enable_blob_files(True)
            options.set_min_blob_size(_MIN_BLOB_BYTES)
        self._db = _open(self._rocks, path, options)
        self._closed = False

    def put_batch(self, keys: list[bytes], pages: Pages) -> None:
        """One WriteBatch of copies: the binding takes bytes only."""
        batch = self._rocks.WriteBatch(raw_mode=True)
        for key, page in zip(keys, pages, strict=True):
            batch.put(key, page.tobytes())
        self._db.write(batch)

    def sync(self) -> None:
        """Flush the memtable."""
        self._db.flush()

    def get_batch(self, keys: list[bytes], out: Pages) -> None:
        """multi_get, then a copy into the caller's rows."""
        for row, value in zip(out, self._db.get(keys), strict=True):
            if value is None:
                raise KeyError
            memoryview(row)[:] = value

    def probe(self, keys: list[bytes]) -> int:
        """One multi_get: the binding has no exact existence check; values come along."""
        found = self._db.get(keys)
        return next((i for i, value in enumerate(found) if value is None), len(keys))

    def delete_batch(self, keys: list[bytes]) -> None:
        """One WriteBatch of tombstones."""
        batch = self._rocks.WriteBatch(raw_mode=True)
        for key in keys:
            batch.delete(key)
        self._db.write(batch)

    def close(self) -> None:
        """Close the database; the binding refuses a second close."""
        if not self._closed:
            self._closed = True
            self._db.close()


class BlobPages(RocksPages):
    """RocksDB with pages in blob files."""

    name = "rocksdict-blob"
    blob = True
