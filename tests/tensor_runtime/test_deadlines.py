"""A call with a deadline is back on time when a read hangs, and what arrives later leaves the caller's memory alone."""

from __future__ import annotations

import math
import os
import threading

import numpy as np
import pytest
import torch

from lsmkv.testing import FailOp, Hang
from lsmkv_tensor import PageFormat, TensorStore
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.runtime.attempts import MAX_LEFT
from lsmkv_tensor.vlog import hurried
from tests.tensor_runtime.conftest import SIZE, Call

CANARY = 0xA5


def hang(world, path="*.seg", op="preadv", **when):
    return world.fs.add(Hang(op, path=path, **when))


def overdue(world, rule, call, seconds=10.0):
    """What a call returns whose deadline passes while the rule holds its read."""
    assert rule.reached.wait(60)
    world.clock.advance(seconds)
    return call.result()


def index_reads(world, call):
    """How often a call reads tables of the index."""
    rule = hang(world, path="*.sst", op="pread")
    rule.event.set()
    call()
    reads = world.fs.hits(rule)
    world.fs.remove(rule)
    assert reads
    return reads


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(hurried, "PART_BYTES", 2 * SIZE)


def test_pages_read_by_a_deadline_are_the_pages(faulty, small_parts):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(9))
    out = np.zeros((11, SIZE), np.uint8)
    assert ns.get_into(faulty.keys(range(11)), out, deadline_s=5) == [True] * 9 + [False] * 2
    assert [bytes(page) for page in out[:9]] == faulty.pages(range(9), SIZE)
    stats = faulty.store.stats()
    assert (stats.hits, stats.misses, stats.late_pages, stats.hanging_reads) == (9, 2, 0, 0)
    assert stats.read_bytes == 9 * SIZE


def test_a_deadline_scatters_into_spans(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(3))
    parts = [[bytearray(1), bytearray(0), bytearray(SIZE - 1)] for _ in range(3)]
    assert ns.get_into(faulty.keys(range(3)), parts, deadline_s=5) == [True] * 3
    assert [b"".join(page) for page in parts] == faulty.pages(range(3), SIZE)


def test_a_hanging_read_costs_its_part_and_what_follows(faulty, small_parts):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(8))
    rule = hang(faulty, nth=3)
    out = np.full((8, SIZE), CANARY, np.uint8)
    call = Call(lambda: ns.get_into(faulty.keys(range(8)), out, deadline_s=9))
    assert overdue(faulty, rule, call) == [True] * 4 + [False] * 4
    assert [bytes(page) for page in out[:4]] == faulty.pages(range(4), SIZE)
    stats = faulty.store.stats()
    assert (stats.hits, stats.misses, stats.late_pages, stats.hanging_reads) == (4, 4, 4, 1)
    rule.event.set()


def test_late_completion_leaves_the_callers_memory_unchanged(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(4))
    rule = hang(faulty)
    out = np.full((4, SIZE), CANARY, np.uint8)
    call = Call(lambda: ns.get_into(faulty.keys(range(4)), out, deadline_s=9))
    assert overdue(faulty, rule, call) == [False] * 4
    rule.event.set()
    assert faulty.store._services.attempts.stop(60) == 0  # the late read has ended now
    assert (out == CANARY).all()
    assert faulty.store._services.staging.lent_bytes == 0


def test_memory_of_a_hanging_read_is_lent_to_nobody_else(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(4))
    rule = hang(faulty, times=1)
    out = np.full((4, SIZE), CANARY, np.uint8)
    call = Call(lambda: ns.get_into(faulty.keys(range(4)), out, deadline_s=9))
    overdue(faulty, rule, call)
    held = faulty.store._services.staging.lent_bytes
    assert held
    for _ in range(3):
        assert ns.get_into(faulty.keys(range(4)), out, deadline_s=1000) == [True] * 4
    assert faulty.store._services.staging.lent_bytes == held
    rule.event.set()


