"""A plan compares what loading took so far with what computing takes, and says which is faster."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import ManualClock, MemoryFileSystem
from lsmkv_tensor import PageFormat, StoreOptions, TensorStore
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.runtime.estimate import FIRST_BYTES_PER_S, FIRST_LATENCY_S, LoadEstimate

FMT = PageFormat(page_tokens=4, shape=(1000,), dtype=torch.int8)
TOKENS = list(range(40))


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(clock):
    fs = MemoryFileSystem()
    options = StoreOptions(
        capacity_bytes=16 << 20, segment_bytes=256 << 10, fs=fs, clock=clock, rng=seeded(1), scheduler=ManualScheduler(),
        prefill_tokens_per_s=20.0,
    )  # fmt: skip
    with TensorStore.open("/s", FMT, namespace="m", options=options) as store:
        store.put_batch(TOKENS, torch.zeros(10, 1000, dtype=torch.int8))
        fs.on_op = lambda op, path: clock.advance(0.25) if op == "preadv" and path.endswith(".seg") else None
        yield store
        fs.on_op = None


def test_before_the_first_load_a_middling_disk_is_assumed(store):
    plan = store.plan(TOKENS)
    assert (plan.pages, plan.tokens, plan.bytes, plan.loads) == (10, 40, 10_000, 0)
    assert plan.load_s == pytest.approx(FIRST_LATENCY_S + 10_000 / FIRST_BYTES_PER_S)
    assert plan.recompute_s == 2.0
    assert plan.wins == "load"


def test_loads_that_were_made_decide(store):
    for _ in range(3):
        store.get_batch(TOKENS)
    plan = store.plan(TOKENS)
    assert plan.loads == 3
    assert plan.load_s == pytest.approx(0.25)
    assert plan.wins == "load"
    assert store.plan(TOKENS, prefill_tokens_per_s=1000.0).wins == "recompute"


def test_nothing_stored_is_nothing_to_load(store):
    plan = store.plan([7, 7, 7, 7, 7])
    assert (plan.pages, plan.bytes, plan.load_s, plan.wins) == (0, 0, 0.0, None)


@pytest.mark.parametrize("speed", [0, -1.0, float("nan"), "fast", True])
def test_a_speed_that_is_none_is_refused(store, speed):
    with pytest.raises(InvalidArgumentError, match="prefill_tokens_per_s"):
        store.plan(TOKENS, prefill_tokens_per_s=speed)


def test_without_a_speed_nobody_wins(in_memory_plan):
    assert in_memory_plan.recompute_s is None
    assert in_memory_plan.wins is None


@pytest.fixture
def in_memory_plan(clock):
    options = StoreOptions(capacity_bytes=16 << 20, fs=MemoryFileSystem(), clock=clock, scheduler=ManualScheduler())
    with TensorStore.open("/s", FMT, namespace="m", options=options) as store:
        store.put_batch(TOKENS, torch.zeros(10, 1000, dtype=torch.int8))
        return store.plan(TOKENS)


@given(st.floats(0, 0.1), st.floats(1e-11, 1e-6), st.lists(st.integers(1, 1 << 26), min_size=2, max_size=60))
def test_a_steady_disk_is_learnt_exactly(latency, per_byte, sizes):
    estimate = LoadEstimate()
    for size in sizes:
        estimate.note(size, latency + size * per_byte)
    for size in (min(sizes), max(sizes)):
        if max(sizes) >= 2 * min(sizes):  # as good as one size tells no line
            assert estimate.seconds(size) == pytest.approx(latency + size * per_byte, rel=0.01, abs=1e-6)


@given(st.lists(st.tuples(st.integers(1, 1 << 30), st.floats(0, 100)), max_size=40))
def test_no_history_gives_a_negative_time(history):
    estimate = LoadEstimate()
    for size, seconds in history:
        estimate.note(size, seconds)
    latency, per_byte = estimate.line()
    assert latency >= 0
    assert per_byte >= 0


def test_a_disk_that_slowed_down_is_noticed():
    estimate = LoadEstimate()
    for _ in range(100):
        estimate.note(1 << 20, 0.001)
    for _ in range(200):
        estimate.note(1 << 20, 0.1)
    assert estimate.seconds(1 << 20) == pytest.approx(0.1, rel=0.05)
