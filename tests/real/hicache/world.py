"""Backends of the real SGLang: made by its own factory, on its own host pools."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from pathlib import Path

import torch
from sglang.srt.environ import envs
from sglang.srt.managers.cache_controller import HiCacheController
from sglang.srt.mem_cache.device_pool_info import KVBufferLayout, KVBuffers, MHABufferInfo
from sglang.srt.mem_cache.hicache_storage import HiCacheStorageConfig
from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost
from sglang.srt.mem_cache.storage.backend_factory import StorageBackendFactory
from sglang.srt.runtime_context import get_parallel

LAYOUTS = ("layer_first", "page_first", "page_first_direct", "page_head")
LAYERS, HEADS, WIDTH, PAGE = 4, 2, 16, 8


def keys(ids):
    return [hashlib.sha256(b"page %d" % i).hexdigest() for i in ids]


def slots(pages, page_size=PAGE):
    return torch.cat([torch.arange(page_size) + page * page_size for page in pages])


def host_pool(layout, pages=512, seed=None, *, layers=LAYERS, heads=HEADS, width=WIDTH, page_size=PAGE):
    """A host pool of SGLang's; its device has 64 tokens."""
    buffers = [[torch.zeros(64, heads, width, dtype=torch.bfloat16) for _ in range(layers)] for _ in range(2)]
    pointers = [torch.tensor([t.data_ptr() for t in side], dtype=torch.uint64) for side in buffers]
    info = MHABufferInfo(
        buffers=KVBuffers(
            k=tuple(buffers[0]),
            v=tuple(buffers[1]),
            k_data_ptrs=pointers[0],
            v_data_ptrs=pointers[1],
            layout=next(iter(KVBufferLayout)),
        ),
        page_size=page_size,
        head_num=heads,
        head_dim=width,
        v_head_dim=width,
        dtype=torch.bfloat16,
        device=torch.device("cpu"),
    )
    pool = MHATokenToKVPoolHost(
        info,
        1.0,
        0,
        page_size,
        layout,
        pin_memory=False,
        device="cpu",
        device_capacity_tokens=64,
        start_layer=0,
        end_layer=layers,
        host_token_capacity=pages * page_size,
    )
    pool.kv_buffer.zero_()
    if seed is not None:
        pool.kv_buffer.copy_(torch.randn(pool.kv_buffer.shape, generator=torch.Generator().manual_seed(seed)))
    return pool


ALONE = {"tp_rank": 0, "tp_size": 1, "pp_rank": 0, "pp_size": 1, "attn_dcp_size": 1, "attn_dcp_rank": 0}


class Device:
    """The device's side, which storage never sees."""

    device = torch.device("cpu")
    layer_num = LAYERS

    def get_kvcache(self):
        return self

    def register_layer_transfer_counter(self, counter): ...


@contextmanager
def controller(pool, path, kind, *, files=None, **settings):
    """A controller whose storage is ours, called in one of two ways ("slots", "tensors"), or SGLang's "file".

    ``files``: settings of that. ``settings``: of ours.
    """
    given = dict(files or {}) if kind == "file" else extra(path / "lsmkv", v1=int(kind == "slots"), **settings)
    with (
        get_parallel().override(**ALONE),
        envs.SGLANG_HICACHE_FILE_BACKEND_STORAGE_DIR.override(str(path / "file")),
    ):
        made = HiCacheController(
            Device(),
            pool,
            pool.page_size,
            None,
            threading.Event(),
            write_policy="write_through",
            storage_backend="file" if kind == "file" else "dynamic",
            prefetch_threshold=pool.page_size,
            model_name="m",
            storage_backend_extra_config=given,
            enable_storage_metrics=True,
        )
        try:
            yield made
        finally:
            made.detach_storage_backend()


def extra(path, *, v1=1, **settings):
    """What the command line says."""
    return {
        "backend_name": "lsmkv",
        "module_path": "lsmkv_tensor.adapters.sglang",
        "class_name": "LsmkvHiCache",
        "interface_v1": v1,
        "lsmkv": {"path": str(path), "capacity_bytes": 1 << 28, "conflict_wait_s": 0.1, **settings},
    }


class Makers:
    """Backends in one directory each, closed at the end."""

    def __init__(self, path):
        self.path = Path(path)
        self.made = []

    def config(self, extra_config, **changes):
        fields = {"tp_rank": 0, "tp_size": 1, "pp_rank": 0, "pp_size": 1, "attn_cp_rank": 0, "attn_cp_size": 1}
        fields |= {"is_mla_model": False, "enable_storage_metrics": True, "is_page_first_layout": False, "model_name": "m"}
        return HiCacheStorageConfig(**{**fields, **changes}, extra_config=extra_config)

    def _register(self, backend, pool):
        backend.register_mem_pool_host(pool)
        backend.register_mem_host_pool_v2(pool, "kv")
        backend.on_host_pools_registered()
        self.made.append(backend)
        return backend

    def lsmkv(self, pool, *, v1=1, settings=None, **changes):
        given = extra(self.path / "lsmkv", v1=v1, **(settings or {}))
        return self._register(StorageBackendFactory.create_backend("dynamic", self.config(given, **changes), pool), pool)

    def file(self, pool, **changes):
        """SGLang's own."""
        with envs.SGLANG_HICACHE_FILE_BACKEND_STORAGE_DIR.override(str(self.path / "file")):
            return self._register(StorageBackendFactory.create_backend("file", self.config({}, **changes), pool), pool)

    def close(self):
        for backend in self.made:
            if hasattr(backend, "close"):
                backend.close()
