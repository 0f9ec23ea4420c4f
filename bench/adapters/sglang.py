"""SGLang: ``batch_set_v2``, ``batch_get_v2`` and ``batch_exists`` on one of its host pools, as it is by default (page_first)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from bench.stock.sglang import PAGE_TOKENS, file_backend, host_pool, lsmkv_backend

# isort: split
import numpy as np
import torch
from sglang.srt.mem_cache.hicache_storage import PoolName, PoolTransfer

from bench.adapters.bare import BARE, BareSide
from bench.adapters.base import Engine, Side, sync_side
from lsmkv_tensor.adapters.hostpool import HostPages

__all__ = ["ENGINES"]


class _Backend:
    """A HiCacheStorage on the pool."""

    def __init__(self, engine: _Sglang, backend: Any, home: Path) -> None:
        self._engine, self._backend, self._home = engine, backend, home
        self._synced: set[str] = set()
        backend.register_mem_host_pool_v2(engine.pool, PoolName.KV)
        backend.on_host_pools_registered()

    def put(self, keys: Sequence[bytes], first: int) -> int:
        """Pages of the pool's first half."""
        transfer = PoolTransfer(name=PoolName.KV, keys=_hex(keys), host_indices=_slots(first, len(keys)))
        return sum(self._backend.batch_set_v2([transfer])[PoolName.KV])

    def get(self, keys: Sequence[bytes], first: int) -> int:
        """Into its second half."""
        slots = _slots(self._engine.pages + first, len(keys))
        return sum(self._backend.batch_get_v2([PoolTransfer(name=PoolName.KV, keys=_hex(keys), host_indices=slots)])[PoolName.KV])

    def lookup(self, keys: Sequence[bytes]) -> int:
        """The prefix that is there."""
        return int(self._backend.batch_exists(_hex(keys)))

    def sync(self) -> None:
        """Ours by its store; files one by one, which SGLang leaves out."""
        sync_side(self._backend, self._home, self._synced)

    def close(self) -> None:
        """Where there is something to close."""
        if hasattr(self._backend, "close"):
            self._backend.close()


class _Sglang(Engine):
    """One pool, shared by all sides."""

    name: ClassVar[str] = "sglang"

    def __init__(self, page_bytes: int, pages: int) -> None:
        self.title = f"SGLang {version('sglang')}"
        self.pages = pages
        self.pool = host_pool(page_bytes, 2 * pages)
        half = self.pool.kv_buffer[:, : pages * PAGE_TOKENS]
        rng = np.random.default_rng(1)
        for side in half:
            side.view(torch.uint8).copy_(torch.from_numpy(rng.integers(0, 256, side.view(torch.uint8).shape, np.uint8)))
        self.sides = {
            "lsmkv": self._lsmkv,
            "HiCacheFile": self._file,
            BARE: lambda home, _: BareSide(home, page_bytes, self._spans),
        }

    def _lsmkv(self, home: Path, capacity: int) -> Side:
        return _Backend(self, lsmkv_backend(home, capacity, self.pool), home)

    def _file(self, home: Path, capacity: int) -> Side:
        backend = file_backend(home, capacity, self.pool)
        backend.register_mem_pool_host(self.pool)
        return _Backend(self, backend, home)

    def _spans(self, first: int, n: int, into: bool) -> list[list[memoryview]]:
        """See BareSide."""
        slots = (np.arange(first, first + n) + self.pages * into) * PAGE_TOKENS
        return HostPages(self.pool).spans(slots).views()

    def clear(self) -> None:
        """See the base class."""
        self.pool.kv_buffer[:, self.pages * PAGE_TOKENS :].zero_()

    def same(self, first: int, n: int) -> bool:
        """See the base class."""
        tokens, half = slice(first * PAGE_TOKENS, (first + n) * PAGE_TOKENS), self.pages * PAGE_TOKENS
        buffer = self.pool.kv_buffer.view(torch.int16)
        return torch.equal(buffer[:, tokens], buffer[:, half + tokens.start : half + tokens.stop])


def _hex(keys: Sequence[bytes]) -> list[str]:
    """SGLang's keys are hexadecimal digests."""
    return [key.hex() for key in keys]


def _slots(first: int, n: int) -> Any:
    """The tokens of pages."""
    return torch.arange(first * PAGE_TOKENS, (first + n) * PAGE_TOKENS)


ENGINES = (_Sglang,)
