"""Small stores in memory, driven by hand, with a controller."""

from __future__ import annotations

import pytest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.testing import ManualScheduler, MemoryFileSystem


@pytest.fixture
def memory_fs():
    return MemoryFileSystem()


@pytest.fixture
def open_db(memory_fs):
    def opener(controller=lsmkv.Adaptive(), **overrides):  # noqa: B008 - frozen
        chosen = {
            "fs": memory_fs,
            "scheduler": ManualScheduler(),
            "rng": seeded(1),
            "memtable_bytes": 4096,
            "table_bytes": 1 << 20,
            "block_bytes": 1024,
            "level0_runs": 1,
            "controller": controller,
        }
        return lsmkv.open("/db", lsmkv.Options(**{**chosen, **overrides}))

    return opener
