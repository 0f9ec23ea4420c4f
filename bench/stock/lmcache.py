"""LMCache's disk backends: the local disk of one process, and the L2 adapters of its server (files, raw blocks, and ours)."""

from __future__ import annotations

import asyncio
import select
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lmcache.utils import CacheEngineKey
from lmcache.v1.config import LMCacheEngineConfig
from lmcache.v1.distributed.api import MemoryLayoutDesc, ObjectKey
from lmcache.v1.distributed.l2_adapters.fs_l2_adapter import FSL2Adapter, FSL2AdapterConfig
from lmcache.v1.distributed.l2_adapters.raw_block_l2_adapter import RawBlockL2Adapter, RawBlockL2AdapterConfig
from lmcache.v1.memory_allocators.host_memory_allocator import HostMemoryAllocator
from lmcache.v1.memory_management import MemoryFormat, MemoryObjMetadata, TensorMemoryObj
from lmcache.v1.metadata import LMCacheMetadata
from lmcache.v1.platform.event_notifier import consume_fd
from lmcache.v1.storage_backend.local_cpu_backend import LocalCPUBackend
from lmcache.v1.storage_backend.local_disk_backend import LocalDiskBackend

from lsmkv.env.posix import PosixFileSystem
from lsmkv.testing import FaultFileSystem
from lsmkv_tensor.adapters.lmcache_l2 import LsmkvL2Adapter
from lsmkv_tensor.adapters.lmcache_plugin import LsmkvStoragePlugin
from lsmkv_tensor.testing.conformance import Backend, Subject
from lsmkv_tensor.testing.conformance.own import hanging_segments
from lsmkv_tensor.testing.conformance.protocol import Pages

__all__ = [
    "FsL2Subject",
    "L2Backend",
    "LocalDisk",
    "LocalDiskSubject",
    "LsmkvL2Subject",
    "LsmkvPluginSubject",
    "Plugin",
    "RawBlockSubject",
]

VERSION = f"lmcache {version('lmcache')}"
ALONE = "without LMCache's server, whose eviction controller deletes what an adapter with a capacity reports as too much"
LOOK_S = 0.001


def memory_object(row: Pages) -> TensorMemoryObj:
    """The caller's memory as LMCache passes it."""
    shape = torch.Size([len(row)])
    meta = MemoryObjMetadata(
        shape=shape,
        dtype=torch.uint8,
        address=0,
        phy_size=len(row),
        ref_count=1,
        fmt=MemoryFormat.KV_2LTD,
        shapes=[shape],
        dtypes=[torch.uint8],
    )
    return TensorMemoryObj(torch.from_numpy(row), meta, None)


class L2Backend:
    """An L2 adapter behind the kit's calls, its tasks waited for as LMCache's loops do."""

    def __init__(self, adapter: Any) -> None:
        self.adapter = adapter
        self.disk: FaultFileSystem | None = None
        self._lock = threading.Lock()
        self._stored: dict[int, Any] = {}

    def put(self, keys: Sequence[bytes], pages: Pages) -> list[bool]:
        """A store task; its objects are the caller's again when its result is there."""
        task = self.adapter.submit_store_task(self._keys(keys), [memory_object(row) for row in pages])
        result = self._wait(self.adapter.get_store_event_fd(), lambda: self._store_result(task))
        done = bool(result.is_successful()) if hasattr(result, "is_successful") else bool(result)
        return [done] * len(keys)

    def exists(self, keys: Sequence[bytes]) -> list[bool]:
        """A lookup task, and an unlock of what it found."""
        asked = self._keys(keys)
        layout = {0: MemoryLayoutDesc([torch.Size([1])], [torch.uint8])}
        task = self.adapter.submit_lookup_and_lock_task(asked, layout)
        fd = self.adapter.get_lookup_and_lock_event_fd()
        bitmap = self._wait(fd, lambda: self.adapter.query_lookup_and_lock_result(task))
        flags = [bitmap.test(i) for i in range(len(keys))]
        self.adapter.submit_unlock([key for key, flag in zip(asked, flags, strict=True) if flag])
        return flags

    def get(self, keys: Sequence[bytes], out: Pages, deadline_s: float | None) -> list[bool]:
        """A load task of what a lookup finds; LMCache gives it no deadline."""
        del deadline_s
        found = self.exists(keys)
        rows = [i for i, flag in enumerate(found) if flag]
        if rows:
            for i, came in zip(rows, self.load([keys[i] for i in rows], [out[i] for i in rows]), strict=True):
                found[i] = came
        return found

    def load(self, keys: Sequence[bytes], rows: Sequence[Pages]) -> list[bool]:
        """A load task."""
        task = self.adapter.submit_load_task(self._keys(keys), list(map(memory_object, rows)))
        bitmap = self._wait(self.adapter.get_load_event_fd(), lambda: self.adapter.query_load_result(task))
        return [bitmap.test(i) for i in range(len(keys))]

    def settle(self) -> None:
        """A store is done when its task is; ours is made durable."""
        if self.disk is not None:
            self.adapter.holding.store.sync()

    def delete(self, keys: Sequence[bytes]) -> None:
        """As LMCache's eviction does."""
        self.adapter.delete(self._keys(keys))

    def close(self) -> None:
        """Its own."""
        self.adapter.close()

    @staticmethod
    def _keys(keys: Sequence[bytes]) -> list[ObjectKey]:
        return [ObjectKey(key, "m", 0) for key in keys]

    def _store_result(self, task: int) -> Any:
        with self._lock:
            self._stored.update(self.adapter.pop_completed_store_tasks())
            return self._stored.pop(task, None)

    @staticmethod
    def _wait(fd: int, ask: Callable[[], Any]) -> Any:
        while (found := ask()) is None:
            if select.select([fd], [], [], LOOK_S)[0]:
                consume_fd(fd)
        return found


