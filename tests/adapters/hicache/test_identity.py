"""Pages are shared by whoever has the same ones, and by nobody else."""

from __future__ import annotations

import pytest
import torch

from tests.adapters.hicache.conftest import load, store
from tests.adapters.hicache.fakes import HostPool, PoolTransfer, keys, slots

TWO = {"tp_size": 2}


@pytest.mark.parametrize(
    ("pool", "config"),
    [
        ({"layout": "page_head"}, {}),
        ({"dtype": torch.float16}, {}),
        ({"layers": 6}, {}),
        ({}, {"model": "other"}),
        ({}, {"revision": "2"}),
        ({}, {"ranks": {"tp_rank": 1, **TWO}}),
        ({}, {"ranks": {"pp_rank": 1, "pp_size": 2}}),
        ({}, {"ranks": {"attn_cp_rank": 1, "attn_cp_size": 2}}),
    ],
)
def test_what_gives_bytes_another_meaning_is_another_cache(server, pool, config):
    store(server.start(HostPool(layout="page_first", dtype=torch.bfloat16, layers=3).fill()), range(3))
    server.backends[0].close()
    other = server.start(HostPool(**{"layout": "page_first", **pool}), member="other", **config)
    assert other.batch_exists(keys(range(3))) == 0
    assert load(other, range(3)) == [False] * 3


def test_ranks_of_a_replicated_pool_read_what_the_first_of_them_wrote(server):
    pool = HostPool().fill()
    first = server.start(pool, mla=True, ranks={"tp_rank": 0, **TWO})
    second = server.start(HostPool(), mla=True, ranks={"tp_rank": 1, **TWO})
    store(first, range(5))
    assert second.batch_exists(keys(range(6))) == 5
    assert load(second, range(6)) == [True] * 5 + [False]
    assert torch.equal(second.mem_pool_host.kv_buffer[:, :20], pool.kv_buffer[:, :20])


def test_mamba_states_are_each_ranks_own_even_then(server):
    ranks = [server.start(HostPool().fill(i), mla=True, ranks={"tp_rank": i, **TWO}) for i in range(2)]
    for i, backend in enumerate(ranks):
        backend.register_mem_host_pool_v2(HostPool("page_first").fill(10 + i), "mamba")
    mamba = [PoolTransfer("mamba", slots([0]), keys=keys([0]))]
    assert ranks[0].batch_set_v2(mamba) == {"mamba": [True]}
    assert ranks[1].batch_get_v2(mamba) == {"mamba": [False]}


def test_replicas_share_hits(server):
    """Data parallel ranks have the same pages and each its own directory."""
    first = server.start(HostPool().fill())
    second = server.start(HostPool(), ranks={"tp_rank": 0}, member="tp0of1-dp1")
    store(first, range(4))
    assert load(second, range(4)) == [True] * 4
    assert store(second, range(4)) == [True] * 4
    assert second.holding.store.stats().put_pages == 0
