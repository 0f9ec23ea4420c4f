"""LMCache's real storage manager over the L2 adapter: from token ids to bytes, across restarts, with eviction and damage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from lmcache.v1.distributed.internal_api import L2AdapterListener
from lmcache.v1.distributed.l2_adapters.base import L2AdapterInterface
from lmcache.v1.distributed.quota_manager import QuotaManager

from tests.real.lmcache.world import OBJECT_BYTES, Server, content, prompt


class Listener(L2AdapterListener):
    """What LMCache hears."""

    def __init__(self):
        self.keys = {}

    def on_l2_keys_stored(self, keys, sizes):
        self.keys.update(zip(keys, sizes, strict=True))

    def on_l2_keys_accessed(self, keys):
        assert set(keys) <= set(self.keys)

    def on_l2_keys_deleted(self, keys):
        for key in keys:
            del self.keys[key]


def test_it_is_lmcaches_own_kind_of_adapter(start):
    adapter = start().adapter
    assert isinstance(adapter, L2AdapterInterface)
    assert adapter.report_status()["is_healthy"]
    assert adapter.supports_global_eviction


def test_chunks_are_stored_and_loaded_after_l1_was_emptied(start):
    server, tokens = start(), prompt(1, 32)
    assert server.load(tokens) == [0]
    server.store(tokens)
    server.empty_l1()
    assert server.load(tokens + prompt(2, 4)) == [32]
    assert server.l2_hits == 32
    assert server.adapter.report_status()["locked_pages"] == 0


def test_another_process_stores_what_this_one_loads(start, tmp_path):
    """Token ids are hashed in two processes, each with its own seed of Python's hash."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.real.lmcache.world", str(tmp_path / "kv"), "7", "16"],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert json.loads(told.stdout.splitlines()[-1])["stored_pages"] == 16
    server = start()
    assert server.adapter.get_usage().total_bytes_used == 16 * OBJECT_BYTES
    assert server.load(prompt(7, 16)) == [16]
    assert server.l2_hits == 16


def test_ranks_and_salts_are_kept_apart(start, tmp_path):
    server = start(world_size=2)
    server.store(prompt(1, 4))
    server.salt = "user"
    server.store(prompt(1, 2))
    server.empty_l1()
    assert server.load(prompt(1, 4)) == [2, 2]
    server.salt = ""
    assert server.load(prompt(1, 4)) == [4, 4]
    assert server.manager.get_usage_bytes_by_cache_salt() == {"": 8 * OBJECT_BYTES, "user": 4 * OBJECT_BYTES}


def test_a_flipped_bit_is_a_miss(start, tmp_path):
    server, tokens = start(direct_io="off"), prompt(1, 16)
    server.store(tokens)
    damaged = server.rows(tokens)[0].keys[9]
    server.close()
    flipped = 0
    for segment in (tmp_path / "kv").rglob("*.seg"):
        data = bytearray(segment.read_bytes())
        at = data.find(content(damaged).tobytes())
        if at >= 0:
            data[at + 1000] ^= 1
            segment.write_bytes(data)
            flipped += 1
    assert flipped == 1
    fresh = start(direct_io="off")
    assert fresh.load(tokens) == [9]
    status = fresh.adapter.report_status()
    assert (status["corrupt_pages"], status["missing_pages"], status["locked_pages"]) == (1, 1, 0)
    assert fresh.adapter.get_usage().total_bytes_used == 15 * OBJECT_BYTES
    fresh.store(tokens)
    fresh.empty_l1()
    assert fresh.load(tokens) == [16]


def test_the_store_makes_room_and_lmcache_hears_of_it(start):
    server, listener = start(capacity_bytes=24 << 20, index_bytes=4 << 20, segment_bytes=2 << 20), Listener()
    server.manager.register_l2_listener(listener)
    for seed in range(10):
        server.store(prompt(seed, 16))
        server.empty_l1()
    assert server.adapter.report_status()["evicted_pages"] > 0
    assert len(listener.keys) == 160 - server.adapter.report_status()["evicted_pages"]
    assert server.adapter.get_usage().total_bytes_used == OBJECT_BYTES * len(listener.keys)
    assert server.load(prompt(9, 16)) == [16]


