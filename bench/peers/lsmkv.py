"""Ourselves, through the public doors only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bench.peers.base import IndexPeer, PagePeer, Pages, Pairs, Settings, UnavailableError

__all__ = ["LsmkvFifo", "LsmkvFluid", "LsmkvIndex", "LsmkvLazyLeveling", "LsmkvLeveled", "LsmkvPages", "LsmkvTiered"]

_CAPACITY_BYTES = 8 << 30

_SIZE_RATIO = 4
"""Of the policies that are compared: small, so that a store of seconds has several levels."""


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
        chosen: dict[str, Any] = {
            "block_cache_bytes": settings.cache_bytes,
            "memtable_bytes": settings.write_buffer_bytes,
            "filter_bits_per_key": float(settings.filter_bits_per_key),
            "compression": "none",
            "level0_runs": 4 if settings.compact else 16,
        }
        self._db = lsmkv.open(str(path), lsmkv.Options(**(chosen | self.choices())))
        self.get = self._db.get
        self.put = self._db.put

    def choices(self) -> dict[str, Any]:
        """Options in which a subject of its own, a subclass with another ``name``, differs."""
        return {}

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

    def settle(self) -> None:
        """Do what is due and wait for what is running; files that a compaction has emptied are gone then, too."""
        self._db.settle()

    def background(self) -> Mapping[str, float]:
        """From the statistics."""
        stats = self._db.stats()
        written = stats.compaction_written_bytes / 1e6
        return {"flushes": stats.flushes, "compactions": stats.compactions, "MB compacted": written}

    def close(self) -> None:
        """Close the store."""
        self._db.close()


class LsmkvTiered(LsmkvIndex):
    """The engine under tiering."""

    name = "lsmkv-tiered"

    def choices(self) -> dict[str, Any]:
        """T - 1 runs in every level."""
        from lsmkv.policy import Tiered  # noqa: PLC0415 - as the engine itself

        return {"policy": Tiered(_SIZE_RATIO)}


class LsmkvLazyLeveling(LsmkvIndex):
    """The engine under lazy leveling."""

    name = "lsmkv-lazy-leveling"

    def choices(self) -> dict[str, Any]:
        """One run in the last level, T - 1 in the others."""
        from lsmkv.policy import LazyLeveling  # noqa: PLC0415 - as the engine itself

        return {"policy": LazyLeveling(_SIZE_RATIO)}


class LsmkvFluid(LsmkvIndex):
    """The engine half-way between leveling and lazy leveling."""

    name = "lsmkv-fluid"

    def choices(self) -> dict[str, Any]:
        """Two runs in inner levels, one in the last."""
        from lsmkv.policy import Fluid  # noqa: PLC0415 - as the engine itself

        return {"policy": Fluid(_SIZE_RATIO, K=2, Z=1)}


class LsmkvLeveled(LsmkvIndex):
    """The engine under leveling, with the size ratio of the other policies."""

    name = "lsmkv"

    def choices(self) -> dict[str, Any]:
        """One run in every level."""
        from lsmkv.policy import Leveled  # noqa: PLC0415 - as the engine itself

        return {"policy": Leveled(_SIZE_RATIO)}


class LsmkvFifo(LsmkvIndex):
    """The engine that never merges; its capacity is never reached, so that it loses nothing here."""

    name = "lsmkv-fifo"

    def choices(self) -> dict[str, Any]:
        """Room for everything."""
        from lsmkv.policy import FIFO  # noqa: PLC0415 - as the engine itself

        return {"policy": FIFO(_CAPACITY_BYTES)}


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