def test_without_a_deadline_pages_land_in_the_callers_memory_and_no_thread_starts(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(4))
    assert faulty.check(ns, range(4)) == {0, 1, 2, 3}
    services = faulty.store._services
    assert services.staging.kept_bytes == 0
    assert services.attempts._threads == 0


def test_the_store_has_a_deadline_for_calls_that_name_none(faulty):
    ns = faulty.open(io_timeout_s=3.0).namespace({"m": 1}, SIZE)
    faulty.put(ns, range(4))
    rule = hang(faulty)
    out = np.full((4, SIZE), CANARY, np.uint8)
    assert overdue(faulty, rule, Call(lambda: ns.get_into(faulty.keys(range(4)), out)), 3.5) == [False] * 4
    rule.event.set()


def test_an_index_that_hangs_is_left_too(faulty):
    ns = faulty.open(io_timeout_s=3.0).namespace({"m": 1}, SIZE)
    faulty.put(ns, range(4))
    ns = faulty.reopen(io_timeout_s=3.0, block_cache_bytes=0).namespace({"m": 1}, SIZE)
    rule = hang(faulty, path="*.sst", op="pread")
    assert overdue(faulty, rule, Call(lambda: ns.contains_prefix(faulty.keys(range(4)))), 3.5) == 0
    rule.event.set()
    faulty.fs.clear()
    assert ns.contains_prefix(faulty.keys(range(5))) == 4


@pytest.mark.parametrize("call", ["contains", "offer"])
def test_an_index_that_hangs_keeps_nobody_who_asks_or_puts_into_the_queue(faulty, call):
    """Only prefixes were asked for in time."""
    settings = {"io_timeout_s": 3.0, "put_queue_bytes": 1 << 20}
    ns = faulty.open(**settings).namespace({"m": 1}, SIZE)
    ns.put_many(faulty.keys(range(4)), faulty.pages(range(4), SIZE), wait=True)
    ns = faulty.reopen(**settings, block_cache_bytes=0).namespace({"m": 1}, SIZE)
    rule = hang(faulty, path="*.sst", op="pread")
    asks = {
        "contains": lambda: ns.contains(faulty.keys(range(4))),
        "offer": lambda: ns.offer(faulty.keys(range(4)), faulty.pages(range(4), SIZE), told=lambda *_: None).flags,
    }
    assert list(overdue(faulty, rule, Call(asks[call]), 3.5)) == [False] * 4
    rule.event.set()
    faulty.fs.clear()
    assert ns.contains(faulty.keys(range(5))).tolist() == [True] * 4 + [False]


def test_a_small_put_into_the_queue_asks_nobody(faulty):
    """What is there already its writer finds out; a call that asked took longer than the copy, beside a busy writer."""
    settings = {"io_timeout_s": 3.0, "put_queue_bytes": 1 << 20}
    ns = faulty.open(**settings).namespace({"m": 1}, SIZE)
    ns.put_many(faulty.keys(range(4)), faulty.pages(range(4), SIZE), wait=True)
    ns = faulty.reopen(**settings, block_cache_bytes=0).namespace({"m": 1}, SIZE)
    rule = hang(faulty, path="*.sst", op="pread")
    assert ns.put_many(faulty.keys(range(6)), faulty.pages(range(6), SIZE)) == [True] * 6
    rule.event.set()
    faulty.fs.clear()
    faulty.store.sync()
    stats = faulty.store.stats()
    assert (stats.put_pages, stats.present_pages, stats.queue_accepted_pages) == (2, 4, 6)


def test_an_index_that_hangs_keeps_no_put_batch_that_goes_into_the_queue(faulty):
    """It asked without a deadline which pages are there."""
    fmt = PageFormat(page_tokens=2, shape=(SIZE,), dtype=torch.int8)
    options = faulty.options(io_timeout_s=3.0, put_queue_bytes=1 << 20, block_cache_bytes=0)
    tokens, pages = list(range(8)), torch.zeros((4, SIZE), dtype=torch.int8)
    with TensorStore.open("/t", fmt, namespace="m", options=options) as store:
        assert store.put_batch(tokens, pages, wait=True) == 4
    with TensorStore.open("/t", fmt, namespace="m", options=options) as store:
        rule = hang(faulty, path="*.sst", op="pread")
        assert overdue(faulty, rule, Call(lambda: store.put_batch(tokens, pages)), 3.5) == 0
        rule.event.set()
        faulty.fs.clear()
        assert store.probe(tokens) == 8


