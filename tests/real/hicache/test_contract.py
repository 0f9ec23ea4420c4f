"""The backend beside SGLang's own file backend: the same verdicts and bytes; and the stand-ins of the quick tests are true."""

from __future__ import annotations

import dataclasses
import inspect
import os
from unittest import mock

import pytest
import torch
from sglang.srt.mem_cache import hicache_storage as real
from sglang.srt.mem_cache.hicache_storage import HiCacheStorageExtraInfo, PoolHitPolicy, PoolName, PoolTransfer
from sglang.srt.observability.metrics_collector import StorageMetrics

from lsmkv_tensor.adapters.sglang import LsmkvHiCache
from tests.adapters.hicache import fakes
from tests.real.hicache.world import LAYOUTS, PAGE, host_pool, keys, slots


def parameters(function):
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]


def test_the_stand_ins_have_the_signatures_of_the_real_ones():
    for name, fake in inspect.getmembers(fakes.HiCacheStorage, inspect.isfunction):
        assert parameters(fake) == parameters(getattr(real.HiCacheStorage, name)), name
    public = {name for name, _ in inspect.getmembers(real.HiCacheStorage, inspect.isfunction) if not name.startswith("_")}
    assert public == {name for name, _ in inspect.getmembers(fakes.HiCacheStorage, inspect.isfunction) if name[0] != "_"}
    for kind in ("HiCacheStorageConfig", "HiCacheStorageExtraInfo", "PoolTransfer"):
        ours, theirs = (dataclasses.fields(getattr(module, kind)) for module in (fakes, real))
        assert [(f.name, f.default) for f in ours] == [(f.name, f.default) for f in theirs], kind
    assert {p.name: p.value for p in fakes.PoolHitPolicy} == {p.name: p.value for p in PoolHitPolicy}


def test_the_backend_takes_every_call_of_the_interface():
    for name, theirs in inspect.getmembers(real.HiCacheStorage, inspect.isfunction):
        if not name.startswith("_"):
            assert [n for n, _ in parameters(getattr(LsmkvHiCache, name))] == [n for n, _ in parameters(theirs)], name
    assert not LsmkvHiCache.__abstractmethods__


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("hint", [False, True])
def test_the_same_verdicts_and_bytes_as_files(make, layout, hint):
    """300 pages in calls of 128, a part of them twice, a longer node, one directory opened again with and without prefix_keys."""
    source = host_pool(layout, seed=1)
    chain = keys(range(300))

    def write(backend, start, stop, hint):
        for a in range(start, stop, 128):
            b = min(a + 128, stop)
            above = HiCacheStorageExtraInfo(prefix_keys=chain[:a] if hint else None)
            transfer = [PoolTransfer(name=PoolName.KV, keys=chain[a:b], host_indices=slots(range(a, b)))]
            assert backend.batch_set_v2(transfer, above) == {PoolName.KV: [True] * (b - a)}

    backends = {"lsmkv": make.lsmkv, "file": make.file}
    for kind in backends.values():
        backend = kind(source)
        write(backend, 0, 200, hint)
        write(backend, 100, 240, not hint)
        if hasattr(backend, "close"):
            backend.close()

    results = {}
    for name, kind in backends.items():
        target = host_pool(layout)
        backend = kind(target)
        asked = [PoolTransfer(name=PoolName.KV, keys=chain, host_indices=slots(range(300)))]
        results[name] = [
            backend.batch_exists(chain, HiCacheStorageExtraInfo(prefix_keys=["00" * 32] if hint else None)),
            backend.batch_exists(chain[239:], None),
            backend.batch_exists(chain[240:], None),
            backend.batch_exists_v2(chain, None),
            backend.batch_get_v2(asked),
            target.kv_buffer,
        ]
    ours, theirs = results["lsmkv"], results["file"]
    assert ours[:3] == theirs[:3] == [240, 1, 0]
    assert dataclasses.astuple(ours[3]) == dataclasses.astuple(theirs[3])
    assert ours[4] == theirs[4]
    assert torch.equal(ours[5], theirs[5])
    assert torch.equal(ours[5].flatten()[:64], source.kv_buffer.flatten()[:64])


