"""SGLang's real radix tree over three tiers: device, host, disk, a fresh tree, host, device; bytes equal."""

from __future__ import annotations

import json
import unittest
from unittest import mock

import pytest
import torch
from sglang.srt.mem_cache.base_prefix_cache import CacheRequestHandle
from sglang.srt.mem_cache.unified_cache.components.base import ComponentType
from sglang.srt.server_args import ServerArgs
from sglang.test.kits.unified_radix_cache import mixins
from sglang.test.kits.unified_radix_cache.config import CONFIGS, supports_hicache
from sglang.test.kits.unified_radix_cache.fixtures import build_fixture, match_prefix
from sglang.test.kits.unified_radix_cache.storage import UnifiedRadixCacheStorageFixtures

from tests.real.hicache.world import extra

SUPPORTED = [cfg for cfg in CONFIGS if supports_hicache(cfg)]


class Trees(UnifiedRadixCacheStorageFixtures, unittest.TestCase):
    """SGLang's own test steps, whose file backend is exchanged."""

    backend = "dynamic"

    def _init_hicache(self, cache, *, storage_backend=None, storage_dir=None, **rest):
        def arguments(**given):
            if given.get("hicache_storage_backend") == "file" and self.backend == "dynamic":
                said = json.loads(given["hicache_storage_backend_extra_config"] or "{}")
                given["hicache_storage_backend_extra_config"] = json.dumps(said | extra(storage_dir))
                given["hicache_storage_backend"] = "dynamic"
            return ServerArgs(**given)

        with mock.patch.object(mixins, "ServerArgs", arguments):
            super()._init_hicache(cache, storage_backend=storage_backend, storage_dir=storage_dir, **rest)

    def runTest(self): ...  # noqa: N802 - unittest's name: this case only lends its steps


def fill(kv_pool, indices, seed):
    """Random K and V of these device slots in all layers."""
    generator = torch.Generator().manual_seed(seed)
    for buffers in (kv_pool.k_buffer, kv_pool.v_buffer):
        for layer in buffers:
            layer[indices] = torch.randn(layer[indices].shape, generator=generator).to(layer.dtype)


def content(kv_pool, indices):
    return [layer[indices].clone() for buffers in (kv_pool.k_buffer, kv_pool.v_buffer) for layer in buffers]


@pytest.fixture
def trees(request):
    case = Trees()
    yield case
    case.doCleanups()


@pytest.mark.parametrize("cfg", SUPPORTED, ids=lambda cfg: cfg.label)
def test_a_sequence_goes_to_disk_and_into_a_fresh_tree(trees, cfg):
    trees.cfg = cfg
    path = trees._make_storage_dir()
    tokens = trees._make_seq(1, 6)

    tree, allocator, requests = build_fixture(cfg)
    trees._init_hicache(tree, storage_backend="file", storage_dir=path, prefetch_threshold=1)
    trees._insert(tree, allocator, requests, tokens)
    leaf = match_prefix(tree, tokens).last_device_node
    kv = trees._get_full_kv_pool(allocator)
    indices = tree.path_device_indices(leaf)
    fill(kv, indices, seed=7)
    before = content(kv, indices)
    trees._backup_node(tree, leaf)
    trees._write_path_to_l3(tree, leaf)
    trees._flush_l3_backups(tree)
    tree.cache_controller.detach_storage_backend()

    fresh, allocator, _ = trees._l3_consumer(path)
    backend = fresh.cache_controller.storage_backend
    assert (type(fresh.cache_controller).__name__, type(backend).__name__) == ("HybridCacheController", "LsmkvHiCache")
    trees._consume_prefetch(fresh, tokens, CacheRequestHandle("request", 0))
    match = match_prefix(fresh, tokens)
    assert match.host_hit_length == len(tokens)
    if not cfg.has_mamba:  # its load-back wants a request with a state of its own
        trees._load_back_node(fresh, match.last_host_node)
        loaded = fresh.path_device_indices(match.last_host_node)  # a sliding window splits the sequence into several nodes
        kv = trees._get_full_kv_pool(allocator)
        assert all(torch.equal(a, b) for a, b in zip(before, content(kv, loaded), strict=True))
    assert backend.meter.errors == {}
    pools = set(backend._pools)
    wanted = {"kv"} | ({"swa"} if cfg.has_swa else set()) | ({"mamba"} if cfg.has_mamba else set())
    assert wanted <= pools


@pytest.mark.parametrize("cfg", [SUPPORTED[1], SUPPORTED[6], SUPPORTED[10]], ids=lambda cfg: cfg.label)
def test_the_tree_hits_what_it_hits_with_files(trees, cfg):
    """A shared beginning, a branch, an extension, pages in the middle never backed up: the same prefixes from both backends."""
    hits = {}
    for trees.backend in ("file", "dynamic"):
        trees.cfg = cfg
        path = trees._make_storage_dir()
        tree, allocator, requests = build_fixture(cfg)
        trees._init_hicache(tree, storage_backend="file", storage_dir=path, prefetch_threshold=1)
        base = trees._make_seq(1, 3)
        told = [base, base + trees._make_seq(5000, 2), base + trees._make_seq(9000, 1)]
        for tokens in told:
            trees._insert(tree, allocator, requests, tokens)
            leaf = match_prefix(tree, tokens).last_device_node
            if not tree.tree_core.is_backuped(leaf):
                trees._backup_node(tree, leaf)
            trees._write_path_to_l3(tree, leaf)
        trees._flush_l3_backups(tree)
        tree.cache_controller.detach_storage_backend()
        hits[trees.backend] = []
        for i, tokens in enumerate(
            [*told, trees._make_seq(1, 2), trees._make_seq(70000, 2), told[1] + trees._make_seq(80000, 1)]
        ):
            fresh, _, _ = trees._l3_consumer(path)
            trees._consume_prefetch(fresh, tokens, CacheRequestHandle(f"request {i}", 0))
            hits[trees.backend].append(match_prefix(fresh, tokens).host_hit_length)
            fresh.cache_controller.detach_storage_backend()
    assert hits["dynamic"] == hits["file"]
    assert any(hits["file"])
    assert ComponentType.FULL in cfg.components
