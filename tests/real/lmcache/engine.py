"""LMCache's real in-process storage manager with a plug-in, as its cache engine drives it."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import torch
from lmcache.v1.config import LMCacheEngineConfig
from lmcache.v1.event_manager import EventManager
from lmcache.v1.memory_management import MemoryFormat
from lmcache.v1.metadata import LMCacheMetadata
from lmcache.v1.storage_backend.storage_manager import StorageManager
from lmcache.v1.token_database import ChunkedTokenDatabase

CHUNK_TOKENS = 256


def stable_hashes():
    """Stand in for the one function that LMCache takes from vLLM: hashes that are the same in every process."""
    from hashlib import sha256

    def get_hash_fn_by_name(name):
        if name != "sha256_cbor":
            raise ValueError(name)
        return lambda value: sha256(repr(value).encode()).digest()

    module = ModuleType("vllm.utils.hashing")
    module.get_hash_fn_by_name = get_hash_fn_by_name
    sys.modules.update({"vllm": ModuleType("vllm"), "vllm.utils": ModuleType("vllm.utils"), "vllm.utils.hashing": module})


class Engine:
    """One engine process."""

    def __init__(self, path, *, worker=0, world_size=1, role="worker", hashes="sha256_cbor", disk=None, **settings):
        extra = {
            "storage_plugin.lsmkv.module_path": "lsmkv_tensor.adapters.lmcache_plugin",
            "storage_plugin.lsmkv.class_name": "LsmkvStoragePlugin",
            "lsmkv": {"path": str(path), "capacity_bytes": 1 << 28, "conflict_wait_s": 0.1, **settings},
        }
        config = LMCacheEngineConfig.from_defaults(
            chunk_size=CHUNK_TOKENS,
            local_cpu=False,
            save_unfull_chunk=True,
            max_local_cpu_size=0.25,
            storage_plugins=[] if disk else ["lsmkv"],
            extra_config=extra,
            pre_caching_hash_algorithm=hashes,
            **({"local_disk": f"file://{disk}/", "max_local_disk_size": 1.0} if disk else {}),
        )
        self.metadata = LMCacheMetadata(
            "model", world_size, world_size, worker, worker, torch.bfloat16, (2, 2, CHUNK_TOKENS, 2, 32), role=role
        )
        self.database = ChunkedTokenDatabase(config, self.metadata)
        self.manager = StorageManager(config, self.metadata, EventManager())
        self.where = "LocalDiskBackend" if disk else "lsmkv"
        self.plugin = self.manager.storage_backends.get(self.where)
        self.open = True

    def keys(self, tokens):
        """The keys of a prompt's chunks, with their numbers of tokens."""
        return [(key, end - start) for start, end, key in self.database.process_tokens(tokens)]

    def store(self, tokens):
        """Store the chunks of a prompt."""
        pairs = self.keys(tokens)
        items = []
        for key, n in pairs:
            item = self.manager.allocate(torch.Size([2, 2, n, 64]), torch.bfloat16, MemoryFormat.KV_2LTD)
            np.frombuffer(item.byte_array, np.uint8)[:] = content(key, item.get_size())
            items.append(item)
        self.manager.batched_put([key for key, _ in pairs], items)
        self.settle()
        return items

    def load(self, tokens):
        """How many chunks are found; the bytes of each are compared."""
        keys = [key for key, _ in self.keys(tokens)]
        found, _ = self.manager.batched_contains(keys, pin=True)
        items = self.manager.batched_get(keys[:found], location=self.where) if found else []
        came = 0
        for key, item in zip(keys, items, strict=False):
            if item is not None:
                assert np.array_equal(np.frombuffer(item.byte_array, np.uint8), content(key, item.get_size())), key
                item.ref_count_down()
                came += 1
        self.manager.batched_unpin(keys[:found])
        return found, came

    def settle(self):
        """Wait for what was put."""
        if hasattr(self.plugin, "wait_idle"):
            self.plugin.wait_idle()
            if self.plugin.holding.state == "own":
                self.plugin.holding.store.sync()

    def memory_free(self):
        """Whether every object of LMCache's memory was given back."""
        return self.manager.local_cpu_backend.get_memory_allocator().memcheck()

    def close(self):
        """End the process."""
        if self.open:
            self.open = False
            self.manager.close()


def content(key, nbytes):
    """The bytes that belong to a chunk."""
    return np.random.default_rng(key.chunk_hash % (1 << 63)).integers(0, 256, nbytes, dtype=np.uint8)


if __name__ == "__main__":  # PATH SEED TOKENS: another process stores a prompt
    from tests.real.lmcache.world import prompt

    stable_hashes()
    engine = Engine(sys.argv[1])
    engine.store(prompt(int(sys.argv[2]), 64)[: int(sys.argv[3])])
    print(engine.plugin.counts["stored_pages"])
    engine.close()
