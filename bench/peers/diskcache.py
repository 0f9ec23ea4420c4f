"""diskcache: values of more than 32 KiB as files, found through SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.peers.base import PagePeer, Pages, UnavailableError

__all__ = ["DiskCachePages"]

_LIMIT_BYTES = 64 << 30


class DiskCachePages(PagePeer):
    """diskcache with eviction out of reach."""

    name = "diskcache"

    def __init__(self, path: Path, page_bytes: int) -> None:
        """See the base class."""
        del page_bytes
        try:
            import diskcache  # noqa: PLC0415 - optional: its absence is an answer, not an error
        except ImportError as error:
            msg = f"diskcache is not installed ({error})"
            raise UnavailableError(msg) from error
        self._cache: Any = diskcache.Cache(str(path), size_limit=_LIMIT_BYTES)

    def put_batch(self, keys: list[bytes], pages: Pages) -> None:
        """One transaction around a set a page; it takes bytes only."""
        with self._cache.transact():
            for key, page in zip(keys, pages, strict=True):
                self._cache.set(key, page.tobytes())

    def sync(self) -> None:
        """Fsync everything: diskcache leaves that out."""
        from bench.scratch import sync_tree  # noqa: PLC0415 - only here

        sync_tree(Path(self._cache.directory))

    def settle(self) -> None:
        """What was set is where reads find it."""

    def get_batch(self, keys: list[bytes], out: Pages) -> None:
        """A get and a copy a page."""
        for row, key in zip(out, keys, strict=True):
            value = self._cache.get(key)
            if value is None:
                raise KeyError
            memoryview(row)[:] = value

    def probe(self, keys: list[bytes]) -> int:
        """One membership test a key until the first miss."""
        return next((i for i, key in enumerate(keys) if key not in self._cache), len(keys))

    def delete_batch(self, keys: list[bytes]) -> None:
        """One transaction around a delete a page."""
        with self._cache.transact():
            for key in keys:
                self._cache.delete(key)

    def close(self) -> None:
        """Close the cache."""
        self._cache.close()