class FsL2Subject(Subject):
    """A file per object."""

    name = "LMCache fs (L2)"
    version = f"{VERSION}, {ALONE}"

    def open(self, directory: Path, capacity_bytes: int) -> L2Backend:
        """See Subject; it knows no capacity."""
        del capacity_bytes
        return L2Backend(FSL2Adapter(FSL2AdapterConfig(str(directory))))


class RawBlockSubject(Subject):
    """Slots in one file, in the place of a device."""

    name = "LMCache raw_block (L2)"

    def __init__(self) -> None:
        """ImportError without the package that it is written in: LMCache's wheel does not bring it."""
        import_module("lmcache_rust_raw_block_io")
        native = version("lmcache-rust-raw-block-io")
        self.version = f"{VERSION} with lmcache-rust-raw-block-io {native}, a file as its device, {ALONE}"

    def open(self, directory: Path, capacity_bytes: int) -> L2Backend:
        """See Subject."""
        device = directory / "device"
        if not device.exists():
            with device.open("wb") as file:
                file.truncate(capacity_bytes)
        settings = {
            "device_path": str(device),
            "slot_bytes": self.page_bytes + 4096,
            "capacity_bytes": capacity_bytes,
            "meta_total_bytes": 1 << 20,
            "use_odirect": False,
        }
        return L2Backend(RawBlockL2Adapter(RawBlockL2AdapterConfig.from_dict(settings)))


class LsmkvL2Subject(Subject):
    """Ours in LMCache's server."""

    name = "lsmkv in LMCache (L2)"
    version = f"{VERSION}, lsmkv {version('lsmkv')}"

    def open(self, directory: Path, capacity_bytes: int) -> L2Backend:
        """See Subject."""
        disk = FaultFileSystem(PosixFileSystem())
        settings = {"segment_bytes": 16 * self.page_bytes + (64 << 10), "io_timeout_s": self.deadline_s, "read_threads": 1}
        backend = L2Backend(LsmkvL2Adapter({"path": str(directory), "capacity_bytes": capacity_bytes, "fs": disk, **settings}))
        backend.disk = disk
        return backend

    def stalled(self, backend: Backend, directory: Path, page: Pages) -> AbstractContextManager[object]:
        """See Subject."""
        del directory, page
        assert isinstance(backend, L2Backend)
        assert backend.disk is not None
        return hanging_segments(backend.disk)


def _bytes_of(item: Any, row: Pages) -> Pages:
    """An object's memory, as long as a row. numpy copies it: torch does with a thread, and waits milliseconds for that."""
    found: Pages = item.raw_data[: len(row)].numpy()
    return found


