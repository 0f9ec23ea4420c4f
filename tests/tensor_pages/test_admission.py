"""What the admission policy does not think worth a write is not stored, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsmkv.testing import ManualClock
from lsmkv_tensor.errors import InvalidArgumentError

SIZE = 4000


@pytest.fixture
def second(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return "remembering:Second"


def test_pages_that_are_refused_are_false_and_counted_and_never_written(world, second):
    store = world.open(admission=second)
    ns = store.namespace({"m": 1}, SIZE)
    assert world.put(ns, range(5)) == [False] * 5
    stats = store.stats()
    assert (stats.refused_pages, stats.declined_pages, stats.put_pages, stats.pages) == (5, 0, 0, 0)
    assert world.put(ns, range(3, 8)) == [True, True, False, False, False]
    assert world.check(ns, range(8)) == {3, 4}
    assert world.put(ns, range(3, 8)) == [True] * 5
    assert store.stats().refused_pages == 8


def test_an_ask_for_an_absent_page_is_a_sighting(world, second):
    store = world.open(admission=second)
    ns = store.namespace({"m": 1}, SIZE)
    assert ns.contains_prefix(world.keys(range(5))) == 0
    assert world.put(ns, range(5)) == [True] * 5
    assert ns.contains_prefix(world.keys(range(8))) == 5
    assert world.put(ns, range(5, 8)) == [True] * 3


def test_the_policy_is_told_how_the_store_is_doing(world, second):
    store = world.open(admission=second, write_bytes_per_day=1e9)
    ns = store.namespace({"m": 1}, SIZE)
    ns.contains_prefix(world.keys(range(200)))
    for i in range(0, 200, 10):
        world.put(ns, range(i, i + 10))
    world.check(ns, range(190, 200))
    world.put(ns, [500])
    seen = store._log.gatekeeper._admission.told[-1]
    stats = store.stats()
    assert seen.capacity_bytes == (stats.segments_max - 1) * 65536
    assert seen.used_bytes == stats.live_bytes
    assert seen.evicted_bytes == stats.evicted_pages * SIZE > 0
    assert (seen.hits, seen.written_bytes) == (stats.hits, stats.written_bytes)
    assert store._log.gatekeeper._admission.budget == 1e9


def test_what_is_no_admission_policy_is_refused(world):
    with pytest.raises(InvalidArgumentError, match="admission"):
        world.open(admission="bouncer")
    world.store = None


def test_a_write_budget_binds_a_store_that_admits_all(world):
    store = world.open(write_bytes_per_day=24 * 40_000, clock=ManualClock())
    ns = store.namespace({"m": 1}, SIZE)
    flags = [flag for i in range(0, 60, 5) for flag in world.put(ns, range(i, i + 5))]
    stats = store.stats()
    assert 0 < sum(flags) < 15, "an hour's worth of the budget is ten pages"
    assert stats.refused_pages == len(flags) - sum(flags)
