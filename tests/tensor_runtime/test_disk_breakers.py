"""Several disks: one whose reads fail is left alone by itself, tried by itself, and trusted again; the others' pages go on."""

from __future__ import annotations

import pytest

from lsmkv.testing import FailOp
from lsmkv_tensor import PageStore
from lsmkv_tensor.runtime.breaker import FIRST_BACKOFF_S, MAX_BACKOFF_S
from tests.tensor_runtime.conftest import SIZE

PATHS = ["/store", "/disk-b", "/disk-c"]
PER_SEGMENT = 13
B = FailOp("read", path="/disk-b/*")


@pytest.fixture
def several(faulty):
    """A store on three disks, and which pages lie on the second."""
    faulty.segments = 8
    options = faulty.options(breaker_failures=3)
    faulty.store = PageStore.open(PATHS, options=options)
    ns = faulty.store.namespace({"m": 1, "page_tokens": 1}, SIZE)
    for i in range(5):
        faulty.put(ns, range(i * PER_SEGMENT, (i + 1) * PER_SEGMENT))
    faulty.store.sync()
    everything = set(range(5 * PER_SEGMENT))
    assert faulty.check(ns, everything) == everything
    rule = faulty.fs.add(B)
    there = faulty.check(ns, everything)
    faulty.fs.remove(rule)
    faulty.check(ns, everything)  # one good call, and the failure is forgotten
    assert PER_SEGMENT <= len(there) < len(everything)
    return faulty, ns, there, everything - there


def test_the_pages_of_the_other_disks_go_on(several):
    world, ns, there, away = several
    rule = world.fs.add(B)
    for _ in range(3):
        assert world.store.stats().disks_left_alone == 0
        assert world.check(ns, there | away) == there
    assert world.store.stats().disks_left_alone == 1
    asked, errors = world.fs.hits(rule), world.store.stats().read_errors
    for _ in range(10):
        assert world.check(ns, there | away) == there
        assert world.put(ns, [1000]) == [True]
    assert (world.fs.hits(rule), world.store.stats().read_errors) == (asked, errors)
    health = world.store.health()
    assert health.state == "degraded"
    assert health.trips == 0
    assert "/disk-b" in health.reasons[0]
    assert ns.contains(world.keys(away)).all()


def test_it_is_tried_after_the_back_off_and_trusted_again(several):
    world, ns, there, away = several
    world.fs.add(B)
    for _ in range(3):
        world.check(ns, away)
    world.store.step()
    world.clock.advance(FIRST_BACKOFF_S)
    while world.store.step():
        pass
    assert world.check(ns, there | away) == there  # it was tried, and still fails
    world.fs.clear()
    assert world.check(ns, away) == set()
    world.clock.advance(MAX_BACKOFF_S)
    while world.store.step():
        pass
    assert world.store.health().state == "ok"
    assert world.store.stats().disks_left_alone == 0
    rule = world.fs.add(B)
    assert world.check(ns, away) == set()
    assert world.store.stats().disks_left_alone == 1  # after a recovery one failure is enough
    world.fs.remove(rule)
    world.clock.advance(MAX_BACKOFF_S)
    while world.store.step():
        pass
    assert world.check(ns, there | away) == there | away


def test_reads_with_a_deadline_and_in_the_background_keep_the_same_account(several):
    world, ns, there, away = several
    world.fs.add(B)
    out = [bytearray(SIZE) for _ in away]
    for _ in range(5):
        assert not any(ns.get_into(world.keys(away), out, deadline_s=100.0))
    assert world.store.stats().disks_left_alone == 1
    assert world.check(ns, there) == there


def test_what_is_lost_to_it_is_lost_to_the_breaker(several):
    world, ns, there, away = several
    world.fs.add(B)
    lost = world.store.stats().waterfall["get"].lost_tokens
    for _ in range(3):
        world.check(ns, there | away)
    now = world.store.stats().waterfall["get"].lost_tokens
    assert now["corrupt"] - lost["corrupt"] == 3 * len(away)
    world.check(ns, there | away)
    assert world.store.stats().waterfall["get"].lost_tokens["breaker"] == len(away)


def test_all_of_them_may_fail(several):
    world, ns, there, away = several
    world.fs.add(FailOp("read", path="*.seg"))
    for _ in range(5):
        assert world.check(ns, there | away) == set()
    assert world.store.stats().disks_left_alone >= 2
    assert world.store.health().state == "degraded"
    world.fs.clear()
    world.clock.advance(MAX_BACKOFF_S)
    while world.store.step():
        pass
    assert world.check(ns, there | away) == there | away


def test_without_a_breaker_each_read_goes_to_the_disk(faulty):
    faulty.segments = 8
    faulty.store = PageStore.open(PATHS, options=faulty.options(breaker_failures=0))
    ns = faulty.store.namespace({"m": 1}, SIZE)
    for i in range(5):
        faulty.put(ns, range(i * PER_SEGMENT, (i + 1) * PER_SEGMENT))
    rule = faulty.fs.add(B)
    for _ in range(10):
        faulty.check(ns, range(5 * PER_SEGMENT))
    assert faulty.fs.hits(rule) >= 10
    faulty.fs.remove(rule)
    assert faulty.check(ns, range(5 * PER_SEGMENT)) == set(range(5 * PER_SEGMENT))
