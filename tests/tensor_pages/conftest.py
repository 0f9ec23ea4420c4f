"""A world for page-store tests: an in-memory disk, small segments, keys and pages by number."""

from __future__ import annotations

import contextlib
import hashlib

import numpy as np
import pytest

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.errors import LsmError
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore

SEGMENT = 64 << 10
INDEX = 512 << 10
PATH = "/store"


class World:
    """A disk and a store on it. Page i of size n has bytes that only (i, salt) have."""

    def __init__(self, fs=None, segments: int = 6):
        self.fs = fs if fs is not None else MemoryFileSystem()
        self.segments = segments
        self.store: PageStore | None = None

    @staticmethod
    def key(i: int) -> bytes:
        return hashlib.sha256(b"key %d" % i).digest()[:28]

    @staticmethod
    def keys(ids) -> list[bytes]:
        return [World.key(i) for i in ids]

    @staticmethod
    def page(i: int, size: int, salt: int = 0) -> bytes:
        return np.random.default_rng([i, salt]).integers(0, 256, size, dtype=np.uint8).tobytes()

    @staticmethod
    def pages(ids, size: int, salt: int = 0) -> list[bytes]:
        return [World.page(i, size, salt) for i in ids]

    def options(self, **changes) -> StoreOptions:
        capacity = INDEX + 8192 + self.segments * SEGMENT
        fields = {"capacity_bytes": capacity, "segment_bytes": SEGMENT, "index_bytes": INDEX, "fs": self.fs}
        fields |= {"rng": seeded(1), "scheduler": ManualScheduler(), "block_cache_bytes": 1 << 20}
        fields["breaker_failures"] = 0  # errors as they come; tests/tensor_runtime has the breaker
        return StoreOptions(**{**fields, **changes})

    def open(self, **changes) -> PageStore:
        self.store = PageStore.open(PATH, options=self.options(**changes))
        return self.store

    def reopen(self, **changes) -> PageStore:
        self.store.close()
        return self.open(**changes)

    def crash(self, rng=None) -> PageStore:
        """Cut the power and open what is left."""
        self.fs = self.fs.crash(rng)
        return self.open()

    @staticmethod
    def read(ns, ids) -> dict[int, bytes]:
        """The delivered pages by number."""
        ids = list(ids)
        out = np.zeros((len(ids), ns.page_bytes), np.uint8)
        flags = ns.get_into(World.keys(ids), out)
        return {i: out[at].tobytes() for at, i in enumerate(ids) if flags[at]}

    @staticmethod
    def put(ns, ids, salt: int = 0) -> list[bool]:
        ids = list(ids)
        return ns.put_many(World.keys(ids), World.pages(ids, ns.page_bytes, salt))

    @staticmethod
    def check(ns, ids, salt: int = 0) -> set[int]:
        """The numbers delivered; every byte is compared."""
        got = World.read(ns, ids)
        for i, data in got.items():
            assert data == World.page(i, ns.page_bytes, salt), f"wrong bytes for page {i}"
        return set(got)


@pytest.fixture
def world():
    world = World()
    yield world
    if world.store is not None:
        with contextlib.suppress(LsmError):
            world.store.close()


@pytest.fixture
def make_world():
    """Further worlds, closed by whoever makes them."""
    return World
