"""What the tests of range deletes share: small stores on an in-memory disk, driven by hand, that never delete key by key."""

from __future__ import annotations

import pytest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem

KEYS = [b"%03d" % i for i in range(200)]


@pytest.fixture
def disk() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def open_db(disk):
    """Keyword arguments override options, ``fs`` included."""

    def opener(**overrides):
        settings = {
            "fs": disk,
            "scheduler": ManualScheduler(),
            "rng": seeded(1),
            "memtable_bytes": 1 << 20,
            "table_bytes": 1024,
            "block_bytes": 256,
            "level0_runs": 2,
            "level0_stop_runs": 20,
            "range_delete_keys": 0,
            "event_log": False,
        }
        return lsmkv.open("/db", lsmkv.Options(**(settings | overrides)))

    return opener


@pytest.fixture
def filled(open_db):
    """A store with all KEYS in some tables of one run at level 1, settled."""

    def fill(**overrides):
        db = open_db(**overrides)
        for part in (KEYS[::2], KEYS[1::2]):
            db.put_many([(key, key * 20) for key in part])
            db.flush()
        db.compact()
        return db

    return fill
