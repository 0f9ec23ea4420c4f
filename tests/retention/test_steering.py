"""The controller of admission: no decision without evidence, none back and forth, and worth what the better setting is worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv_tensor import StoreController
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.retention.admission import AdmitAll, SecondSight
from lsmkv_tensor.retention.evictions import Lru
from lsmkv_tensor.retention.shadows import MINIATURE_PAGES, Miniature, Miniatures
from lsmkv_tensor.retention.steering import Done, Steered, Steering, steered_admission
from lsmkv_tensor.retention.steering_decide import Books, Decision, decide
from lsmkv_tensor.retention.steering_settings import Tried
from lsmkv_tensor.trace import Trace, replay
from lsmkv_tensor.trace.blocks import BlockCache, prints_of
from tests.retention.strategies import trace_of

PAGES = st.floats(0, 1e9)
TRIED = st.builds(Tried, PAGES, PAGES)
CAPACITY = 200


def ran(windows: list[tuple[float, dict[str, Tried]]], start: str = "all", patience: float = 1e6) -> list[Decision]:
    """The decisions over these windows."""
    books, found = Books(start), []
    for asked, tried in windows:
        books, decision = decide(books, asked, tried, 8.0, patience)
        assert books.ahead_bytes >= 0
        found += [decision] if decision is not None else []
    return found


@given(TRIED, TRIED, st.sampled_from(["all", "second"]))
def test_a_stationary_stream_changes_the_setting_once_at_most_and_to_the_better_one(everything, second, start):
    decisions = ran([(1e9, {"all": everything, "second": second})] * 60, start)
    assert len(decisions) <= 1
    for one in decisions:
        better = "all" if everything.value(8.0) > second.value(8.0) else "second"
        assert one.after == better != start
        assert one.ahead_bytes >= 1e6
        assert one.saves > 0


@given(st.lists(st.tuples(TRIED, TRIED), max_size=30))
def test_two_changes_are_never_nearer_than_the_evidence_for_the_second(windows):
    books = Books("all")
    since = 0.0
    for everything, second in windows:
        tried = {"all": everything, "second": second}
        other = "second" if books.setting == "all" else "all"
        since += max(tried[other].value(8.0) - tried[books.setting].value(8.0), 0.0)
        books, decision = decide(books, 1e9, tried, 8.0, 1e9)
        if decision is not None:
            assert since >= 1e9
            since = 0.0


def test_nothing_asked_or_all_the_same_decides_nothing():
    same = Tried(5e8, 5e8)
    assert not ran([(1e9, {"all": same, "second": same})] * 100, patience=1.0)
    assert not ran([(0.0, {"all": Tried(), "second": Tried()})] * 100, patience=1.0)
    slightly = Tried(5e8, 4.9e8)
    assert not ran([(1e9, {"all": same, "second": slightly})] * 1000), "within the slack"


def test_chance_around_equal_settings_is_no_reason():
    rng = np.random.default_rng(3)
    windows = [
        (1e6, {"all": Tried(1e5 + rng.normal() * 5e3, 8e5), "second": Tried(1e5 + rng.normal() * 5e3, 8e5)}) for _ in range(2000)
    ]
    assert not ran(windows, patience=4e6)


def test_a_miniature_hits_what_a_cache_of_blocks_hits():
    rng = np.random.default_rng(1)
    trace = trace_of([list(dict.fromkeys((rng.zipf(1.2, 6) % 500).tolist())) for _ in range(400)])
    for make in (AdmitAll, SecondSight):
        cache = BlockCache(80, trace.unique_blocks, Lru(80), make(80))
        small = Miniature(80, Lru(80), make(80))
        resident_hits = 0
        for request in trace.requests:
            here = cache._slot_of[request.blocks] >= 0
            resident_hits += int(here.sum())
            cache.serve(request)
            blocks = request.blocks[::-1]
            small.use(prints_of(blocks), np.ones(len(blocks), np.int64))
        assert small.delivered_bytes == resident_hits
        assert small.written_bytes == cache.counts.written


def test_a_sample_predicts_the_whole():
    rng = np.random.default_rng(2)
    pages = 8 * MINIATURE_PAGES
    makers = {"all": AdmitAll, "second": SecondSight}
    sampled = Miniatures(pages, 1, Lru, makers)
    assert sampled.sampled == 1 / 8
    whole = {name: Miniature(pages, Lru(pages), make(pages)) for name, make in makers.items()}
    asked = 0
    for _ in range(1500):
        blocks = np.unique((rng.pareto(0.7, 40) * 2000).astype(np.int64) % 400_000)
        prints, sizes = prints_of(blocks), np.ones(len(blocks), np.int64)
        asked += len(blocks)
        sampled.use(prints, sizes)
        for one in whole.values():
            one.use(prints, sizes)
    estimated, tried = sampled.take()
    assert estimated == pytest.approx(asked, rel=0.25)
    for name, one in whole.items():
        assert tried[name].written_bytes / estimated == pytest.approx(one.written_bytes / asked, abs=0.05)
        assert tried[name].delivered_bytes / estimated == pytest.approx(one.delivered_bytes / asked, abs=0.05)


def phases() -> Trace:
    """Prompts of which few come back, then a set a little smaller than the store that comes back and drifts, then as before."""
    rng = np.random.default_rng(7)
    requests: list[list[int]] = []
    fresh = 1_000_000

    def scan(count: int) -> None:
        nonlocal fresh
        for _ in range(count):
            hot = rng.integers(0, 12) * 10
            fresh += 10
            requests.append(list(range(hot, hot + 10)) if rng.random() < 0.2 else list(range(fresh, fresh + 10)))

    def reuse(count: int) -> None:
        nonlocal fresh
        live: list[int] = []
        for _ in range(count):
            if len(live) < 12 or rng.random() < 0.4:
                fresh += 10
                live = [*live[-11:], fresh]
            start = live[int(rng.integers(len(live)))]
            requests.append(list(range(start, start + 10)))

    scan(250)
    reuse(300)
    scan(250)
    numbers: dict[int, int] = {}
    return trace_of([[numbers.setdefault(one, len(numbers)) for one in request] for request in requests])


def test_when_the_load_changes_admission_does_and_back_and_it_is_worth_what_the_better_setting_is():
    trace = phases()
    settings = StoreController()
    everything, second = replay(trace, capacity=CAPACITY, admission=("all", "second"))
    cache = BlockCache(CAPACITY, trace.unique_blocks, Lru(CAPACITY), policy := Steered(CAPACITY))
    steering = cache.steering = Steering(settings, "all", CAPACITY, Lru)
    steering.serve(policy, cache.done)
    seen = [steering.stats().admission for _ in cache.replay(trace)]
    assert [seen[at] for at in (249, 549, 799)] == ["second", "all", "second"]
    assert steering.stats().decisions == 3
    (row,) = replay(trace, capacity=CAPACITY, controller=settings)
    value = {
        name: settings.hit_worth * r.hits - r.written for name, r in {"all": everything, "second": second, "on": row}.items()
    }
    assert value["on"] >= 0.97 * max(value["all"], value["second"]), value
    assert row.admission == "all, steered"


@pytest.mark.parametrize("admission", ["all", "adaptive"])
def test_advice_changes_nothing(admission):
    trace = phases()
    plain, advised = (
        replay(trace, capacity=CAPACITY, admission=admission, controller=controller)[0]
        for controller in (None, StoreController(mode="advise"))
    )
    assert plain == advised


def test_a_store_that_was_never_full_is_left_alone():
    trace = trace_of([list(range(at, at + 5)) for at in range(0, 3000, 5)])
    cache = BlockCache(5000, trace.unique_blocks, Lru(5000), policy := Steered(5000))
    steering = cache.steering = Steering(StoreController(patience=0.01, window=0.01), "all", 5000, Lru)
    steering.serve(policy, cache.done)
    for _ in cache.replay(trace):
        pass
    told = steering.stats()
    assert told.windows > 50
    assert (told.decisions, told.admission) == (0, "all")
    assert "not been full" in told.idle


def test_policies_of_others_are_not_steered():
    steering = Steering(StoreController(), "mine:Own", 100, Lru)
    steering.serve(AdmitAll(100), lambda: Done(0, 0, 0))
    steering.note(prints_of(np.arange(50)), np.full(50, 10))
    assert steering.stats().windows == 0
    assert "mine:Own" in steering.stats().idle
    assert isinstance(steered_admission("all", StoreController(mode="advise"))(100, None), AdmitAll)
    made = steered_admission("second", StoreController())(100, None)
    assert isinstance(made, Steered)
    assert made.choosy


@pytest.mark.parametrize(
    "wrong", [{"mode": "maybe"}, {"hit_worth": 0}, {"hit_worth": float("inf")}, {"window": 2}, {"window": True}, {"patience": -1}]
)
def test_settings_that_cannot_work_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(InvalidArgumentError, match=f"StoreController.{name}"):
        StoreController(**wrong)
