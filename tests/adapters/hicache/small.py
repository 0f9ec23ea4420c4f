"""The world of the stand-ins: small pools on the machine's disk, for servers in processes of their own."""

from __future__ import annotations

import torch

from lsmkv_tensor.adapters.sglang import LsmkvHiCache
from tests.adapters.hicache.fakes import HostPool, Place, PoolTransfer, keys
from tests.adapters.hicache.fakes import slots as page_slots

__all__ = ["BYTES", "keys", "slots", "start", "transfer"]

BYTES = torch.uint8
SETTINGS = {"capacity_bytes": 1 << 28, "segment_bytes": 1 << 20, "conflict_wait_s": 0.2}


def slots(pages, name):
    del name
    return page_slots(pages)


def transfer(name, keys, slots):
    return PoolTransfer(name, slots, keys=keys)


def start(path, seed, settings, ranks):
    given = {name: ranks.pop(name) for name in ("mla", "model") if name in ranks}
    config = Place(None, None, {}, SETTINGS | {"path": path} | settings).config(ranks=ranks, **given)
    backend = LsmkvHiCache(config, {})
    for number, name in enumerate(("kv", "mamba")):
        pool = HostPool(pages=512)
        backend.register_mem_host_pool_v2(pool if seed is None else pool.fill(seed + 100 * number), name)
    return backend
