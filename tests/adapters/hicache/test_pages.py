"""Pages of a host pool go to disk and come back, in every layout and through every generation of the interface."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsmkv.testing import FaultFileSystem, MemoryFileSystem
from lsmkv_tensor.adapters.hostpool import HostPages
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.spans import page_views
from tests.adapters.hicache.conftest import load, store
from tests.adapters.hicache.fakes import (
    LAYOUTS,
    PAGE,
    CrookedPool,
    HiCacheStorageExtraInfo,
    HostPool,
    LogicalHostPool,
    PoolTransfer,
    WholePagePool,
    keys,
    slots,
)


def same_pages(a, pages_a, b, pages_b):
    return all(torch.equal(a.get_data_page(i * PAGE), b.get_data_page(j * PAGE)) for i, j in zip(pages_a, pages_b, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [HostPool, WholePagePool, CrookedPool])
def test_slots_come_back_after_a_restart_into_other_slots(server, layout, kind):
    old = kind(layout).fill()
    backend = server.start(old)
    assert store(backend, range(10)) == [True] * 10
    backend.close()

    new = kind(layout)
    backend = server.start(new)
    assert backend.batch_exists(keys(range(12))) == 10
    assert load(backend, range(11), range(20, 31)) == [True] * 10 + [False]
    assert same_pages(old, range(10), new, range(20, 30))
    assert not new.get_data_page(19 * PAGE).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_flat_tensors_come_back(server, layout):
    pool = HostPool(layout).fill()
    backend = server.start(pool, v1=0)
    assert backend.batch_set(keys(range(5)), [pool.get_data_page(i * PAGE) for i in range(5)])
    assert (backend.batch_exists(keys(range(6))), backend.exists(keys([4])[0]), backend.exists(keys([5])[0])) == (5, True, False)
    targets = [pool.get_dummy_flat_data_page() for _ in range(6)]
    found = backend.batch_get(keys(range(6)), targets)
    assert [x is not None for x in found] == [True] * 5 + [False]
    assert all(torch.equal(targets[i], pool.get_data_page(i * PAGE)) for i in range(5))
    one = pool.get_dummy_flat_data_page()
    assert torch.equal(backend.get(keys([3])[0], one), pool.get_data_page(3 * PAGE))
    assert backend.set(keys([9])[0], pool.get_data_page(9 * PAGE))


def test_flat_tensors_and_pieces_are_never_taken_for_each_other(server):
    """Their bytes are the same ones in another order."""
    pool = HostPool("layer_first").fill()
    backend = server.start(pool)
    store(backend, range(3))
    backend.close()
    flat = server.start(pool, v1=0)
    assert flat.batch_exists(keys(range(3))) == 0


def test_what_the_memory_looks_like_is_asked_three_times_and_not_for_every_page():
    """The addresses of all pages follow from those of three."""
    pool, asked = HostPool("page_first_direct"), []
    real = pool.get_page_buffer_meta
    pool.get_page_buffer_meta = lambda indices: (asked.append(len(indices)), real(indices))[1]
    host = HostPages(pool)
    spans = host.spans(np.array([8, 0, 124]))
    assert asked == [3 * PAGE]
    pointers, sizes = real(torch.cat([slots([2, 0, 31])]))
    assert (spans.addresses.reshape(-1).tolist(), spans.sizes.tolist() * 3) == (pointers, sizes)


@pytest.mark.parametrize("pool", [*map(HostPool, LAYOUTS), CrookedPool("page_first")])
def test_the_memory_of_few_pieces_is_found_in_another_way(pool):
    host = HostPages(pool.fill(3))
    for page in (0, 5, 31):
        for indices in (slots([page]), slots([page]).to(torch.int32), slots([page]).numpy()):
            alone = page_views(host.memory(indices, 1), 1, host.page_bytes, writable=True)
            among = page_views(host.spans(np.array([3, page, 4]) * PAGE), 3, host.page_bytes)
            assert b"".join(alone[0]) == b"".join(among[1])
            assert sum(map(len, alone[0])) == host.page_bytes
    several = [7, 31, 0, 8]
    for indices in (slots(several), slots(several).numpy()):
        quick = page_views(host.memory(indices, 4), 4, host.page_bytes, writable=True)
        plain = page_views(host.spans(np.array(several) * PAGE), 4, host.page_bytes)
        assert [b"".join(page) for page in quick] == [b"".join(page) for page in plain]
        assert [sum(map(len, page)) for page in quick] == [host.page_bytes] * 4
    with pytest.raises(InvalidArgumentError, match="overlap"):
        page_views(host.memory(slots([3, 5, 3]), 3), 3, host.page_bytes, writable=True)
    with pytest.raises(InvalidArgumentError, match=r"2 pages|has .* bytes"):
        page_views(host.memory(slots([3, 5]), 2), 3, host.page_bytes)
    for wrong in (slots([32]), torch.arange(PAGE) + 2, slots([-1]), slots([0])[:-1], None):
        with pytest.raises(InvalidArgumentError, match="host indices"):
            host.memory(wrong, 1)


def test_sidecar_pools_and_pools_without_data(server):
    kv, mamba, anchor = HostPool().fill(1), HostPool("layer_first", layers=2).fill(2), LogicalHostPool()
    backend = server.start(kv)
    backend.register_mem_host_pool_v2(mamba, "mamba")
    backend.register_mem_host_pool_v2(anchor, "swa")
    transfers = [
        PoolTransfer("kv", slots(range(4)), keys=keys(range(4))),
        PoolTransfer("mamba", slots([7]), keys=keys([3])),
        PoolTransfer("swa", slots(range(4)), keys=keys(range(4))),
    ]
    assert backend.batch_set_v2(transfers) == {"kv": [True] * 4, "mamba": [True], "swa": [True] * 4}
    before = mamba.get_data_page(7 * PAGE).clone()
    mamba.kv_buffer.zero_()
    asked = [
        PoolTransfer("mamba", slots([0, 1]), keys=keys([3, 4])),
        PoolTransfer("swa", slots(range(5)), keys=keys(range(5))),
    ]
    assert backend.batch_get_v2(asked) == {"mamba": [True, False], "swa": [True] * 4 + [False]}
    assert torch.equal(mamba.get_data_page(0), before)


def test_a_page_that_is_there_is_not_written_again(server):
    backend = server.start(HostPool().fill())
    assert store(backend, range(4)) == [True] * 4
    written = backend.holding.store.stats().put_pages
    assert store(backend, range(6)) == [True] * 6
    assert backend.holding.store.stats().put_pages == written + 2


def test_prefix_keys_change_no_key_and_say_what_comes_before(server):
    backend = server.start(HostPool().fill())
    chain = keys(range(8))
    assert all(backend.batch_set_v1(chain[:4], slots(range(4)), HiCacheStorageExtraInfo(None)))
    assert all(backend.batch_set_v1(chain[4:], slots(range(4, 8)), HiCacheStorageExtraInfo(chain[:4])))
    assert backend.batch_exists(chain, HiCacheStorageExtraInfo(["ff" * 32])) == 8
    writer = backend._pools["kv"]._view().writer
    parents = writer.parents(chain)
    assert parents == [None, *(bytes.fromhex(key)[:28] for key in chain[:7])]


def test_indices_that_do_not_fit_their_keys_are_a_miss(server):
    backend = server.start(HostPool().fill())
    assert backend.batch_set_v1(keys(range(3)), slots(range(2))) == [False] * 3
    assert backend.batch_get_v1(keys(range(2)), None) == [False] * 2
    assert backend.meter.errors == {"set kv": 1, "get kv": 1}


def test_clear_forgets_everything_and_goes_on(server):
    backend = server.start(HostPool().fill())
    store(backend, range(4))
    assert backend.clear()
    assert backend.batch_exists(keys(range(4))) == 0
    assert store(backend, range(2)) == [True] * 2
    assert backend.batch_exists(keys(range(4))) == 2


def test_the_copies_of_a_page_are_reported(server):
    """None in layouts whose pieces are aligned; one through the queue, or for a pool that gives whole pages; where the page cache
    cannot be asked, a deadline costs one more."""
    aligned = HostPool(dtype=torch.float32, layers=64)
    shift = -aligned.kv_buffer.data_ptr() % 4096 // 4
    memory = torch.zeros(aligned.kv_buffer.numel() + 1024)
    shift = -memory.data_ptr() % 4096 // 4
    aligned.kv_buffer = memory[shift : shift + aligned.kv_buffer.numel()].view(aligned.kv_buffer.shape)
    bounded = {"io_timeout_s": 4.0}
    for pool, settings, asked, copies in (
        (aligned, {}, False, (0, 0)),
        (HostPool(), {}, False, (1, 0)),
        (aligned, bounded, True, (0, 0)),
        (aligned, bounded, False, (0, 1)),
        (aligned, bounded | {"put_queue_bytes": 1 << 20}, True, (1, 0)),
        (WholePagePool(), {}, False, (1, 1)),
        (WholePagePool(), bounded, False, (1, 2)),
    ):
        server.fs = FaultFileSystem(MemoryFileSystem(page_cache=asked))
        backend = server.start(pool, **settings)
        store(backend, range(2))
        assert backend.meter.copied_pages == 2 * copies[0]
        backend.holding.store.sync()
        assert load(backend, range(2)) == [True] * 2
        assert backend.meter.copied_pages == 2 * sum(copies)
        backend.close()


def test_pages_of_a_pool_that_does_not_say_how_many_it_has_are_not_all_the_first():
    pool = HostPool("page_first").fill()
    whole = HostPages(pool)
    del pool.size
    host = HostPages(pool)
    for pages in ([5], [7, 2], [0]):
        found = page_views(host.memory(slots(pages), len(pages)), len(pages), host.page_bytes)
        wanted = page_views(whole.spans(np.array(pages) * PAGE), len(pages), host.page_bytes)
        assert [b"".join(page) for page in found] == [b"".join(page) for page in wanted]


def test_pages_that_overlap_in_a_pool_are_not_read_into():
    pool = HostPool("page_first")
    asked = pool.get_page_buffer_meta
    pool.get_page_buffer_meta = lambda indices: (asked(indices)[0], [2 * size for size in asked(indices)[1]])
    host = HostPages(pool)
    with pytest.raises(InvalidArgumentError, match="overlap"):
        page_views(host.memory(slots([3, 4]), 2), 2, host.page_bytes, writable=True)
