"""Ourselves, through the public doors only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bench.peers.base import IndexPeer, PagePeer, Pages, Pairs, Settings, UnavailableError

__all__ = ["LsmkvIndex", "LsmkvPages"]

_CAPACITY_BYTES = 8 << 30


class LsmkvIndex(IndexPeer):
    """The engine."""

    name = "lsmkv"
    needs_numpy = True

    def __init__(self, path: Path, settings: Settings) -> None:
        """See the base class."""
        try:
            import lsmkv  # noqa: PLC0415 - so that measuring a peer's memory does not import us
        except ImportError as error:
            msg = f"lsmkv cannot be imported ({error})"
            raise UnavailableError(msg) from error
        options = lsmkv.Options(
            block_cache_bytes=settings.cache_bytes,
            memtable_bytes=settings.write_buffer_bytes,
            filter_bits_per_key=float(settings.filter_bits_per_key),
            compression="none",
            level0_runs=4 if settings.compact else 16,
        )
        self._db = lsmkv.open(str(path), options)
        self.get = self._db.get
        self.put = self._db.put

    def put_many(self, pairs: Pairs) -> None:
        """One call."""
        self._db.put_many(pairs)

    def get_many(self, keys: list[bytes]) -> Sequence[bytes | None]:
        """One call."""
        return self._db.get_many(keys)

    def contains_many(self, keys: list[bytes]) -> Iterable[bool]:
        """One call; the answer is a NumPy array of bool."""
        return self._db.contains_many(keys)

    def scan(self, start: bytes, count: int) -> Pairs:
        """Iterator from ``start``."""
        return list(islice(self._db.scan(start=start), count))

    def flush(self) -> None:
        """Write the memtable as a table."""
        self._db.flush()

    def compact(self) -> None:
        """Merge everything into one run."""
        self._db.compact()

    def close(self) -> None:
        """Close the store."""
        self._db.close()


class LsmkvPages(PagePeer):
    """The page store."""

    name = "lsmkv"

    def __init__(self, path: Path, page_bytes: int) -> None:
        """See the base class."""
        try:
            from lsmkv_tensor import PageStore, StoreOptions  # noqa: PLC0415 - optional: it needs the extra "tensor"
        except ImportError as error:
            msg = f"the page store cannot be imported ({error})"
            raise UnavailableError(msg) from error
        self._store: Any = PageStore.open(str(path), options=StoreOptions(capacity_bytes=_CAPACITY_BYTES))
        self._pages: Any = self._store.namespace({"model": "bench", "page_bytes": page_bytes}, page_bytes)

    def put_batch(self, keys: list[bytes], pages: Pages) -> None:
        """One call; raises if a page was declined."""
        if not all(self._pages.put_many(keys, list(pages))):
            msg = "the store declined a page"
            raise RuntimeError(msg)

    def sync(self) -> None:
        """The store's own sync."""
        self._store.sync()

    def get_batch(self, keys: list[bytes], out: Pages) -> None:
        """One call, into the caller's rows."""
        if not all(self._pages.get_into(keys, list(out))):
            raise KeyError

    def probe(self, keys: list[bytes]) -> int:
        """One call."""
        return int(self._pages.contains_prefix(keys))

    def delete_batch(self, keys: list[bytes]) -> None:
        """One call."""
        self._pages.delete_many(keys)

    def close(self) -> None:
        """Close the store."""
        self._store.close()
