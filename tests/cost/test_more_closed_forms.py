"""The forms for present keys, scans, bushes, K-LSM trees and value logs: against counting, and against each other."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv import cost
from lsmkv.cost import closed_forms as forms
from lsmkv.cost import gc
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import Fluid

levels = st.lists(st.tuples(st.floats(1e2, 1e7), st.integers(1, 9)), min_size=2, max_size=6)


@given(levels, st.floats(0, 1), st.floats(0.5, 16))
def test_minding_lookups_that_find_their_key_never_wastes_more(tree, zero, bits) -> None:
    entries, runs = [n for n, _ in tree], [r for _, r in tree]
    budget = bits * sum(entries)
    minding = forms.wasted_blocks(entries, runs, forms.mixed_fprs(entries, runs, budget, zero), zero)
    alike = forms.wasted_blocks(entries, runs, cost.monkey_fprs(entries, runs, budget), zero)
    uniform = forms.wasted_blocks(entries, runs, [cost.uniform_fpr(sum(entries), budget)] * len(runs), zero)
    assert minding <= alike + 1e-9
    assert minding <= uniform + 1e-9


def test_with_absent_keys_only_it_is_monkeys_allocation() -> None:
    entries, runs = [1e3, 1e4, 1e5], [3, 3, 1]
    assert forms.mixed_fprs(entries, runs, 1e6, 1) == cost.monkey_fprs(entries, runs, 1e6)


@given(levels, st.floats(0, 1))
def test_how_often_runs_are_asked_in_vain_is_what_enumerating_finds(tree, zero) -> None:
    """Every run, newest first, and every other one that may hold the key."""
    sizes = [(level, n / r) for level, (n, r) in enumerate(tree) for _ in range(r)]
    total = sum(n for _, n in sizes)
    vain = [0.0] * len(tree)
    for at, (level, _) in enumerate(sizes):
        vain[level] += zero + (1 - zero) * sum(n for _, n in sizes[at + 1 :]) / total
    means = [asked / runs for asked, (_, runs) in zip(vain, tree, strict=True)]
    assert forms.asked_shares([n for n, _ in tree], [r for _, r in tree], zero) == pytest.approx(means, abs=1e-9)


def test_what_is_never_asked_in_vain_gets_no_bits() -> None:
    assert forms.mixed_fprs([1e3, 1e4], [1, 1], 1e5, 0)[-1] == 1.0
    assert forms.mixed_fprs([1e3], [1], 1e5, 0) == [1.0]


@pytest.mark.parametrize(("K", "Z"), [(1, 1), (2, 1), (4, 1), (4, 4)])
def test_the_k_lsm_model_meets_the_exact_one_on_full_trees(K, Z) -> None:
    policy = Fluid(5, K=K, Z=Z)
    shape = cost.ideal_shape(
        policy, (5**5 - 1) * 400, flush_entries=400, level0_runs=0, filter_allocation="monkey", filter_bits_per_key=10
    )
    exact = cost.predict(cost.Workload(scan_entries=1), shape, cost.System(policy))
    form = forms.k_lsm_cost(10, 5, [K] * 4 + [Z], 32)
    assert form.scan == pytest.approx(exact.scan_blocks, rel=0.01)
    assert form.lookup == pytest.approx(exact.lookup_blocks, rel=0.02)
    if K == 1:  # for more runs it keeps the rates of one: right within K^(1/T)
        assert form.zero_lookup == pytest.approx(exact.zero_lookup_blocks, rel=0.02)
    copies = cost.inner_copies(5, K) * 4 + cost.inner_copies(5, Z)
    assert form.update * 16 == pytest.approx(copies * 5 / 4, rel=0.15)  # its trigger counts the T-th arrival, too


@given(st.integers(3, 20), st.floats(0.1, 1e4), st.floats(1, 500))
def test_no_other_number_of_runs_suits_scans_and_updates_better(ratio, updates, block) -> None:
    best = forms.best_runs_for_seeks(ratio, updates, block)
    least = forms.seek_update_blocks(ratio, best, updates, block)
    for K in range(1, ratio):
        assert forms.seek_update_blocks(ratio, K, updates, block) >= least * (1 - 1e-12)


@given(st.integers(1, 4), st.sampled_from([2, 3, 4]), st.sampled_from([1, 1.5, 2]), st.floats(0.5, 4), st.floats(0.001, 0.2))
def test_a_bush_spends_its_false_positives_as_water_filling_does(count, ratio, X, C, p) -> None:
    runs = forms.bush_runs(count, ratio, X)
    rates = forms.bush_fprs(count, p, ratio, X, C)
    assert sum(r * f for r, f in zip(runs, rates, strict=True)) == pytest.approx(p)
    entries, size = [], 1
    for r in runs[:-1]:
        entries.append(r * size)
        size *= r + 1
    entries.append(C * sum(entries) if entries else 1)
    bits = forms.bush_zero_lookup_bits(count, p, ratio, X, C) * sum(entries)
    assert cost.monkey_fprs(entries, runs, bits) == pytest.approx(rates)


def test_the_published_schedule() -> None:
    assert forms.bush_runs(4, size_ratio=4, X=2) == [255, 15, 3, 1]
    assert forms.bush_fprs(4, 0.10)[-1] == pytest.approx(0.05)
    assert forms.bush_runs(1) == [1]
    with pytest.raises(InvalidArgumentError, match="levels: 7 with T=4, X=2 give level 1 over a million runs"):
        forms.bush_runs(7)
    with pytest.raises(InvalidArgumentError, match="zero_lookup must be at most"):
        forms.bush_fprs(2, 50.0)


def collected(alpha: float, pages: int = 3_000, segment: int = 50, rounds: int = 30) -> float:
    """The mean live share of segments that are reclaimed, oldest first, under uniform overwrites; counted."""
    rng = random.Random(1)
    room = round(pages / alpha / segment)
    log: deque[list[int]] = deque()
    where: dict[int, int] = {}
    serial = taken = live = 0
    first = 0
    filling: list[int] = []

    def write(page: int) -> None:
        nonlocal serial, filling
        where[page] = serial
        filling.append(page)
        if len(filling) == segment:
            log.append(filling)
            filling, serial = [], serial + 1

    for page in range(pages):
        write(page)
    for step in range(rounds * pages):
        while len(log) >= room:
            oldest, number = log.popleft(), first
            first += 1
            kept = [page for page in oldest if where[page] == number]
            if step > rounds * pages // 2:
                taken, live = taken + 1, live + len(kept)
            for page in dict.fromkeys(kept):
                write(page)
        write(rng.randrange(pages))
    return live / taken / segment


@pytest.mark.parametrize("alpha", [0.6, 0.85])
def test_the_oldest_segment_is_as_live_as_the_form_says(alpha) -> None:
    assert gc.live_share(alpha) == pytest.approx(collected(alpha), abs=0.03)


@given(st.floats(0.05, 0.99))
def test_how_full_and_how_live_are_inverse(alpha) -> None:
    u = gc.live_share(alpha)
    assert 0 < u < alpha
    assert gc.fill_for(u) == pytest.approx(alpha, rel=1e-6)


def test_what_makes_no_log_is_refused_by_name() -> None:
    for bad in (0, 1, -1, 1.5):
        with pytest.raises(InvalidArgumentError, match="alpha"):
            gc.live_share(bad)
    with pytest.raises(InvalidArgumentError, match="threshold"):
        gc.space_bound(0)
    with pytest.raises(InvalidArgumentError, match="u must be"):
        gc.write_amplification(1)
    with pytest.raises(InvalidArgumentError, match="page_bytes"):
        gc.joint_bytes_per_put(0, 0.5, 100, 1)
    with pytest.raises(InvalidArgumentError, match=r"runs\[1\]"):
        forms.k_lsm_cost(10, 4, [1, 4], 32)
    with pytest.raises(InvalidArgumentError, match="mix must sum to 1"):
        forms.throughput([0.5, 0.4], [1, 1], 0.1)


def test_whole_segments_read_cost_what_was_written() -> None:
    few, whole = (gc.joint_bytes_per_put(4096, 0.25, 0, 0, reads_whole_segments=w) for w in (False, True))
    assert whole.gc_read - few.gc_read == 4096
    assert few.total == few.log_write + few.gc_read
