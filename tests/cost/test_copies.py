"""What writing costs: the count is that of lsmkv's own policies, walked on paper flush by flush."""

from math import log

import pytest

from lsmkv import cost
from lsmkv.cost import closed_forms
from lsmkv.cost.copies import policy_geometry
from lsmkv.cost.walk import walk
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import FIFO, Fluid, LazyLeveling, Leveled, Tiered

GRID = [(T, K, Z, flushed) for T in (2, 3, 4, 6) for K in range(1, T) for Z in range(1, T) for flushed in (0, 2)]


@pytest.mark.parametrize(("T", "K", "Z", "level0_runs"), GRID)
def test_a_load_writes_exactly_what_is_counted(T, K, Z, level0_runs):
    policy, arrivals, flush = Fluid(size_ratio=T, K=K, Z=Z), T**3 + T + 3, 10
    walked = walk(policy, arrivals * (level0_runs + 1), flush, level0_runs=level0_runs)
    counted = cost.load_copies(policy.geometry, arrivals, level0_runs)
    assert list(walked.written) == [n * flush * (level0_runs + 1) for n in counted[: len(walked.written)]]
    assert sum(counted[len(walked.written) :]) == 0


@pytest.mark.parametrize("policy", [Leveled(4), Tiered(4), LazyLeveling(5), Fluid(6, K=2, Z=3), Fluid(5, K=(1, 4), Z=2)])
@pytest.mark.parametrize(("flushes", "level0_runs"), [(0, 0), (1, 0), (3, 4), (5, 4), (64, 0), (137, 0), (313, 2)])
def test_the_digits_of_the_arrivals_are_the_tree(policy, flushes, level0_runs):
    by_digits = cost.ideal_shape(policy, flushes * 10 + 7, flush_entries=10, level0_runs=level0_runs, filter_bits_per_key=0)
    walked = walk(policy, flushes, 10, level0_runs=level0_runs).shape

    def sizes(shape):
        return [[r.entries for r in level.runs] for level in shape.levels if level.runs]

    assert sizes(by_digits) == sizes(walked)
    assert by_digits.buffer_entries == walked.buffer_entries
    assert policy.pick(by_digits) is None


@pytest.mark.parametrize(("T", "K", "Z"), [(4, 1, 1), (4, 3, 1), (4, 3, 3), (5, 2, 2), (7, 3, 2)])
def test_the_average_over_a_levels_time_as_the_last_is_exact_for_written_once(T, K, Z):
    policy, flush = Fluid(size_ratio=T, K=K, Z=Z), 10
    before, after = (walk(policy, 2 * T**n, flush, level0_runs=1) for n in (2, 3))
    entries = 2 * (T**3 - T**2) * flush
    rates = [(b - a) / entries for a, b in zip([*before.written, 0, 0], after.written, strict=False)]
    assert cost.long_run_copies(policy.geometry, 3, flush, 1) == pytest.approx([r for r in rates if r])


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
@pytest.mark.parametrize(("T", "K", "Z"), [(4, 1, 1), (4, 3, 1), (4, 3, 3), (10, 3, 1)])
def test_overwritten_keys_cost_what_a_long_walk_finds(T, K, Z, share):
    last = 3 if T < 6 else 2
    policy, flush = Fluid(size_ratio=T, K=K, Z=Z), 50
    live = share * (T - 1) * T ** (last - 1) * flush * 2
    half, whole = (walk(policy, n * T**last, flush, level0_runs=1, live_entries=live) for n in (5, 10))
    entries = 5 * T**last * -live * log(1 - flush / live)  # what a memtable of so many different keys took
    rates = [(b - a) / entries for a, b in zip([*half.written, 0], whole.written, strict=False)]
    counted = cost.long_run_copies(policy.geometry, last, flush, 1, live)
    assert sum(counted) == pytest.approx(sum(rates), rel=0.06)


def test_inner_levels_cost_the_closed_form_and_the_last_one_more():
    for T, K in ((4, 1), (4, 3), (10, 3)):
        counted = cost.long_run_copies(Fluid(size_ratio=T, K=K).geometry, 3, 1_000)
        exact = closed_forms.update_exact(T, K)
        assert counted == pytest.approx([1.0, exact, exact, (T + 2) / 2])


def test_partial_merges_are_estimated_from_the_sizes_of_levels():
    counted = cost.long_run_copies(Leveled(size_ratio=4, partial="round_robin").geometry, 3, 1_000)
    assert counted == pytest.approx([1.0, 4.0, 5.0, 3.0])


def test_only_the_continuum_has_numbers():
    assert policy_geometry(FIFO(capacity_bytes=10)) is None
    assert policy_geometry(Tiered(4)).size_ratio == 4


def test_meaningless_numbers_are_refused():
    geometry = Leveled().geometry
    for call in (
        lambda: cost.inner_copies(1, 1),
        lambda: cost.inner_copies(10, 10),
        lambda: cost.inner_copies(10, True),
        lambda: cost.load_copies(geometry, -1),
        lambda: cost.load_copies(geometry, 1, -1),
        lambda: cost.long_run_copies(geometry, -1, 10),
        lambda: cost.long_run_copies(geometry, 1, 0),
        lambda: cost.long_run_copies(geometry, 1, 10, 4, 0),
        lambda: walk(Leveled(), -1, 10),
        lambda: walk(Leveled(), 1, 0),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
