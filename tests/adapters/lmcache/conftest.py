"""A disk in memory with adapters on it, driven as LMCache's controllers drive them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import FaultFileSystem, ManualClock, MemoryFileSystem
from lsmkv_tensor.pages import PageStore
from tests.adapters.lmcache.fakes import BF16, Adapter, Listener, MemoryLayoutDesc, MemoryObj, ObjectKey

SHAPE = (2, 2, 16, 40)  # 5120 bytes
SEGMENT, INDEX = 64 << 10, 512 << 10


def make_key(i, *, model="m", rank=1, group=0, salt=""):
    """The key of a chunk."""
    return ObjectKey(hashlib.sha256(b"chunk %d" % i).digest(), model, rank, group, salt)


def content(key, nbytes):
    """The bytes that belong to it."""
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big")
    return np.random.default_rng(seed).integers(0, 256, nbytes, dtype=np.uint8)


def result_of(adapter, query, task):
    """What a task gave, once."""
    adapter.wait_idle()
    found = query(task)
    assert query(task) is None
    return found


def write_queued(adapter):
    """What waits in the queue is written."""
    store = adapter.holding.store
    while isinstance(store, PageStore) and store.step():
        pass


class Machine:
    """A disk, and the adapters of one server after another."""

    def __init__(self, queue_bytes=0):
        self.queue_bytes = queue_bytes
        self.fs = FaultFileSystem(MemoryFileSystem())
        self.clock = ManualClock()
        self.adapters = []

    def params(self, **changes):
        fixed = {"path": "/kv", "capacity_bytes": INDEX + 8192 + 6 * SEGMENT, "segment_bytes": SEGMENT, "index_bytes": INDEX}
        fixed |= {"fs": self.fs, "clock": self.clock, "rng": seeded(1), "scheduler": ManualScheduler()}
        return {**fixed, "io_timeout_s": None, "conflict_wait_s": 0.0, "put_queue_bytes": self.queue_bytes, **changes}

    def start(self, **changes):
        adapter = Adapter(self.params(**changes))
        self.adapters.append(adapter)
        adapter.set_backend_identity("plugin")
        adapter.listener = Listener()
        adapter.register_listener(adapter.listener)
        return adapter

    def flip(self, page):
        """Flip a bit of the file that holds this page; how many there were."""
        flipped = 0
        for name in self.fs.listdir("/kv/server/vlog"):
            file = self.fs.open(f"/kv/server/vlog/{name}", "rw")
            at = bytes(file.pread(file.size(), 0)).find(page.tobytes())
            if at >= 0:
                file.pwritev([bytes([page[1000] ^ 1])], at + 1000)
                flipped += 1
            file.close()
        return flipped

    def crash(self, seed):
        """Cut the power; what was not synced may be lost or torn."""
        self.fs = FaultFileSystem(self.fs.inner.crash(seeded(seed)))

    @staticmethod
    def items(keys, shape=SHAPE, dtype=BF16):
        """The objects of these keys."""
        items = [MemoryObj(shape, dtype) for _ in keys]
        for key, item in zip(keys, items, strict=True):
            item.memory[:] = content(key, item.get_size())
        return items

    @staticmethod
    def store(adapter, keys, shape=SHAPE, dtype=BF16):
        items = Machine.items(keys, shape, dtype)
        task = adapter.submit_store_task(keys, items)
        adapter.wait_idle()
        (done,) = adapter.pop_completed_store_tasks().items()
        assert done[0] == task
        write_queued(adapter)
        return done[1]

    @staticmethod
    def lookup(adapter, keys, shape=SHAPE, dtype=BF16, descs=None):
        descs = {group: MemoryLayoutDesc([shape], [dtype]) for group in range(3)} if descs is None else descs
        return result_of(adapter, adapter.query_lookup_and_lock_result, adapter.submit_lookup_and_lock_task(keys, descs))

    @staticmethod
    def load(adapter, keys, shape=SHAPE, dtype=BF16):
        """Which came; the bytes of each that did are compared."""
        items = [MemoryObj(shape, dtype) for _ in keys]
        flags = result_of(adapter, adapter.query_load_result, adapter.submit_load_task(keys, items))
        for key, item, flag in zip(keys, items, flags, strict=True):
            assert not flag or np.array_equal(item.memory, content(key, item.get_size()))
        return flags

    @staticmethod
    def unlock(adapter, keys):
        adapter.submit_unlock(keys)
        adapter.wait_idle()

    def close(self):
        self.fs.clear()
        for adapter in self.adapters:
            adapter.close()


def listed(adapter, **only):
    """All keys of a listing."""
    found, cursor = [], None
    while True:
        entries, cursor = adapter.list_l2_keys(page_size=3, cursor=cursor, **only)
        assert len(entries) <= 3
        found += [key for key, _ in entries]
        if cursor is None:
            return found


@pytest.fixture(params=[0, 1 << 20], ids=["at once", "queued"])
def machine(request):
    found = Machine(request.param)
    yield found
    found.close()


@pytest.fixture
def unqueued():
    """Whose tasks end when their objects are written."""
    found = Machine(0)
    yield found
    found.close()
