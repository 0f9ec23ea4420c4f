"""The packed policies decide exactly as plain simulations of the same rules do."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv_tensor.retention.admission import AdmitAll
from lsmkv_tensor.retention.evictions import CountLru, Fifo, Lru
from lsmkv_tensor.retention.protocol import Eviction
from lsmkv_tensor.trace.blocks import BlockCache
from tests.retention.plain import PlainCountLru, PlainFifo, PlainLru, hits_of
from tests.retention.strategies import request_lists, trace_of


def packed_hits(requests: list[list[int]], capacity: int, policy: Eviction) -> list[int]:
    trace = trace_of(requests)
    cache = BlockCache(capacity, trace.unique_blocks, policy, AdmitAll(capacity))
    return [cache.serve(request) for request in trace.requests]


@settings(deadline=None)
@given(request_lists(), st.integers(1, 40))
def test_fifo_is_fifo(requests: list[list[int]], capacity: int) -> None:
    assert packed_hits(requests, capacity, Fifo(capacity)) == hits_of(PlainFifo(capacity), requests)


@settings(deadline=None)
@given(request_lists(), st.integers(1, 40))
def test_lru_is_lru(requests: list[list[int]], capacity: int) -> None:
    assert packed_hits(requests, capacity, Lru(capacity)) == hits_of(PlainLru(capacity), requests)


@settings(deadline=None)
@given(request_lists(), st.integers(1, 40), st.floats(0, 8), st.floats(0, 5))
def test_countlru_is_countlru(requests: list[list[int]], capacity: int, bonus: float, ghosts: float) -> None:
    found = packed_hits(requests, capacity, CountLru(capacity, bonus, ghosts))
    assert found == hits_of(PlainCountLru(capacity, bonus, ghosts), requests)


class DictLru:
    """An eviction policy of one's own, as docs/retention.md shows it."""

    def __init__(self, capacity_bytes: int) -> None:
        self.sizes: OrderedDict[int, int] = OrderedDict()

    def on_insert(self, pages, sizes, prints):  # type: ignore[no-untyped-def] - as short as a user writes it
        self.sizes.update(zip(pages.tolist(), sizes.tolist(), strict=True))

    def on_hit(self, pages):  # type: ignore[no-untyped-def] - as above
        for page in pages.tolist():
            self.sizes.move_to_end(page)

    def on_remove(self, pages, evicted):  # type: ignore[no-untyped-def] - as above
        for page in pages.tolist():
            del self.sizes[page]

    def victims(self, nbytes):  # type: ignore[no-untyped-def] - as above
        chosen: list[int] = []
        for page, size in self.sizes.items():
            if nbytes <= 0:
                break
            chosen.append(page)
            nbytes -= size
        return np.array(chosen, dtype=np.int64)


@settings(deadline=None)
@given(request_lists(), st.integers(1, 40))
def test_a_dict_lru_of_20_lines_hits_what_the_built_in_hits(requests: list[list[int]], capacity: int) -> None:
    assert packed_hits(requests, capacity, DictLru(capacity)) == packed_hits(requests, capacity, Lru(capacity))


@pytest.mark.parametrize("capacity", [300, 1500])
@pytest.mark.parametrize("bonus", [0.5, 6.0])
def test_they_agree_where_the_pool_does_not_hold_all_pages(capacity: int, bonus: float) -> None:
    rng = np.random.default_rng(capacity)
    requests, fresh = [], 0
    for _ in range(1500):
        base = requests[rng.integers(len(requests))] if requests and rng.random() < 0.6 else []
        base = base[: rng.integers(0, len(base) + 1)][:40]
        new = int(rng.integers(1, 12))
        requests.append([*base, *range(fresh, fresh + new)])
        fresh += new
    assert packed_hits(requests, capacity, Lru(capacity)) == hits_of(PlainLru(capacity), requests)
    assert packed_hits(requests, capacity, Fifo(capacity)) == hits_of(PlainFifo(capacity), requests)
    found = packed_hits(requests, capacity, CountLru(capacity, bonus, 2.0))
    assert found == hits_of(PlainCountLru(capacity, bonus, 2.0), requests)
