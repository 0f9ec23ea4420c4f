"""LMCache: store, lookup and load tasks of its server's L2 adapters; and the storage backends of its in-process engine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from lmcache.v1.distributed.l2_adapters.fs_l2_adapter import FSL2Adapter, FSL2AdapterConfig
from lmcache.v1.memory_allocators.host_memory_allocator import HostMemoryAllocator

from bench.adapters.base import RowsEngine, Side, sync_side
from bench.scratch import aligned_bytes
from bench.stock.lmcache import L2Backend, LocalDisk, Plugin
from lsmkv_tensor.adapters.lmcache_l2 import LsmkvL2Adapter

__all__ = ["ENGINES"]


class _Objects:
    """A backend over rows of one array."""

    def __init__(self, engine: _Server, backend: Any, home: Path) -> None:
        self._engine, self._backend, self._home = engine, backend, home
        self._synced: set[str] = set()

    def put(self, keys: Sequence[bytes], first: int) -> int:
        """Rows of the first half; until the task is done."""
        done = sum(self._backend.put(keys, self._engine.memory[first : first + len(keys)]))
        self._backend.settle()
        return done

    def get(self, keys: Sequence[bytes], first: int) -> int:
        """Into the second half."""
        at = self._engine.pages + first
        return sum(self._backend.load(keys, self._engine.memory[at : at + len(keys)]))

    def lookup(self, keys: Sequence[bytes]) -> int:
        """A lookup task and its unlock; ``batched_contains``."""
        return self._backend.prefix(keys) if hasattr(self._backend, "prefix") else sum(self._backend.exists(keys))

    def sync(self) -> None:
        """Ours by its store; files one by one, which LMCache leaves out."""
        inside = getattr(self._backend, "adapter", None) or self._backend.disk
        sync_side(inside, self._home, self._synced)

    def close(self) -> None:
        """Its own."""
        self._backend.close()


class _Server(RowsEngine):
    """L2 adapters over one array of rows."""

    name: ClassVar[str] = "lmcache"

    def __init__(self, page_bytes: int, pages: int) -> None:
        logging.getLogger("lmcache").setLevel(logging.ERROR)
        self.title = f"LMCache {version('lmcache')}, its server"
        self.fill(pages, aligned_bytes(2 * pages * page_bytes).reshape(2 * pages, page_bytes))
        self.sides = {"lsmkv": self._lsmkv, "LMCache fs": self._fs}

    def _lsmkv(self, home: Path, capacity: int) -> Side:
        return _Objects(self, L2Backend(LsmkvL2Adapter({"path": str(home), "capacity_bytes": capacity})), home)

    def _fs(self, home: Path, capacity: int) -> Side:
        del capacity
        return _Objects(self, L2Backend(FSL2Adapter(FSL2AdapterConfig(str(home)))), home)


class _InProcess(_Server):
    """Storage backends of one process over host memory of LMCache's, the same for all: pages are copied into it and out of it."""

    name: ClassVar[str] = "lmcache in process"

    def __init__(self, page_bytes: int, pages: int) -> None:
        super().__init__(page_bytes, pages)
        self.title = f"LMCache {version('lmcache')}, in one process"
        self._host = HostMemoryAllocator(self.memory.nbytes + (64 << 20))
        self.sides = {"lsmkv": self._plugin, "LMCache local disk": self._disk}

    def _plugin(self, home: Path, capacity: int) -> Side:
        return _Objects(self, Plugin(home, capacity, self._host), home)

    def _disk(self, home: Path, capacity: int) -> Side:
        return _Objects(self, LocalDisk(home, capacity, self._host), home)


ENGINES = (_Server, _InProcess)
