"""What LMCache brings to its L2 adapters, as small as it can be; tests/real/lmcache proves it equal in signature."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from lsmkv_tensor.adapters.lmcache.chunks import PluginParts
from lsmkv_tensor.adapters.lmcache.parts import Parts
from lsmkv_tensor.adapters.lmcache_l2 import L2Pages
from lsmkv_tensor.adapters.lmcache_plugin import ChunkPages


@dataclass(frozen=True)
class ObjectKey:
    chunk_hash: bytes
    model_name: str
    kv_rank: int
    object_group_id: int = 0
    cache_salt: str = ""


@dataclass(frozen=True)
class AdapterUsage:
    total_bytes_used: int
    total_capacity_bytes: int
    bytes_by_cache_salt: dict = field(default_factory=dict)


@dataclass(frozen=True)
class DType:
    """torch.dtype."""

    name: str
    itemsize: int

    def __str__(self):
        return f"torch.{self.name}"


BF16 = DType("bfloat16", 2)
FP16 = DType("float16", 2)
UINT8 = DType("uint8", 1)


@dataclass(frozen=True)
class MemoryLayoutDesc:
    shapes: list
    dtypes: list


class MemoryObj:
    """Memory of an object."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, dtype
        self.memory = np.zeros(int(np.prod(shape)) * dtype.itemsize, np.uint8)

    def get_size(self):
        return self.memory.nbytes

    def get_shapes(self):
        return [self.shape]

    def get_dtypes(self):
        return [self.dtype]

    @property
    def data_ptr(self):
        return self.memory.ctypes.data


class Bell:
    """An event descriptor that no kernel knows."""

    numbers = iter(range(100, 1_000_000))

    def __init__(self):
        self.number = next(Bell.numbers)
        self.rung = 0
        self.closed = False

    def fileno(self):
        return self.number

    def notify(self):
        assert not self.closed
        self.rung += 1

    def close(self):
        self.closed = True


class L2AdapterInterface:
    """The accounts, and who hears of them."""

    def __init__(self, max_capacity_bytes=0):
        self._listeners = []
        self._max_capacity_bytes = max_capacity_bytes
        self._bytes = {}
        self.published = []

    def register_listener(self, listener):
        self._listeners.append(listener)

    def set_backend_identity(self, name, shared=False):
        assert name
        self.name = name

    def _notify_keys_stored(self, keys, sizes):
        self._add(keys, sizes, 1)
        for listener in self._listeners:
            listener.on_l2_keys_stored(keys, sizes)
        self.published.append(("stored", len(keys)))

    def _notify_keys_accessed(self, keys):
        for listener in self._listeners:
            listener.on_l2_keys_accessed(keys)
        self.published.append(("accessed", len(keys)))

    def _notify_keys_deleted(self, keys, sizes):
        self._add(keys, sizes, -1)
        for listener in self._listeners:
            listener.on_l2_keys_deleted(keys)
        self.published.append(("deleted", len(keys)))

    @property
    def supports_global_eviction(self):
        return self._max_capacity_bytes > 0

    def get_usage(self):
        salts = {salt: n for salt, n in self._bytes.items() if n}
        return AdapterUsage(sum(salts.values()), self._max_capacity_bytes, salts)

    def _add(self, keys, sizes, sign):
        for key, size in zip(keys, sizes, strict=True):
            self._bytes[key.cache_salt] = self._bytes.get(key.cache_salt, 0) + sign * size
            assert self._bytes[key.cache_salt] >= 0, "told of the going of what never came"


class Listener:
    """An eviction policy's list of keys."""

    def __init__(self):
        self.keys = {}
        self.accessed = []

    def on_l2_keys_stored(self, keys, sizes):
        self.keys.update(zip(keys, sizes, strict=True))

    def on_l2_keys_accessed(self, keys):
        self.accessed += keys

    def on_l2_keys_deleted(self, keys):
        for key in keys:
            self.keys.pop(key, None)


PARTS = Parts(Bell, list, lambda success, bytes_transferred: (success, bytes_transferred), ObjectKey, lambda *page: page)


class Adapter(L2Pages, L2AdapterInterface):
    """The adapter without LMCache."""

    def __init__(self, adapter_params):
        super().__init__(adapter_params, PARTS)


# the in-process engine


class StoragePluginInterface:
    """What LMCache's base class keeps."""

    def __init__(self, dst_device="cpu", config=None, metadata=None, local_cpu_backend=None, loop=None):
        self.dst_device, self.config, self.metadata = dst_device, config, metadata
        self.local_cpu_backend, self.loop = local_cpu_backend, loop


@dataclass(frozen=True)
class CacheEngineKey:
    model_name: str
    world_size: int
    worker_id: int
    chunk_hash: int
    dtype: str = "bfloat16"
    tags: tuple | None = None

    def to_string(self):
        said = [self.model_name, self.world_size, self.worker_id, f"{self.chunk_hash:x}", self.dtype]
        return "@".join(map(str, [*said, *(f"{key}%{value}" for key, value in self.tags or ())]))


@dataclass
class MemoryObjMetadata:
    shape: tuple
    dtype: DType
    fmt: SimpleNamespace
    ref_count: int = 1
    cached_positions: object = None
    shapes: list | None = None
    dtypes: list | None = None


class CountedObj(MemoryObj):
    """Memory that is counted."""

    def __init__(self, shape, dtype, fmt=2):
        super().__init__(shape, dtype)
        self.metadata = MemoryObjMetadata(shape, dtype, SimpleNamespace(value=fmt))

    def ref_count_up(self):
        self.metadata.ref_count += 1

    def ref_count_down(self):
        self.metadata.ref_count -= 1
        assert self.metadata.ref_count >= 0


class LocalCPUBackend:
    """Memory for so many objects."""

    def __init__(self, room=1000):
        self.room = room
        self.given = []

    def allocate(self, shapes, dtypes, fmt=None, eviction=True, busy_loop=True):
        if sum(item.metadata.ref_count > 0 for item in self.given) >= self.room:
            return None
        self.given.append(CountedObj(shapes, dtypes, fmt.value))
        return self.given[-1]


def stable_hash(value):
    return value


PLUGIN_PARTS = PluginParts(
    lambda value: SimpleNamespace(value=value),
    tuple,
    {"bfloat16": BF16, "float16": FP16, "uint8": UINT8}.__getitem__,
    lambda positions: np.array(positions, np.int64).tobytes(),
    lambda data: np.frombuffer(data, np.int64).tolist(),
    lambda config, metadata: stable_hash if config.pre_caching_hash_algorithm in config.vllm_has else hash,
)


class Plugin(ChunkPages, StoragePluginInterface):
    """The plug-in without LMCache."""

    def __init__(self, dst_device="cpu", config=None, metadata=None, local_cpu_backend=None, loop=None):
        super().__init__(PLUGIN_PARTS, dst_device, config, metadata, local_cpu_backend, loop)
