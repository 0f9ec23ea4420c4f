"""What is let in: sightings, second sight, adapting to pressure, write budgets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv_tensor.retention.admission import Adaptive, AdmitAll, SecondSight
from lsmkv_tensor.retention.budget import DAY_S
from lsmkv_tensor.retention.evictions import Lru
from lsmkv_tensor.retention.multiqueue import MultiQueue
from lsmkv_tensor.retention.protocol import Seen
from lsmkv_tensor.retention.sightings import TOGETHER_S, Sightings
from lsmkv_tensor.trace.blocks import BlockCache, prints_of
from lsmkv_tensor.trace.requests import Trace
from tests.retention.strategies import trace_of

ONE = prints_of(np.array([7]))
PAGE = np.array([4096], dtype=np.int64)


def test_a_requests_own_probe_and_put_are_one_sighting() -> None:
    admit = SecondSight(1 << 20)
    admit.sight(ONE, 10.0)
    assert admit.decide(ONE, PAGE, 11.0).tolist() == [False]
    admit.sight(ONE, 20.0)
    assert admit.decide(ONE, PAGE, 21.0).tolist() == [True]


def test_a_probe_repeated_while_the_request_waits_is_no_other_sighting() -> None:
    admit = SecondSight(1 << 20)
    for at in range(5):
        admit.sight(ONE, 10.0 + at)
    assert admit.decide(ONE, PAGE, 20.0).tolist() == [False]


def test_puts_without_probes_are_sightings() -> None:
    admit = SecondSight(1 << 20)
    assert admit.decide(ONE, PAGE, 0.0).tolist() == [False]
    assert admit.decide(ONE, PAGE, 0.0).tolist() == [True]


def test_a_probe_that_no_put_followed_counts_all_the_same() -> None:
    admit = SecondSight(1 << 20)
    admit.sight(ONE, 1.0)
    admit.sight(ONE, 2.0 + TOGETHER_S)
    assert admit.decide(ONE, PAGE, 3.0 + TOGETHER_S).tolist() == [True]


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 300), min_size=1)), max_size=40))
def test_sightings_are_those_of_a_dict(calls: list[tuple[bool, set[int]]]) -> None:
    table = Sightings()
    times: dict[int, int] = {}
    opened: set[int] = set()
    for at, (put, names) in enumerate(calls):
        blocks = np.array(sorted(names))
        for name in names:
            if name not in opened:
                times[name] = times.get(name, 0) + 1
        if put:
            assert table.offered(prints_of(blocks), float(at)).tolist() == [times[int(b)] for b in blocks]
            opened -= names
        else:
            table.probed(prints_of(blocks), float(at))
            opened |= names


def test_a_larger_table_keeps_what_was_seen() -> None:
    table = Sightings()
    blocks = prints_of(np.arange(1000))
    table.offered(blocks, 0.0)
    table.resize(table.entries * 4)
    assert (table.offered(blocks, 1.0) >= 2).mean() > 0.99
    assert table.memory_bytes <= 17 * table.entries


@pytest.mark.parametrize("make", [AdmitAll, SecondSight, Adaptive])
def test_over_a_day_no_more_is_written_than_the_budget_and_what_an_hour_saved(make: type[SecondSight]) -> None:
    budget = 1000 * 4096.0
    admit = make(1 << 30, budget)
    written = 0
    blocks = 0
    for step in range(2000):
        now = step * DAY_S / 2000
        admit.observe(Seen(now, 1 << 30, 1 << 29, written, 0, 0, 0))
        prints = prints_of(np.arange(blocks, blocks + 4))
        blocks += 0 if step % 2 else 4  # everything is offered twice
        written += 4096 * int(admit.decide(prints, np.full(4, 4096), now).sum())
    assert written <= budget * (1 + 1 / 24)
    assert written > budget / 2, "and the budget is used"


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        AdmitAll(1, 0.0)


def returning(rounds: int, width: int) -> Trace:
    """Pages that come back, each once, after ``width`` others; hardly any of them a third time."""
    requests = []
    for at in range(rounds):
        requests.append([at])
        if at >= width and at % 2:
            requests.append([at - width])
    return trace_of(requests)


def test_adaptive_is_choosy_where_pages_are_pushed_out_before_they_return() -> None:
    for capacity, choosy in ((100, True), (2000, False)):
        trace = returning(6000, 1000)
        admit = Adaptive(capacity)
        cache = BlockCache(capacity, trace.unique_blocks, Lru(capacity), admit)
        for request in trace.requests:
            cache.serve(request)
        assert admit.choosy is choosy
        assert (cache.counts.declined > 0) is choosy


def test_adaptive_leaves_it_to_an_eviction_policy_that_recognises_what_returns() -> None:
    trace = returning(6000, 1000)
    admit = Adaptive(400)
    cache = BlockCache(400, trace.unique_blocks, MultiQueue(400), admit)
    for request in trace.requests:
        cache.serve(request)
    assert cache.counts.ghost_hits > 1000
    assert not admit.choosy