@pytest.mark.parametrize("policy", [PoolHitPolicy.ALL_PAGES, PoolHitPolicy.TRAILING_PAGES])
@pytest.mark.parametrize("window", [1, 3])
def test_sidecar_hits_are_those_of_files(make, policy, window):
    held = [0, 1, 2, 5, 6, 7, 9]
    chain = keys(range(12))
    results = []
    for kind in (make.lsmkv, make.file):
        pool, side = host_pool("page_first", seed=1), host_pool("layer_first", seed=2)
        backend = kind(pool)
        backend.register_mem_host_pool_v2(side, PoolName.SWA)
        backend.batch_set_v2([PoolTransfer(name=PoolName.KV, keys=chain[:10], host_indices=slots(range(10)))])
        backend.batch_set_v2([PoolTransfer(name=PoolName.SWA, keys=[chain[i] for i in held], host_indices=slots(held))])
        found = backend.batch_exists_v2(chain, [PoolTransfer(name=PoolName.SWA, keys=chain[:window], hit_policy=policy)])
        results.append(dataclasses.astuple(found))
    assert results[0] == results[1]


def test_flat_tensors_as_files(make):
    pool = host_pool("page_head", seed=3)
    for backend in (make.lsmkv(pool, v1=0), make.file(pool)):
        chain = keys(range(5))
        assert backend.batch_set(chain, [pool.get_data_page(i * PAGE) for i in range(5)])
        found = backend.batch_get(chain, [pool.get_dummy_flat_data_page() for _ in chain])
        assert all(torch.equal(page, pool.get_data_page(i * PAGE)) for i, page in enumerate(found))
        assert backend.batch_exists(keys(range(7))) == 5


def test_statistics_are_sglangs_and_drained(make):
    backend = make.lsmkv(host_pool("page_first", seed=1))
    backend.batch_set_v1(keys(range(4)), slots(range(4)))
    backend.batch_get_v1(keys(range(4)), slots(range(4)))
    stats = backend.get_stats()
    assert isinstance(stats, StorageMetrics)
    assert (stats.prefetch_pgs, stats.backup_pgs, len(stats.prefetch_bandwidth)) == ([4], [4], 1)
    assert backend.get_stats() == StorageMetrics()


def test_a_second_server_on_one_path_starts_and_reads(make):
    pool = host_pool("page_first", seed=1)
    first, second = make.lsmkv(pool), make.lsmkv(host_pool("page_first"))
    first.batch_set_v1(keys(range(4)), slots(range(4)))
    first.holding.store.sync()  # what waits in the queue of one process is seen by nobody else
    assert second.holding.state == "following"
    assert second.batch_get_v1(keys(range(4)), slots(range(4))) == [True] * 4
    assert torch.equal(second.mem_pool_host.get_data_page(0), pool.get_data_page(0))


def test_pages_go_straight_into_the_host_pool(make):
    """One copy into the queue of puts; on the way back one the first time, and none where the page cache can be asked."""
    pool = host_pool("page_first", pages=64, seed=1, layers=16, heads=4, width=64, page_size=16)
    backend = make.lsmkv(pool)
    assert all(backend.batch_set_v1(keys(range(32)), slots(range(32), 16)))
    assert backend.meter.copied_pages == 32
    backend.holding.store.sync()
    for _ in range(3):
        before = backend.meter.copied_pages
        pool.get_data_page(32 * 16).zero_()
        assert all(backend.batch_get_v1(keys(range(32)), slots(range(32, 64), 16)))
        assert torch.equal(pool.get_data_page(32 * 16), pool.get_data_page(0))
    if backend.holding.store._files.may_tell_cached:
        assert backend.meter.copied_pages == before
    assert backend.meter.errors == {}


def test_the_failure_injector_around_it(make):
    with mock.patch.dict(os.environ, {"SGLANG_TEST_HICACHE_BACKEND_RANDOM_FAILURE": "0.5"}):
        backend = make.lsmkv(host_pool("page_first", seed=1))
    assert type(backend).__name__ == "HiCacheStorageFailureInjector"
    told = [all(backend.batch_set_v1(keys([i]), slots([i]))) for i in range(60)]
    there = [backend._backend.exists(keys([i])[0]) for i in range(60)]
    assert told == there
    assert 0 < sum(told) < 60
