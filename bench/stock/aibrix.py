"""AIBrix's RocksDB connector, as its offloading makes it: from environment variables, in its raw mode."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import torch
from aibrix_kvcache.l2.connectors.rocksdb import RocksDBConnector
from aibrix_kvcache.memory import MemoryRegion

from lsmkv_tensor.testing.conformance import Subject
from lsmkv_tensor.testing.conformance.protocol import Pages

__all__ = ["RocksDBSubject"]


class _Connector:
    """The connector behind the kit's calls: what its coroutines run in their executor."""

    def __init__(self, directory: Path) -> None:
        os.environ["AIBRIX_KV_CACHE_OL_ROCKSDB_ROOT"] = str(directory)
        self.connector = RocksDBConnector.from_envs("conformance", ThreadPoolExecutor(1))
        opened = self.connector.open()
        if not opened.is_ok():
            raise RuntimeError(str(opened.value))

    def put(self, keys: Sequence[bytes], pages: Pages) -> list[bool]:
        """One put a page."""
        return [self.connector._put(key, _region(row)).is_ok() for key, row in zip(keys, pages, strict=True)]  # noqa: SLF001 - its coroutine's body

    def exists(self, keys: Sequence[bytes]) -> list[bool]:
        """Key by key."""
        return [self.connector._exists(key).is_ok() for key in keys]  # noqa: SLF001 - as above

    def get(self, keys: Sequence[bytes], out: Pages, deadline_s: float | None) -> list[bool]:
        """One get a page; it has no deadline."""
        del deadline_s
        return [self.connector._get(key, _region(row)).is_ok() for key, row in zip(keys, out, strict=True)]  # noqa: SLF001 - as above

    def settle(self) -> None:
        """A put is done when it returns."""

    def delete(self, keys: Sequence[bytes]) -> None:
        """One delete a page."""
        for key in keys:
            self.connector._delete(key)  # noqa: SLF001 - as above

    def close(self) -> None:
        """Its own."""
        self.connector.close()


class _Region(MemoryRegion):  # type: ignore[misc] # AIBrix has no types
    """The caller's memory as AIBrix passes it."""

    def destroy_unsafe(self) -> None:
        """It is the caller's."""


def _region(row: Pages) -> _Region:
    """One page's."""
    return _Region(torch.from_numpy(row), 0, len(row))


class RocksDBSubject(Subject):
    """RocksDB with a time to live of 600 s, and no capacity."""

    name = "AIBrix RocksDB"
    version = f"aibrix-kvcache {version('aibrix-kvcache')}, rocksdict {version('rocksdict')}"

    def open(self, directory: Path, capacity_bytes: int) -> _Connector:
        """See Subject."""
        del capacity_bytes
        return _Connector(directory)
