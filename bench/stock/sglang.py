"""SGLang's ``HiCacheFile``, and ``LsmkvHiCache``, as SGLang makes them; pages are flat tensors over the caller's memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tests.real.hicache import cpu  # noqa: F401 - SGLang is importable without a GPU from here on, ours with it

# isort: split

from sglang.srt.mem_cache.hicache_storage import HiCacheStorageConfig
from sglang.srt.mem_cache.storage.backend_factory import StorageBackendFactory

from lsmkv.env.posix import PosixFileSystem
from lsmkv.testing import FaultFileSystem
from lsmkv_tensor.adapters.sglang import LsmkvHiCache
from lsmkv_tensor.testing.conformance import Backend, NotApplicableError, Subject
from lsmkv_tensor.testing.conformance.own import hanging_segments
from lsmkv_tensor.testing.conformance.protocol import Pages
from tests.real.hicache import world

__all__ = ["HiCacheFileSubject", "LsmkvHiCacheSubject", "file_backend", "host_pool", "lsmkv_backend"]

PAGE_TOKENS, HEADS, WIDTH = 16, 8, 128


def storage_config(extra: dict[str, Any]) -> HiCacheStorageConfig:
    """One process's, with this extra config."""
    return HiCacheStorageConfig(
        tp_rank=0,
        tp_size=1,
        pp_rank=0,
        pp_size=1,
        attn_cp_rank=0,
        attn_cp_size=1,
        is_mla_model=False,
        enable_storage_metrics=False,
        is_page_first_layout=False,
        model_name="m",
        extra_config=extra,
    )


def file_backend(directory: Path, capacity_bytes: int, pool: object = None) -> Any:
    """SGLang's own, with its evictor and its metadata cache on."""
    extra = {"file_storage_path": str(directory), "max_size": capacity_bytes, "enable_metadata_cache": True}
    return StorageBackendFactory.create_backend("file", storage_config(extra), pool)


def lsmkv_backend(
    directory: Path, capacity_bytes: int, pool: object, *, v1: int = 1, seams: dict[str, Any] | None = None, **settings: object
) -> Any:
    """Ours; ``seams``: what no JSON can say."""
    extra = {
        "backend_name": "lsmkv",
        "module_path": "lsmkv_tensor.adapters.sglang",
        "class_name": "LsmkvHiCache",
        "interface_v1": v1,
        "lsmkv": {"path": str(directory), "capacity_bytes": capacity_bytes, **settings},
    }
    if seams is None:
        engine = StorageBackendFactory.create_backend("dynamic", storage_config(extra), pool)
    else:
        engine = LsmkvHiCache(storage_config(extra), seams)
    engine.register_mem_pool_host(pool)
    return engine


def host_pool(page_bytes: int, pages: int, layout: str = "page_first") -> Any:
    """A host pool of SGLang's: 16 tokens a page, 8 heads of 128 elements, as many layers as it takes."""
    layers = page_bytes // (2 * PAGE_TOKENS * HEADS * WIDTH * 2)
    return world.host_pool(layout, pages, layers=layers, heads=HEADS, width=WIDTH, page_size=PAGE_TOKENS)


class _Flat:
    """A HiCacheStorage behind the kit's calls."""

    def __init__(self, engine: Any, disk: FaultFileSystem | None = None) -> None:
        self.engine = engine
        self.disk = disk

    def put(self, keys: Sequence[bytes], pages: Pages) -> list[bool]:
        """``batch_set`` has one verdict for all."""
        done = bool(self.engine.batch_set([key.hex() for key in keys], list(torch.from_numpy(pages))))
        return [done] * len(keys)

    def exists(self, keys: Sequence[bytes]) -> list[bool]:
        """``exists`` key by key."""
        return [bool(self.engine.exists(key.hex())) for key in keys]

    def get(self, keys: Sequence[bytes], out: Pages, deadline_s: float | None) -> list[bool]:
        """``batch_get`` into the caller's memory; SGLang gives it no deadline."""
        del deadline_s
        found = self.engine.batch_get([key.hex() for key in keys], list(torch.from_numpy(out)))
        return [one is not None for one in found]

    def settle(self) -> None:
        """What waits in our queue; files are there at once."""
        if self.disk is not None:
            self.engine.holding.store.sync()

    def delete(self, keys: Sequence[bytes]) -> None:
        """SGLang asks for none."""
        del keys
        msg = "SGLang's interface has no delete, only clear"
        raise NotApplicableError(msg)

    def close(self) -> None:
        """``close``, where there is one."""
        if hasattr(self.engine, "close"):
            self.engine.close()


class HiCacheFileSubject(Subject):
    """SGLang's files."""

    name = "SGLang HiCacheFile"
    version = f"sglang {version('sglang')}, evictor and metadata cache on"

    def open(self, directory: Path, capacity_bytes: int) -> _Flat:
        """See Subject."""
        return _Flat(file_backend(directory, capacity_bytes))


class LsmkvHiCacheSubject(Subject):
    """Ours in SGLang."""

    name = "lsmkv in SGLang"
    version = f"sglang {version('sglang')}, lsmkv {version('lsmkv')}"

    def open(self, directory: Path, capacity_bytes: int) -> _Flat:
        """See Subject."""
        disk = FaultFileSystem(PosixFileSystem())
        settings = {"segment_bytes": 16 * self.page_bytes + (64 << 10), "io_timeout_s": self.deadline_s, "read_threads": 1}
        pool = host_pool(self.page_bytes, 8)
        return _Flat(lsmkv_backend(directory, capacity_bytes, pool, v1=0, seams={"fs": disk}, **settings), disk)

    def stalled(self, backend: Backend, directory: Path, page: Pages) -> AbstractContextManager[object]:
        """See Subject."""
        del directory, page
        assert isinstance(backend, _Flat)
        assert backend.disk is not None
        return hanging_segments(backend.disk)
