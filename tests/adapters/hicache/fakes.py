"""What SGLang gives a backend, as small as it can be: the jobs against the real package prove these equal in signature."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

import torch

LAYOUTS = ("layer_first", "page_first", "page_first_direct", "page_head")
LAYERS, HEADS, WIDTH, PAGE = 3, 2, 8, 4
"""Of the fake pools; a page is 3 * 2 * 2 * 8 * 4 * 2 bytes = 768."""


@dataclass
class HiCacheStorageConfig:
    tp_rank: int
    tp_size: int
    pp_rank: int
    pp_size: int
    attn_cp_rank: int
    attn_cp_size: int
    is_mla_model: bool
    enable_storage_metrics: bool
    is_page_first_layout: bool
    model_name: str | None
    tp_lcm_size: int | None = None
    should_split_heads: bool = False
    dp_rank: int = 0
    extra_config: dict | None = None
    dcp_size: int = 1
    dcp_rank: int = 0
    logical_page_size: int | None = None


@dataclass
class HiCacheStorageExtraInfo:
    prefix_keys: list[str] | None = None
    extra_info: dict | None = None


class PoolHitPolicy(StrEnum):
    ALL_PAGES = "all_pages"
    TRAILING_PAGES = "trailing_pages"
    BLOCK_GROUPS = "block_groups"


@dataclass
class PoolTransfer:
    name: str
    host_indices: torch.Tensor | None = None
    device_indices: torch.Tensor | None = None
    keys: list[str] | None = None
    hit_policy: PoolHitPolicy = PoolHitPolicy.ALL_PAGES
    nodes_to_load: list | None = None
    indices_from_pool: str | None = None
    block_pages: int = 0
    group_pages: int = 0


class HiCacheStorage:
    """The methods a backend has, with their signatures."""

    def register_mem_pool_host(self, mem_pool_host): ...

    def register_mem_host_pool_v2(self, host_pool, host_pool_name): ...

    def on_host_pools_registered(self): ...

    def batch_exists_v2(self, keys, pool_transfers=None, extra_info=None): ...

    def batch_get_v2(self, transfers, extra_info=None): ...

    def batch_set_v2(self, transfers, extra_info=None): ...

    def batch_get_v1(self, keys, host_indices, extra_info=None): ...

    def batch_set_v1(self, keys, host_indices, extra_info=None): ...

    def get(self, key, target_location=None, target_sizes=None): ...

    def batch_get(self, keys, target_locations=None, target_sizes=None): ...

    def set(self, key, value=None, target_location=None, target_sizes=None): ...

    def batch_set(self, keys, values=None, target_locations=None, target_sizes=None): ...

    def exists(self, key): ...

    def batch_exists(self, keys, extra_info=None): ...

    def clear(self): ...

    def get_stats(self): ...


class HostPool:
    """A host pool of K and V in one of SGLang's layouts."""

    storage_format_tag = None

    def __init__(self, layout="page_first", pages=32, dtype=torch.bfloat16, layers=LAYERS):
        self.layout, self.dtype, self.page_size, self.size = layout, dtype, PAGE, pages * PAGE
        self.layer_num, self.head_num, self.head_dim = layers, HEADS, WIDTH
        shapes = {
            "layer_first": (2, layers, self.size, HEADS, WIDTH),
            "page_first": (2, self.size, layers, HEADS, WIDTH),
            "page_first_direct": (2, pages, layers, PAGE, HEADS, WIDTH),
            "page_head": (2, pages, HEADS, PAGE, layers, WIDTH),
        }
        self.kv_buffer = torch.zeros(shapes[layout], dtype=dtype)

    def fill(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.kv_buffer.copy_(torch.randn(self.kv_buffer.shape, generator=generator))
        return self

    def _page(self, index):
        if self.layout == "layer_first":
            return self.kv_buffer[:, :, index : index + PAGE]
        if self.layout == "page_first":
            return self.kv_buffer[:, index : index + PAGE]
        return self.kv_buffer[:, index // PAGE]

    def get_data_page(self, index, flat=True):
        return self._page(index).flatten() if flat else self._page(index)

    def get_dummy_flat_data_page(self):
        return torch.zeros(2 * self.layer_num * PAGE * HEADS * WIDTH, dtype=self.dtype)

    def set_from_flat_data_page(self, index, data_page):
        self._page(index).copy_(data_page.reshape(self._page(index).shape))

    def get_page_buffer_meta(self, indices):
        assert len(indices) % PAGE == 0
        pointers = []
        for index in indices.tolist()[::PAGE]:
            page = self._page(index)
            whole = self.layout != "layer_first"
            parts = page if whole else [page[kv, layer] for layer in range(self.layer_num) for kv in range(2)]
            pointers += [part.data_ptr() for part in parts]
        size = 2 * self.layer_num * PAGE * HEADS * WIDTH * self.dtype.itemsize
        n = 2 * self.layer_num if self.layout == "layer_first" else 2
        return pointers, [size // n] * len(pointers)


class WholePagePool(HostPool):
    """A pool that cannot say where its pieces are."""

    def get_page_buffer_meta(self, indices):
        raise NotImplementedError


class CrookedPool(HostPool):
    """A pool whose pages do not lie evenly: their order in memory is another one."""

    def _page(self, index):
        n = self.size // PAGE
        page = index // PAGE
        return super()._page((page * 7 % n if n % 7 else page) * PAGE)


class LogicalHostPool:
    """A pool without data: only that a page is there counts."""

    layout, dtype, page_size, size, storage_format_tag = "layer_first", torch.uint8, PAGE, 32 * PAGE, None

    def get_data_page(self, index, flat=True):
        return torch.empty(0, dtype=torch.uint8)

    def get_dummy_flat_data_page(self):
        return torch.empty(0, dtype=torch.uint8)

    def set_from_flat_data_page(self, index, data_page): ...

    def get_page_buffer_meta(self, indices):
        return None


@dataclass
class Place:
    """Where a server's backend lives, and how it is started."""

    fs: object
    clock: object
    seams: dict
    settings: dict = field(default_factory=dict)

    def config(self, *, ranks=None, v1=1, mla=False, model="m", metrics=False, **settings):
        ranks = {"tp_rank": 0, "tp_size": 1, "pp_rank": 0, "pp_size": 1, "attn_cp_rank": 0, "attn_cp_size": 1} | (ranks or {})
        extra = {"backend_name": "lsmkv", "interface_v1": v1, "lsmkv": self.settings | settings}
        return HiCacheStorageConfig(
            **ranks,
            is_mla_model=mla,
            enable_storage_metrics=metrics,
            is_page_first_layout=True,
            model_name=model,
            extra_config=extra,
        )


def keys(ids):
    return [hashlib.sha256(b"page %d" % i).hexdigest() for i in ids]


def slots(pages):
    """Host indices of these pages of a pool."""
    return torch.cat([torch.arange(PAGE) + page * PAGE for page in pages]) if pages else torch.empty(0, dtype=torch.int64)
