"""Which prefixes can be restored, against the definition spelled out page by page."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lsmkv_tensor.adapters.sglang.hits import PoolAsk, restorable_prefix
from tests.adapters.hicache.conftest import store
from tests.adapters.hicache.fakes import HostPool, PoolHitPolicy, PoolTransfer, keys, slots


@st.composite
def asks(draw):
    n = draw(st.integers(0, 12))
    pools = []
    for i in range(draw(st.integers(0, 3))):
        held = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
        policy = draw(st.sampled_from(["all_pages", "trailing_pages", "block_groups"]))
        pools.append(PoolAsk(f"pool{i}", held, policy, draw(st.integers(1, 5))))
    return n, pools


def allows(pool, p):
    if pool.policy == "all_pages":
        return all(pool.held[:p])
    if pool.policy == "trailing_pages":
        return all(pool.held[max(0, p - pool.window) : p])
    return True


@given(asks())
def test_restorable_prefixes(case):
    n, pools = case
    hit = restorable_prefix(n, pools)
    lengths = [p for p in range(1, n + 1) if all(allows(pool, p) for pool in pools)]
    assert hit.restorable == lengths
    assert hit.pages == max(lengths, default=0)
    wanted = {"kv": n} if n else {}
    for pool in pools:
        best = max((p for p in range(1, n + 1) if allows(pool, p)), default=0)
        if best and pool.policy != "block_groups":
            wanted[pool.name] = best
    assert hit.boundaries == wanted


def test_a_trailing_checkpoint_between_two_gaps(server):
    backend = server.start(HostPool().fill())
    backend.register_mem_host_pool_v2(HostPool("layer_first"), "mamba")
    store(backend, range(6))
    backend.batch_set_v2([PoolTransfer("mamba", slots([0, 1]), keys=[keys([i])[0] for i in (1, 4)])])
    transfer = PoolTransfer("mamba", keys=keys([5]), hit_policy=PoolHitPolicy.TRAILING_PAGES)
    assert backend.batch_exists_v2(keys(range(8)), [transfer]) == (5, {"kv": 6, "mamba": 5}, [2, 5])
    assert backend.batch_exists_v2(keys(range(8)), None) == (6, {"kv": 6}, [1, 2, 3, 4, 5, 6])
    assert backend.batch_exists_v2(keys([9]), [transfer]) == (0, {}, [])