def test_lmcaches_own_eviction_deletes_from_the_store(start):
    settings = {"capacity_bytes": 24 << 20, "index_bytes": 4 << 20, "segment_bytes": 2 << 20}
    server = start(**settings, eviction={"eviction_policy": "LRU", "trigger_watermark": 0.5, "eviction_ratio": 0.5})
    for seed in range(5):
        server.store(prompt(seed, 16))
        server.empty_l1()
    used = server.adapter.get_usage().total_bytes_used
    server.until(lambda: server.adapter.get_usage().total_bytes_used < used)
    server.close()
    again = start(**settings, eviction={"eviction_policy": "LRU", "trigger_watermark": 0.05, "eviction_ratio": 1.0})
    assert again.adapter.get_usage().total_bytes_used > 0
    again.until(lambda: again.adapter.get_usage().total_bytes_used == 0)  # it knew what an earlier process had stored
    assert again.load(prompt(4, 16)) == [0]


def test_quotas_by_salt_are_lmcaches(start):
    server = start(eviction={"eviction_policy": "IsolatedLRU", "trigger_watermark": 0.8, "eviction_ratio": 0.5}, salt="user")
    assert isinstance(server.manager.quota_manager, QuotaManager)
    server.store(prompt(1, 8))
    server.until(lambda: server.adapter.get_usage().total_bytes_used == 0)  # a salt without a quota keeps nothing


def test_a_locked_object_is_not_evicted(start):
    server = start(capacity_bytes=24 << 20, index_bytes=4 << 20, segment_bytes=2 << 20)
    server.store(prompt(1, 8))
    keys = server.rows(prompt(1, 8))[0].keys
    task = server.adapter.submit_lookup_and_lock_task(keys, {})
    server.adapter.wait_idle()
    assert server.adapter.query_lookup_and_lock_result(task).popcount() == 8
    for seed in range(10, 20):
        server.store(prompt(seed, 16))
        server.empty_l1()
    assert server.load(prompt(1, 8)) == [8]
    server.adapter.submit_unlock(keys)
    server.adapter.wait_idle()
    assert server.adapter.report_status()["locked_pages"] == 0


def test_a_second_server_reads_and_takes_over(start):
    first = start()
    first.store(prompt(1, 4))
    second = start(on_conflict="wait")
    assert second.adapter.report_status()["state"] == "following"
    assert second.load(prompt(1, 4)) == [4]
    second.store(prompt(2, 4))
    first.close()
    second.until(second.adapter.holding.claim)
    second.store(prompt(3, 4))
    assert second.adapter.get_usage().total_bytes_used == 8 * OBJECT_BYTES


def test_encrypted_objects_come_back(start, tmp_path):
    """LMCache serialises them before they are stored: they are asked for by the layout they had."""
    (tmp_path / "key").write_bytes(bytes(range(32)))
    serde = {"type": "aesgcm", "master_key_path": str(tmp_path / "key")}
    server = start(serde=serde)
    server.store(prompt(1, 8))
    server.close()
    again = start(serde=serde)
    assert again.load(prompt(1, 8)) == [8]
    assert again.l2_hits == 8
    assert again.adapter.report_status()["locked_pages"] == 0
    again.close()
    plain = start()  # the same keys, another layout: loaded by nobody
    assert plain.load(prompt(1, 8)) == [0]
    assert plain.adapter.report_status()["locked_pages"] == 0


def test_adapters_come_and_go_while_the_server_runs(start):
    server = start()
    server.store(prompt(1, 4))
    ((descriptor, _),) = server.manager.l2_adapters()
    server.manager.delete_l2_adapter(descriptor.index)
    server.manager.add_l2_adapter(descriptor.config)
    ((_, server.adapter),) = server.manager.l2_adapters()
    server.empty_l1()
    assert server.load(prompt(1, 4)) == [4]


def test_the_same_hits_as_lmcaches_file_adapter(start, tmp_path):
    """The same steps through its FSL2Adapter: the same prefixes, the same bytes."""
    theirs = Server({"base_path": str(tmp_path / "fs")}, type_name="fs")
    ours = start()
    for seed, chunks in ((1, 5), (2, 1), (1, 9), (3, 0 + 7)):
        for server in (ours, theirs):
            server.store(prompt(seed, chunks))
            server.empty_l1()
        for asked in ((1, 12), (2, 3), (3, 7), (4, 2)):
            assert ours.load(prompt(*asked)) == theirs.load(prompt(*asked))
            assert ours.l2_hits == theirs.l2_hits
            ours.empty_l1()
            theirs.empty_l1()
    theirs.close()