def test_the_account_of_a_probe_keeps_its_deadline_too(faulty):
    """Which pages lie behind a missing one was asked without a deadline."""
    settings = {"io_timeout_s": 3.0, "block_cache_bytes": 0, "known_pages": 0}
    ns = faulty.open(**settings).namespace({"m": 1}, SIZE)
    faulty.put(ns, range(6))
    ns = faulty.reopen(**settings).namespace({"m": 1}, SIZE)
    ns.delete_many(faulty.keys([2]))
    assert ns.contains_prefix(faulty.keys(range(2))) == 2
    reads = index_reads(faulty, lambda: ns.contains_prefix(faulty.keys(range(3))))
    rule = hang(faulty, path="*.sst", op="pread", nth=reads + 1)
    assert overdue(faulty, rule, Call(lambda: ns.contains_prefix(faulty.keys(range(6)))), 3.5) == 2
    assert faulty.store.stats().waterfall["ask"].lost_tokens["late"] == 3
    rule.event.set()


def test_the_account_of_a_read_that_failed_keeps_its_deadline_too(faulty):
    settings = {"io_timeout_s": 3.0, "block_cache_bytes": 0}
    ns = faulty.open(**settings).namespace({"m": 1}, SIZE)
    faulty.put(ns, range(3))
    ns = faulty.reopen(**settings).namespace({"m": 1}, SIZE)
    faulty.fs.add(FailOp("preadv", path="*.seg"))
    out = np.zeros((3, SIZE), np.uint8)
    reads = index_reads(faulty, lambda: ns.get_into(faulty.keys(range(3)), out))
    rule = hang(faulty, path="*.sst", op="pread", nth=reads)
    assert overdue(faulty, rule, Call(lambda: ns.get_into(faulty.keys(range(3)), out)), 3.5) == [False] * 3
    rule.event.set()
    assert faulty.store.stats().waterfall["get"].lost_tokens["corrupt"] == 6


def test_hanging_reads_are_bounded(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(2))
    out = np.zeros((2, SIZE), np.uint8)
    rules = []
    for _ in range(MAX_LEFT):
        faulty.fs.clear()
        rules.append(hang(faulty, times=1))
        overdue(faulty, rules[-1], Call(lambda: ns.get_into(faulty.keys(range(2)), out, deadline_s=9)))
    assert faulty.store.stats().hanging_reads == MAX_LEFT
    faulty.fs.clear()
    assert ns.get_into(faulty.keys(range(2)), out, deadline_s=math.nextafter(0, 1)) == [False] * 2
    assert ns.get_into(faulty.keys(range(2)), out, deadline_s=9e9) == [False] * 2  # not begun, although the disk is well again
    assert ns.get_into(faulty.keys(range(2)), out) == [True] * 2
    for rule in rules:
        rule.event.set()
    assert faulty.store._services.attempts.stop(60) == 0
    assert faulty.store.stats().hanging_reads == 0


