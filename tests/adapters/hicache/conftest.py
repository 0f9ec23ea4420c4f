"""A server's disk in memory, and backends on it as SGLang makes them."""

from __future__ import annotations

import pytest

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import FaultFileSystem, ManualClock, MemoryFileSystem
from lsmkv_tensor.adapters.sglang import LsmkvHiCache
from tests.adapters.hicache.fakes import HostPool, Place, keys, slots

SEGMENT = 64 << 10
INDEX = 512 << 10


class Server:
    """One machine: its disk, its clock, and every backend that was started on it."""

    def __init__(self):
        self.fs = FaultFileSystem(MemoryFileSystem())
        self.clock = ManualClock()
        self.backends = []
        settings = {"path": "/kv", "capacity_bytes": INDEX + 8192 + 6 * SEGMENT, "segment_bytes": SEGMENT, "index_bytes": INDEX}
        settings |= {"put_queue_bytes": 0, "io_timeout_s": None, "conflict_wait_s": 0.0}
        self.place = Place(self.fs, self.clock, {}, settings)

    def start(self, pool=None, *, threads=False, **config):
        """A backend with its KV pool registered; nothing of it runs by itself, unless with ``threads``."""
        seams = {"fs": self.fs, "clock": self.clock, "rng": seeded(len(self.backends))}
        seams |= {} if threads else {"scheduler": ManualScheduler()}
        backend = LsmkvHiCache(self.place.config(**config), seams)
        backend.register_mem_pool_host(pool if pool is not None else HostPool())
        backend.register_mem_host_pool_v2(backend.mem_pool_host, "kv")
        backend.on_host_pools_registered()
        self.backends.append(backend)
        return backend

    def stop(self):
        self.fs.clear()
        for backend in self.backends:
            backend.close()


@pytest.fixture
def server():
    found = Server()
    yield found
    found.stop()


def store(backend, pages):
    """Store these pages of the backend's own pool under their numbers."""
    return backend.batch_set_v1(keys(pages), slots(pages))


def load(backend, pages, into=None):
    """Read pages by number into slots of the pool (the same ones unless said)."""
    return backend.batch_get_v1(keys(pages), slots(pages if into is None else into))