class InProcess:
    """A storage backend of LMCache's in-process engine, with its host memory and its event loop.

    ``scrub``: its host memory has been used for something else since a page was stored, as in a server.
    ``memory``: its host memory, of which there is enough; its own if it is a number of bytes.
    """

    def __init__(
        self, config: LMCacheEngineConfig, memory: int | HostMemoryAllocator = 256 << 20, *, scrub: bool = False
    ) -> None:
        self._scrub = scrub
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        allocator = HostMemoryAllocator(memory) if isinstance(memory, int) else memory
        self.host = LocalCPUBackend(config, memory_allocator=allocator, dst_device="cpu")
        self.disk: Any = self.made(config)

    def made(self, config: LMCacheEngineConfig) -> Any:
        """The backend, over that memory and loop."""
        raise NotImplementedError

    def put(self, keys: Sequence[bytes], pages: Pages) -> list[bool]:
        """Its writers go on behind the call and hold the objects: the memory is LMCache's own, filled here."""
        objects = [self.host.allocate(torch.Size([len(row)]), torch.uint8, MemoryFormat.KV_2LTD) for row in pages]
        for one, row in zip(objects, pages, strict=True):
            _bytes_of(one, row)[:] = row
        self.disk.batched_submit_put_task(self._keys(keys), objects)
        for one in objects:
            one.ref_count_down()
        return [True] * len(keys)

    def exists(self, keys: Sequence[bytes]) -> list[bool]:
        """Key by key."""
        return [self.disk.contains(key) for key in self._keys(keys)]

    def get(self, keys: Sequence[bytes], out: Pages, deadline_s: float | None) -> list[bool]:
        """Into LMCache's memory, and copied; it has no deadline."""
        del deadline_s
        if self._scrub:
            used = [self.host.allocate(torch.Size([len(row)]), torch.uint8, MemoryFormat.KV_2LTD) for row in out for _ in (0, 1)]
            for one in used:
                one.raw_data.fill_(0x5A)
                one.ref_count_down()
        return self.load(keys, out)

    def load(self, keys: Sequence[bytes], out: Pages) -> list[bool]:
        """Without using LMCache's memory for something else first."""
        flags = []
        for one, row in zip(self.disk.batched_get_blocking(self._keys(keys)), out, strict=True):
            if one is not None:
                row[:] = _bytes_of(one, row)
                one.ref_count_down()
            flags.append(one is not None)
        return flags

    def delete(self, keys: Sequence[bytes]) -> None:
        """``remove``."""
        for key in self._keys(keys):
            self.disk.remove(key)

    def close(self) -> None:
        """Threads and loop, too."""
        self.disk.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def prefix(self, keys: Sequence[bytes]) -> int:
        """How many from the first on are there."""
        return int(self.disk.batched_contains(self._keys(keys)))

    def settle(self) -> None:
        """Until its writers have nothing to do."""
        raise NotImplementedError

    @staticmethod
    def _keys(keys: Sequence[bytes]) -> list[CacheEngineKey]:
        return [CacheEngineKey("m", 1, 0, int.from_bytes(key, "big"), torch.uint8) for key in keys]


class LocalDisk(InProcess):
    """LMCache's own."""

    def __init__(
        self, directory: Path, capacity_bytes: int, memory: int | HostMemoryAllocator = 256 << 20, *, scrub: bool = False
    ) -> None:
        where = {"local_disk": f"file://{directory}", "max_local_disk_size": capacity_bytes / 2**30}
        super().__init__(LMCacheEngineConfig.from_defaults(local_cpu=False, **where), memory, scrub=scrub)

    def made(self, config: LMCacheEngineConfig) -> Any:
        """See the base class."""
        return LocalDiskBackend(config, self.loop, self.host, dst_device="cpu")

    def settle(self) -> None:
        """See the base class."""
        worker = self.disk.disk_worker
        while True:
            with worker.put_lock:
                if not worker.put_tasks:
                    return
            time.sleep(LOOK_S)


class Plugin(InProcess):
    """Ours."""

    def __init__(
        self, directory: Path, capacity_bytes: int, memory: int | HostMemoryAllocator = 256 << 20, **settings: Any
    ) -> None:
        # no tokens are hashed here, so it does not matter how they would be
        given = {"path": str(directory), "capacity_bytes": capacity_bytes, "allow_unstable_hash": True, **settings}
        self.faults: FaultFileSystem | None = settings.get("fs")
        super().__init__(
            LMCacheEngineConfig.from_defaults(local_cpu=False, extra_config={"lsmkv": given}),
            memory,
            scrub=self.faults is not None,
        )

    def made(self, config: LMCacheEngineConfig) -> Any:
        """See the base class."""
        metadata = LMCacheMetadata("m", 1, 1, 0, 0, torch.bfloat16, (1, 2, 256, 8, 128))
        return LsmkvStoragePlugin("cpu", config, metadata, self.host, self.loop)

    def settle(self) -> None:
        """See the base class."""
        self.disk.wait_idle()
        if self.faults is not None:
            self.disk.holding.store.sync()


class LsmkvPluginSubject(Subject):
    """Ours in LMCache's in-process engine; its reads and writes are those of LMCache's own memory."""

    name = "lsmkv in LMCache (in process)"
    version = f"{VERSION}, lsmkv {version('lsmkv')}"

    def open(self, directory: Path, capacity_bytes: int) -> Plugin:
        """See Subject."""
        disk = FaultFileSystem(PosixFileSystem())
        settings = {"segment_bytes": 16 * self.page_bytes + (64 << 10), "io_timeout_s": self.deadline_s, "read_threads": 1}
        return Plugin(directory, capacity_bytes, fs=disk, **settings)

    def stalled(self, backend: Backend, directory: Path, page: Pages) -> AbstractContextManager[object]:
        """See Subject."""
        del directory, page
        assert isinstance(backend, Plugin)
        assert backend.faults is not None
        return hanging_segments(backend.faults)


class LocalDiskSubject(Subject):
    """A file per chunk, its index in memory."""

    name = "LMCache local disk"
    version = VERSION

    def open(self, directory: Path, capacity_bytes: int) -> LocalDisk:
        """See Subject."""
        return LocalDisk(directory, capacity_bytes, scrub=True)