def test_an_error_of_a_read_is_raised_in_time(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    with pytest.raises(InvalidArgumentError, match="buffers"):
        ns.get_into(faulty.keys(range(2)), None, deadline_s=5)

    def fail():
        raise ZeroDivisionError

    attempts = faulty.store._services.attempts
    with pytest.raises(ZeroDivisionError):
        attempts.one(fail, attempts.until(5))
    assert attempts.one(lambda: 7, attempts.until(5)) == 7


def test_no_time_at_all_delivers_nothing_and_changes_nothing(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(2))
    rule = hang(faulty)
    out = np.full((2, SIZE), CANARY, np.uint8)
    assert ns.get_into(faulty.keys(range(2)), out, deadline_s=0) == [False] * 2
    rule.event.set()
    assert (out == CANARY).all()
    assert ns.get_into([], [], deadline_s=0) == []


@pytest.mark.parametrize("deadline", [-1, math.inf, math.nan, "1", True])
def test_what_is_no_deadline_is_refused(faulty, deadline):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    with pytest.raises(InvalidArgumentError, match="deadline_s"):
        ns.get_into([], [], deadline_s=deadline)


@pytest.mark.parametrize("field", ["io_timeout_s", "prefill_tokens_per_s"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "1", True])
def test_options_that_are_no_numbers_are_refused(field, value):
    with pytest.raises(InvalidArgumentError, match=field):
        StoreOptions(**{field: value})


def test_close_leaves_a_read_that_hangs_and_ends_every_other_thread(faulty):
    store = faulty.open()
    ns = store.namespace({"m": 1}, SIZE)
    faulty.put(ns, range(4))
    rule = hang(faulty, times=1)
    out = np.full((4, SIZE), CANARY, np.uint8)
    overdue(faulty, rule, Call(lambda: ns.get_into(faulty.keys(range(4)), out, deadline_s=9)))
    assert ns.get_into(faulty.keys(range(4)), out, deadline_s=900) == [True] * 4
    out[:] = CANARY
    store.close()
    assert store._services.attempts._threads == 1
    rule.event.set()
    assert store._services.attempts.stop(60) == 0
    assert (out == CANARY).all()
    assert faulty.check(faulty.open().namespace({"m": 1}, SIZE), range(4)) == {0, 1, 2, 3}


def test_a_forked_child_can_use_a_store_of_its_own(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(4))
    out = np.zeros((4, SIZE), np.uint8)
    assert ns.get_into(faulty.keys(range(4)), out, deadline_s=900) == [True] * 4
    child = os.fork()
    if not child:
        attempts = faulty.store._services.attempts
        os._exit(0 if attempts._threads == 0 and attempts.one(lambda: 1, attempts.until(1)) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ns.get_into(faulty.keys(range(4)), out, deadline_s=900) == [True] * 4


def test_a_tensor_store_delivers_the_prefix_that_came_in_time(faulty, monkeypatch):
    fmt = PageFormat(page_tokens=2, shape=(SIZE,), dtype=torch.int8)
    monkeypatch.setattr(hurried, "PART_BYTES", 3 * SIZE)
    with TensorStore.open("/t", fmt, namespace="m", options=faulty.options()) as store:
        tokens = list(range(20))
        pages = torch.arange(10, dtype=torch.int8).repeat_interleave(SIZE).view(10, SIZE)
        assert store.put_batch(tokens, pages) == 10
        assert torch.equal(torch.stack(store.get_batch(tokens, deadline_s=5)), pages)
        rule = hang(faulty, nth=3)
        out = torch.full((10, SIZE), 77, dtype=torch.int8)
        got = overdue(faulty, rule, Call(lambda: store.get_batch(tokens, out=out, deadline_s=9)))
        assert len(got) == 6
        assert torch.equal(torch.stack(got), pages[:6])
        rule.event.set()
        faulty.fs.clear()
        rule = hang(faulty)
        buffers = [bytearray(SIZE) for _ in range(10)]
        assert overdue(faulty, rule, Call(lambda: store.get_into(tokens, buffers, deadline_s=9))) == 0
        rule.event.set()
        assert (out[6:] == 77).all()
        assert buffers == [bytearray(SIZE)] * 10


def test_a_machine_without_further_threads_is_late_and_goes_on(faulty):
    ns = faulty.open().namespace({"m": 1}, SIZE)
    faulty.put(ns, range(2))
    out = np.full((2, SIZE), CANARY, np.uint8)
    ordinary = threading.stack_size(1 << 46)  # no machine gives a thread that much
    try:
        assert ns.get_into(faulty.keys(range(2)), out, deadline_s=5) == [False] * 2
    finally:
        threading.stack_size(ordinary)
    assert (out == CANARY).all()
    assert ns.get_into(faulty.keys(range(2)), out, deadline_s=5) == [True] * 2
    faulty.store.close()
