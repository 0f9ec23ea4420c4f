"""LMDB: no fsync per commit (``sync=False``), one sync at a flush. Reads hold one transaction over a round: its best case.

With ``sync=False`` LMDB promises less after a power cut than the LSM-trees do: they come back with a prefix of the commits, an
LMDB file may be damaged. It is left at that, in its favour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bench.peers.base import IndexPeer, PagePeer, Pages, Pairs, Settings, UnavailableError

__all__ = ["LmdbIndex", "LmdbPages"]

_MAP_BYTES = 16 << 30


def _open(path: Path) -> Any:
    try:
        import lmdb  # noqa: PLC0415 - optional: its absence is an answer, not an error
    except ImportError as error:
        msg = f"lmdb is not installed ({error})"
        raise UnavailableError(msg) from error
    path.mkdir(parents=True, exist_ok=True)
    return lmdb.open(str(path), map_size=_MAP_BYTES, sync=False)


def _scan(cursor: Any, start: bytes, count: int) -> Pairs:
    return list(islice(cursor.iternext(), count)) if cursor.set_range(start) else []


class LmdbIndex(IndexPeer):
    """LMDB as an index."""

    name = "lmdb"

    def __init__(self, path: Path, settings: Settings) -> None:
        """See the base class; LMDB takes none of the settings."""
        del settings
        self._env = _open(path)
        self.put = self._put
        self._reading: Any = None
        self.get = self._get_fresh

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.abort()
            self._reading = None

    def start_reading(self) -> None:
        """Hold a fresh read transaction. Not while writing: LMDB cannot use pages again that a reader may see, and grows."""
        self._stop_reading()
        self._reading = self._env.begin()
        self.get = self._reading.get
        self._cursor = self._reading.cursor()

    def start_mixing(self) -> None:
        """A read transaction per read: a held one would not see the writes."""
        self._stop_reading()
        self.get = self._get_fresh

    def _get_fresh(self, key: bytes) -> bytes | None:
        with self._env.begin() as transaction:
            return transaction.get(key)  # type: ignore[no-any-return]  # the binding is untyped

    def _put(self, key: bytes, value: bytes) -> None:
        """A transaction of one."""
        with self._env.begin(write=True) as transaction:
            transaction.put(key, value)

    def put_many(self, pairs: Pairs) -> None:
        """``putmulti`` in one transaction."""
        with self._env.begin(write=True) as transaction:
            transaction.cursor().putmulti(pairs)

    def get_many(self, keys: list[bytes]) -> Sequence[bytes | None]:
        """``getmulti``; when keys are missing its answer is matched to them by a dict. Needs ``start_reading``."""
        found = self._cursor.getmulti(keys)
        if len(found) == len(keys):
            return [value for _, value in found]
        values = dict(found)
        return list(map(values.get, keys))

    def contains_many(self, keys: list[bytes]) -> Iterable[bool]:
        """One cursor seek per key. Needs ``start_reading``."""
        return list(map(self._cursor.set_key, keys))

    def scan(self, start: bytes, count: int) -> Pairs:
        """A cursor from ``start``, of the held transaction if there is one."""
        if self._reading is None:
            with self._env.begin() as transaction:
                return _scan(transaction.cursor(), start, count)
        return _scan(self._cursor, start, count)

    def flush(self) -> None:
        """One sync."""
        self._env.sync(True)

    def close(self) -> None:
        """Close the environment."""
        self._stop_reading()
        self._env.close()


class LmdbPages(PagePeer):
    """LMDB with pages as (overflow-page) values."""

    name = "lmdb"

    def __init__(self, path: Path, page_bytes: int) -> None:
        """See the base class."""
        del page_bytes
        self._env = _open(path)

    def put_batch(self, keys: list[bytes], pages: Pages) -> None:
        """One transaction, straight from the caller's rows."""
        with self._env.begin(write=True) as transaction:
            for key, page in zip(keys, pages, strict=True):
                transaction.put(key, memoryview(page))

    def sync(self) -> None:
        """One sync."""
        self._env.sync(True)

    def get_batch(self, keys: list[bytes], out: Pages) -> None:
        """One transaction; each mapped value copied once into the caller's row."""
        with self._env.begin(buffers=True) as transaction:
            for row, key in zip(out, keys, strict=True):
                value = transaction.get(key)
                if value is None:
                    raise KeyError
                memoryview(row)[:] = value

    def probe(self, keys: list[bytes]) -> int:
        """One cursor seek per key until the first miss."""
        with self._env.begin() as transaction:
            seek = transaction.cursor().set_key
            return next((i for i, key in enumerate(keys) if not seek(key)), len(keys))

    def delete_batch(self, keys: list[bytes]) -> None:
        """One transaction."""
        with self._env.begin(write=True) as transaction:
            for key in keys:
                transaction.delete(key)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()
