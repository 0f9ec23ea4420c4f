"""SQLite from the standard library: write-ahead log, ``synchronous=NORMAL`` (fsync only at checkpoints), a clustered table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.peers.base import IndexPeer, PagePeer, Pages, Pairs, Settings

__all__ = ["SqliteIndex", "SqlitePages"]

_MOST_VARIABLES = 512


def _open(path: Path, cache_bytes: int) -> sqlite3.Connection:
    path.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path / "store.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA cache_size=-{cache_bytes >> 10}")
    return connection


def _checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


class SqliteIndex(IndexPeer):
    """SQLite as an index: ``WITHOUT ROWID``, so that the key is the tree."""

    name = "sqlite"

    def __init__(self, path: Path, settings: Settings) -> None:
        """See the base class."""
        self._db = _open(path, settings.cache_bytes)
        self._run = self._db.execute
        self._run("CREATE TABLE IF NOT EXISTS t (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID")
        self.get, self.put = self._get, self._put

    def _get(self, key: bytes) -> bytes | None:
        row = self._run("SELECT v FROM t WHERE k = ?", (key,)).fetchone()
        return row and row[0]  # type: ignore[no-any-return]  # sqlite3 rows are untyped

    def _put(self, key: bytes, value: bytes) -> None:
        """A transaction of one."""
        self._run("INSERT OR REPLACE INTO t VALUES (?, ?)", (key, value))

    def put_many(self, pairs: Pairs) -> None:
        """``executemany`` in one transaction."""
        self._run("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO t VALUES (?, ?)", pairs)
        self._run("COMMIT")

    def get_many(self, keys: list[bytes]) -> Sequence[bytes | None]:
        """``IN (...)``, matched to the keys by a dict."""
        marks = ",".join("?" * len(keys))
        values = dict(self._run(f"SELECT k, v FROM t WHERE k IN ({marks})", keys))
        return list(map(values.get, keys))

    def contains_many(self, keys: list[bytes]) -> Iterable[bool]:
        """``IN (...)`` over the keys alone."""
        marks = ",".join("?" * len(keys))
        found = {key for (key,) in self._run(f"SELECT k FROM t WHERE k IN ({marks})", keys)}
        return [key in found for key in keys]

    def scan(self, start: bytes, count: int) -> Pairs:
        """``ORDER BY`` the key with a limit."""
        return self._run("SELECT k, v FROM t WHERE k >= ? ORDER BY k LIMIT ?", (start, count)).fetchall()

    def flush(self) -> None:
        """A full checkpoint."""
        _checkpoint(self._db)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


class SqlitePages(PagePeer):
    """SQLite with pages as blobs in a rowid table (a clustered one would move blobs about)."""

    name = "sqlite"

    def __init__(self, path: Path, page_bytes: int) -> None:
        """See the base class."""
        del page_bytes
        self._db = _open(path, 32 << 20)
        self._db.execute("CREATE TABLE IF NOT EXISTS t (k BLOB PRIMARY KEY, v BLOB)")

    def put_batch(self, keys: list[bytes], pages: Pages) -> None:
        """One transaction, straight from the caller's rows."""
        self._db.execute("BEGIN")
        rows = [(key, memoryview(page)) for key, page in zip(keys, pages, strict=True)]
        self._db.executemany("INSERT OR REPLACE INTO t VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def sync(self) -> None:
        """A full checkpoint."""
        _checkpoint(self._db)

    def get_batch(self, keys: list[bytes], out: Pages) -> None:
        """One query per page, then a copy."""
        for row, key in zip(out, keys, strict=True):
            found = self._db.execute("SELECT v FROM t WHERE k = ?", (key,)).fetchone()
            if found is None:
                raise KeyError
            memoryview(row)[:] = found[0]

    def probe(self, keys: list[bytes]) -> int:
        """``IN (...)`` in parts, then the first gap."""
        found: set[bytes] = set()
        for start in range(0, len(keys), _MOST_VARIABLES):
            part = keys[start : start + _MOST_VARIABLES]
            marks = ",".join("?" * len(part))
            found.update(key for (key,) in self._db.execute(f"SELECT k FROM t WHERE k IN ({marks})", part))
        return next((i for i, key in enumerate(keys) if key not in found), len(keys))

    def delete_batch(self, keys: list[bytes]) -> None:
        """One transaction."""
        self._db.execute("BEGIN")
        self._db.executemany("DELETE FROM t WHERE k = ?", [(key,) for key in keys])
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()
