"""What the engine's tests share: small stores on an in-memory file system, driven by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem

Opener = Callable[..., lsmkv.DB]


@pytest.fixture
def memory_fs() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def open_db(memory_fs: MemoryFileSystem) -> Opener:
    """Open a store with tiny buffers; keyword arguments override options, ``fs`` included."""

    def opener(path: str = "/db", **overrides: object) -> lsmkv.DB:
        settings: dict[str, object] = {
            "fs": memory_fs,
            "scheduler": ManualScheduler(),
            "rng": seeded(1),
            "memtable_bytes": 4096,
            "table_bytes": 4096,
            "block_bytes": 256,
            "level0_runs": 2,
            "level0_stop_runs": 6,
            "block_cache_bytes": 1 << 16,
        }
        settings.update(overrides)
        return lsmkv.open(path, lsmkv.Options(**settings))  # type: ignore[arg-type]  # overrides are the test's own

    return opener
