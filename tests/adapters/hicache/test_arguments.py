"""Whatever SGLang passes, no call raises and no memory but the pool's own is read or written."""

from __future__ import annotations

import errno

import pytest
import torch

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import FailOp
from lsmkv_tensor.adapters.sglang import LsmkvHiCache
from tests.adapters.hicache.conftest import load, store
from tests.adapters.hicache.fakes import PAGE, HostPool, keys, slots


def test_values_that_are_none_or_one_tensor_are_no_error(server):
    backend = server.start()
    both = torch.arange(2 * 768, dtype=torch.int64).to(torch.uint8).reshape(2, 768)
    assert backend.set(keys([0])[0]) is False
    assert backend.get(keys([0])[0]) is None
    assert backend.batch_set(keys([0, 1]), [both[0], None]) is False
    assert backend.batch_set(keys([0, 1]), both) is True
    assert backend.batch_set(keys([2, 3]), [both[0]]) is False
    found = backend.batch_get(keys([0, 1, 2]), torch.zeros(3, 768, dtype=torch.uint8))
    assert torch.equal(torch.stack(found[:2]), both)
    assert found[2] is None


def test_calls_without_keys_make_no_namespace(server):
    backend = server.start()
    before = len(backend.holding.store.namespaces())
    assert backend.batch_get([], []) == []
    assert backend.batch_set([], []) is True
    assert len(backend.holding.store.namespaces()) == before


@pytest.mark.parametrize("layout", ["page_first", "layer_first"])
def test_slots_that_begin_no_page_of_the_pool_are_refused(server, layout):
    backend = server.start(HostPool(layout, pages=8).fill())
    store(backend, [0])
    for wrong in (slots([8]), slots([-1]), torch.arange(PAGE) + 2, slots([1 << 40])):
        assert backend.batch_set_v1(keys([5]), wrong) == [False]
        assert backend.batch_get_v1(keys([0]), wrong) == [False]
    assert load(backend, [0], [7]) == [True]


@pytest.mark.parametrize("op", ["pwritev", "sync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_while_pools_are_registered_stops_no_server(server, op, number):
    server.start().close()
    seams = {"fs": server.fs, "clock": server.clock, "rng": seeded(9), "scheduler": ManualScheduler()}
    backend = LsmkvHiCache(server.place.config(model="another"), seams)
    server.backends.append(backend)
    server.fs.add(FailOp(op, errno=number))
    backend.register_mem_pool_host(HostPool().fill())
    assert load(backend, [0]) == [False]
    assert store(backend, [0]) == [True]
    assert (backend.batch_exists(keys([0])), backend.meter.declined_pages) == (0, 1)
    server.fs.clear()
    server.clock.advance(60)
    backend.holding.store.step()  # has the disk tried, if it was left alone
    store(backend, [0])
    assert store(backend, [0]) == [True]
    assert backend.batch_exists(keys([0])) == 1


def test_clearing_that_fails_in_the_middle_leaves_a_backend_that_stores(server):
    backend = server.start(HostPool().fill())
    backend.register_mem_host_pool_v2(HostPool().fill(), "swa")
    store(backend, range(3))
    dropped = []
    drop = backend.holding.store.drop_namespace

    def once(number):
        """The disk fails when the second is dropped."""
        if dropped:
            server.fs.add(FailOp("sync", path="*.wal"))
        dropped.append(number)
        return drop(number)

    backend.holding.store.drop_namespace = once
    assert backend.clear() is False
    server.fs.clear()
    del backend.holding.store.drop_namespace
    server.clock.advance(60)
    backend.holding.store.step()
    store(backend, range(3))
    assert store(backend, range(3)) == [True] * 3
    assert backend.batch_exists(keys(range(3))) == 3
