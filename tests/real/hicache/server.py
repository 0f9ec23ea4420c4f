"""The world of the real SGLang: its factory and host pools, for servers in processes of their own."""

from __future__ import annotations

import torch

from tests.real.hicache import cpu  # noqa: F401 - before anything of SGLang's
from tests.real.hicache.world import Makers, host_pool, keys
from tests.real.hicache.world import slots as page_slots

from sglang.srt.mem_cache.hicache_storage import PoolName, PoolTransfer  # isort: skip

__all__ = ["BYTES", "keys", "slots", "start", "transfer"]

BYTES = torch.uint8


def slots(pages, name):
    del name
    return page_slots(pages)


def transfer(name, keys, slots):
    return PoolTransfer(name=PoolName(name), host_indices=slots, keys=keys)


def start(path, seed, settings, ranks):
    """A backend of the server's command line in one directory, its pools registered as the controllers do it."""
    changes = {{"mla": "is_mla_model", "model": "model_name"}.get(name, name): value for name, value in ranks.items()}
    kv = host_pool("page_first", seed=seed)
    backend = Makers(path).lsmkv(kv, settings={"conflict_wait_s": 0.2, **settings}, **changes)
    backend.register_mem_host_pool_v2(host_pool("page_first_direct", seed=None if seed is None else seed + 100), "mamba")
    return backend
