"""The eviction policy of lesson 7: it keeps to the protocol, and hits much more than recency alone."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from lsmkv.env.rng import seeded
from lsmkv_tensor.retention.admission import AdmitAll
from lsmkv_tensor.trace import replay
from lsmkv_tensor.trace.blocks import BlockCache
from lsmkv_tensor.trace.generate import Phase, generate

TRACE = generate([Phase(requests=800)], seeded(1))


def hits(work: ModuleType, share: float) -> int:
    """Blocks that a cache of this share of all distinct blocks had."""
    blocks = int(share * TRACE.unique_blocks)
    cache = BlockCache(blocks, TRACE.unique_blocks, work.Keep(blocks), AdmitAll(blocks))
    return sum(cache.serve(request) for request in TRACE.requests)


@pytest.mark.parametrize(("share", "better"), [(0.02, 1.25), (0.05, 1.1)])
def test_it_hits_more_than_lru_in_a_small_store(work: ModuleType, share: float, better: float) -> None:
    (lru,) = replay(TRACE, capacity=share, eviction="lru")
    found = hits(work, share)
    assert found > better * lru.hits, f"{found} hits, LRU has {lru.hits}"


def test_it_loses_little_in_a_large_store(work: ModuleType) -> None:
    (lru,) = replay(TRACE, capacity=0.2, eviction="lru")
    assert hits(work, 0.2) > 0.97 * lru.hits


def test_victims_are_enough_and_asking_changes_nothing(work: ModuleType) -> None:
    keep = work.Keep(1_000)
    keep.on_insert(np.arange(50), np.full(50, 20), np.arange(50, dtype=np.uint64))
    keep.on_hit(np.array([3, 4, 5]))
    first = keep.victims(95)
    assert len(set(first.tolist())) == 5
    assert keep.victims(95).tolist() == first.tolist()
    assert not {3, 4, 5} & set(first.tolist())
    keep.on_remove(first, evicted=True)
    assert not set(first.tolist()) & set(keep.victims(1_000).tolist())


def test_a_page_that_comes_back_is_known(work: ModuleType) -> None:
    keep = work.Keep(1_000)
    often, others = np.array([0]), np.arange(1, 9)
    keep.on_insert(often, np.array([100]), np.array([77], dtype=np.uint64))
    for _ in range(8):
        keep.on_hit(often)
    keep.on_remove(often, evicted=True)
    keep.on_insert(often, np.array([100]), np.array([77], dtype=np.uint64))
    keep.on_insert(others, np.full(8, 100), np.arange(8, dtype=np.uint64))
    assert 0 not in keep.victims(800).tolist(), "it was used nine times before"
