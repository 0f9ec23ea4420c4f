"""LMCache's real in-process storage manager over the plug-in: from token ids to bytes, blocking or not, across restarts."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lmcache.v1.storage_backend.abstract_backend import StoragePluginInterface

from tests.real.lmcache.engine import Engine, content, stable_hashes
from tests.real.lmcache.world import prompt


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Engines on one directory; each call is a start."""
    for name in ("vllm", "vllm.utils", "vllm.utils.hashing"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, name, None)
    stable_hashes()
    engines = []

    def make(**settings):
        engines.append(Engine(tmp_path / "kv", **settings))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


TOKENS = prompt(1, 8) + prompt(2, 1)[:100]
"""Eight chunks and a shorter one."""


def test_chunks_are_stored_and_loaded(start):
    engine = start()
    assert isinstance(engine.plugin, StoragePluginInterface)
    assert engine.load(TOKENS) == (0, 0)
    items = engine.store(TOKENS)
    assert [item.get_ref_count() for item in items] == [0] * 9
    assert engine.load(TOKENS + prompt(3, 2)) == (8, 8)  # the ninth is another chunk now
    assert engine.load(TOKENS) == (9, 9)
    assert engine.memory_free()
    assert engine.plugin.holding.store.stats().pinned_bytes == 0


def test_another_process_stores_what_this_one_loads(start, tmp_path):
    told = subprocess.run(
        [sys.executable, "-m", "tests.real.lmcache.engine", str(tmp_path / "kv"), "5", "1100"],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert told.stdout.splitlines()[-1] == "5"
    assert start().load(prompt(5, 64)[:1100]) == (5, 5)


def test_pythons_own_hash_is_refused_unless_it_is_meant(start, caplog):
    lmcache = logging.getLogger("lmcache.v1.storage_backend")
    lmcache.addHandler(caplog.handler)
    refused = start(hashes="builtin")
    lmcache.removeHandler(caplog.handler)
    assert refused.plugin is None  # LMCache logs what a plug-in raises, and goes on without it
    assert "Set pre_caching_hash_algorithm: sha256_cbor" in caplog.text
    meant = start(hashes="builtin", allow_unstable_hash=True)
    meant.store(TOKENS)
    assert meant.load(TOKENS) == (9, 9)


def test_pythons_own_hash_differs_from_process_to_process():
    """What the refusal is for."""
    ask = [sys.executable, "-c", "print(hash((0, (1, 2, 3), None)))"]
    answers = {subprocess.run(ask, check=True, capture_output=True, text=True).stdout for _ in range(8)}
    if sys.version_info < (3, 12):  # from 3.12 on None has the same hash everywhere
        assert len(answers) > 1


def test_asynchronous_calls_do_not_wait_on_the_loop(start):
    engine = start()
    engine.store(TOKENS)
    keys = [key for key, _ in engine.keys(TOKENS + prompt(3, 1)[:156])]

    async def ask():
        """On LMCache's own loop."""
        found = await engine.plugin.batched_async_contains("lookup", keys, pin=True)
        return found, await engine.plugin.batched_get_non_blocking("lookup", keys[:found])

    found, items = asyncio.run_coroutine_threadsafe(ask(), engine.manager.loop).result(30)
    assert found == len(items) == 8
    for key, item in zip(keys, items, strict=False):
        assert bytes(item.byte_array) == content(key, item.get_size()).tobytes()
        item.ref_count_down()
    engine.manager.batched_unpin(keys[:found])
    assert engine.memory_free()
    assert engine.plugin.holding.store.stats().pinned_bytes == 0


def test_a_flipped_bit_is_a_miss(start, tmp_path):
    engine = start(direct_io="off")
    engine.store(TOKENS)
    key = engine.keys(TOKENS)[3][0]
    engine.close()
    flipped = 0
    for segment in (tmp_path / "kv").rglob("*.seg"):
        data = bytearray(segment.read_bytes())
        at = data.find(content(key, 2 * 2 * 256 * 64 * 2).tobytes())
        if at >= 0:
            data[at + 77] ^= 4
            segment.write_bytes(data)
            flipped += 1
    assert flipped == 1
    fresh = start(direct_io="off")
    assert fresh.load(TOKENS) == (9, 8)
    assert fresh.plugin.holding.store.stats().corrupt_pages == 1
    assert fresh.memory_free()
    assert fresh.load(TOKENS) == (3, 3)


def test_positions_come_back_with_their_chunk(start):
    engine = start()
    ((key, n),) = engine.keys(prompt(4, 1))
    item = engine.manager.allocate(torch.Size([2, 2, n, 64]), torch.bfloat16)
    item.metadata.cached_positions = torch.arange(7, 7 + n)
    engine.manager.batched_put([key], [item])
    engine.settle()
    engine.close()
    again = start()
    (found,) = again.manager.batched_get([key], location="lsmkv")
    assert torch.equal(found.metadata.cached_positions, torch.arange(7, 7 + n))
    found.ref_count_down()


def test_layers_and_ranks_are_kept_apart(start):
    engine = start()
    ((key, n),) = engine.keys(prompt(4, 1))
    layers = key.split_layers(3)
    items = [engine.manager.allocate(torch.Size([n, 2, 64]), torch.bfloat16) for _ in layers[:2]]
    engine.manager.batched_put(layers[:2], items)
    engine.settle()
    assert engine.plugin.batched_contains(layers) == 2
    assert not engine.plugin.contains(key)
    other = start(worker=1, world_size=2)
    assert other.load(prompt(4, 1)) == (0, 0)


def test_the_scheduler_reads_what_the_worker_stores(start):
    worker = start()
    scheduler = start(role="scheduler")
    worker.store(TOKENS)
    keys = [key for key, _ in worker.keys(TOKENS)]
    assert scheduler.plugin.get_allocator_backend() is None
    assert scheduler.plugin.holding.state == "following"
    assert scheduler.plugin.batched_contains(keys) == 9


def test_removing_and_clearing(start):
    engine = start()
    engine.store(TOKENS)
    keys = [key for key, _ in engine.keys(TOKENS)]
    assert engine.manager.remove(keys[8], ["lsmkv"]) == 1
    assert engine.manager.batched_remove(keys[4:], ["lsmkv"]) == 4
    assert engine.load(TOKENS) == (4, 4)
    assert not engine.plugin.remove(keys[8])


def test_what_lmcaches_local_disk_does_not_find_after_a_restart(start, tmp_path):
    """The same steps through its own backend: the same hits, until the process ends."""
    ours, theirs = start(), start(disk=tmp_path / "disk")
    for engine in (ours, theirs):
        engine.store(TOKENS)
    theirs.plugin.disk_worker.executor.shutdown(wait=True)
    assert ours.load(TOKENS) == theirs.load(TOKENS) == (9, 9)
    ours.close()
    theirs.close()
    assert start().load(TOKENS) == (9, 9)
    assert start(disk=tmp_path / "disk").load(TOKENS) == (0, 0)
