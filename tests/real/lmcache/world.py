"""LMCache's real storage manager, as its multi-process server drives it: token ids in, its own hashing, bytes out."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from lmcache.v1.distributed.api import AttnWindowDesc, MemoryLayoutDesc, PrefetchTaskSpec, ipc_key_to_grouped_object_keys
from lmcache.v1.distributed.config import EvictionConfig, L1ManagerConfig, L1MemoryManagerConfig, StorageManagerConfig
from lmcache.v1.distributed.l2_adapters.config import L2AdaptersConfig, get_l2_adapter_config_class
from lmcache.v1.distributed.storage_manager import StorageManager
from lmcache.v1.multiprocess.custom_types import IPCCacheServerKey
from lmcache.v1.multiprocess.token_hasher import TokenHasher

CHUNK_TOKENS = 256
SHAPE = torch.Size([2, 2, CHUNK_TOKENS, 64])  # 128 KiB in bf16
OBJECT_BYTES = SHAPE.numel() * 2
LAYOUT = MemoryLayoutDesc(shapes=[SHAPE], dtypes=[torch.bfloat16])
OURS = {"module_path": "lsmkv_tensor.adapters.lmcache_l2", "class_name": "LsmkvL2Adapter"}


def prompt(seed, chunks):
    """Token ids; those of the same seed begin alike."""
    return np.random.default_rng(seed).integers(0, 32_000, chunks * CHUNK_TOKENS).tolist()


def content(key):
    """The bytes that belong to a key."""
    seed = int.from_bytes(key.chunk_hash[:8], "little") ^ key.kv_rank
    return np.random.default_rng(seed).integers(0, 256, SHAPE.numel() * 2, dtype=np.uint8)


def adapter_config(type_name, spec, eviction=None, serde=None):
    """An adapter's configuration as the command line makes it."""
    cls = get_l2_adapter_config_class(type_name)
    config = cls.from_dict({"type": type_name, **spec})
    config.eviction_config = cls._parse_eviction_config({"eviction": eviction} if eviction else {})
    config.serde_config = cls._parse_serde_config({"serde": serde} if serde else {})
    return config


class Server:
    """One server process."""

    def __init__(
        self, params, *, type_name="plugin", l1_bytes=64 << 20, eviction=None, serde=None, world_size=1, model="model", salt=""
    ):
        spec = {**OURS, "adapter_params": {"capacity_bytes": 1 << 28, **params}} if type_name == "plugin" else params
        self.manager = StorageManager(
            StorageManagerConfig(
                l1_manager_config=L1ManagerConfig(
                    memory_config=L1MemoryManagerConfig(size_in_bytes=l1_bytes, use_lazy=False, shm_name="")
                ),
                eviction_config=EvictionConfig(eviction_policy="LRU"),
                l2_adapter_config=L2AdaptersConfig([adapter_config(type_name, spec, eviction, serde)]),
            )
        )
        ((_, self.adapter),) = self.manager.l2_adapters()
        self.adapter = getattr(self.adapter, "_inner", self.adapter)  # behind the serialiser, if there is one
        self.hasher = TokenHasher(CHUNK_TOKENS)
        self.world_size, self.model, self.salt = world_size, model, salt
        self.open = True

    def rows(self, tokens, worker=None):
        """The keys of a prompt, a row for each rank."""
        key = IPCCacheServerKey(
            model_name=self.model,
            world_size=self.world_size,
            worker_id=worker,
            token_ids=tuple(tokens),
            start=0,
            end=len(tokens),
            request_id="r",
            cache_salt=self.salt,
        )
        hashes = self.hasher.compute_chunk_hashes(tokens)
        return ipc_key_to_grouped_object_keys(key, hashes, [0], {0: LAYOUT}, AttnWindowDesc([-1], self.world_size))

    def store(self, tokens):
        """Write a prompt's chunks to L1, and wait until L2 has been told of them."""
        for worker in range(self.world_size):
            for row in self.rows(tokens, worker):
                objects = self.manager.reserve_write(row.keys, LAYOUT)
                assert len(objects) == len(row.keys)
                for key, item in objects.items():
                    np.frombuffer(item.byte_array, np.uint8)[:] = content(key)
                self.manager.finish_write(row.keys)
        self.settle()

    def load(self, tokens):
        """Chunks of a prompt that are found, from the first on, by rank; the bytes of each are compared."""
        rows = self.rows(tokens)
        handle = self.manager.submit_prefetch_task(PrefetchTaskSpec(rows))
        assert self.manager.wait_prefetch_status(handle, 30.0)
        result = self.manager.query_prefetch_status(handle)
        found = []
        for row, hits in zip(rows, result.hit_cells, strict=True):
            keys = [key for i, key in enumerate(row.keys) if hits.test(i)]
            with self.manager.read_prefetched_results(keys, result.l1_owners) as items:
                for key, item in zip(keys, items, strict=True):
                    assert np.array_equal(np.frombuffer(item.byte_array, np.uint8), content(key)), key
            self.manager.finish_read_prefetched(keys, l1_owners=result.l1_owners)
            found.append(len(keys))
        self.l2_hits = result.l2_hit_count
        self.settle()
        return found

    def settle(self):
        """Wait until nothing is under way between L1 and L2."""
        controller = self.manager._store_controller
        self.until(lambda: not controller.report_status()["pending_keys_count"])
        assert controller.request_remove_adapter(-1).wait(10.0)  # its loop has come round: what it took is submitted
        self.until(lambda: not controller.report_status()["in_flight_task_count"])
        if hasattr(self.adapter, "wait_idle"):
            self.adapter.wait_idle()
            if self.adapter.holding.state == "own":
                self.adapter.holding.store.sync()  # LMCache is told what is written

    @staticmethod
    def until(true):
        """Wait until it is."""
        end = time.monotonic() + 30
        while not true():
            assert time.monotonic() < end, "work is still pending"
            time.sleep(0.001)

    def empty_l1(self):
        """Forget what is in memory."""
        self.settle()
        self.manager.clear()

    def close(self):
        """End the process."""
        if self.open:
            self.open = False
            self.manager.close()


if __name__ == "__main__":  # PATH SEED CHUNKS: another process stores a prompt
    server = Server({"path": sys.argv[1]})
    server.store(prompt(int(sys.argv[2]), int(sys.argv[3])))
    print(json.dumps(dict(server.adapter.counts)))
    server.close()
