"""The block cache: bounded, least recently used out first, safe to share."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from lsmkv.cache.blockcache import ENTRY_BYTES, BlockCache, block_key


def test_the_least_recently_used_goes_first():
    cache = BlockCache(3 * (ENTRY_BYTES + 10))
    for key in (1, 2, 3):
        cache.put(key, f"block {key}", 10)
    assert cache.get(1) == "block 1"
    cache.put(4, "block 4", 10)
    assert cache.get(2) is None
    assert [cache.get(k) for k in (1, 3, 4)] == ["block 1", "block 3", "block 4"]
    assert (cache.hits, cache.misses, cache.evictions, len(cache)) == (4, 1, 1, 3)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 400)), max_size=60))
def test_bytes_are_exact_and_never_above_capacity(puts):
    cache = BlockCache(2000)
    for key, charge in puts:
        cache.put(key, "x", charge)
        assert cache.bytes == sum(e[1] for e in cache._entries.values()) <= 2000
    cache.clear()
    assert (cache.bytes, len(cache)) == (0, 0)


def test_an_object_larger_than_the_cache_is_not_held_and_disturbs_nothing():
    cache = BlockCache(1000)
    cache.put(1, "small", 10)
    cache.put(2, "huge", 5000)
    assert cache.get(2) is None
    assert cache.get(1) == "small"
    cache.put(1, "huge now", 5000)
    assert cache.get(1) is None
    assert cache.bytes == 0


def test_dropping_a_file_forgets_its_blocks_only():
    cache = BlockCache(1 << 20)
    for file in (1, 2):
        for block in range(5):
            cache.put(block_key(file, block), (file, block), 10)
    cache.drop(1)
    assert [cache.get(block_key(1, b)) for b in range(5)] == [None] * 5
    assert [cache.get(block_key(2, b)) for b in range(5)] == [(2, b) for b in range(5)]
    assert cache.bytes == 5 * (ENTRY_BYTES + 10)


def test_threads_share_it():
    cache = BlockCache(20 * (ENTRY_BYTES + 1))
    wrong = []

    def work(seed: int) -> None:
        for i in range(3000):
            key = i * seed % 50
            got = cache.get(key)
            if got is None:
                cache.put(key, str(key), 1)
            elif got != str(key):
                wrong.append((key, got))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in (7, 11, 13)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert cache.bytes == sum(e[1] for e in cache._entries.values()) <= cache.capacity_bytes
