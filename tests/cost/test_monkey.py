"""Filter memory: the papers' printed numbers, and what water-filling promises at its edges."""

from math import exp, inf, nan

import numpy as np
import pytest

from lsmkv import cost
from lsmkv.cost.monkey import LN2_SQUARED
from lsmkv.errors import InvalidArgumentError

ENTRIES, RUNS, BITS = [4_761, 19_047, 76_188], [3, 3, 3], 1_000_000


def test_the_rates_printed_in_tods_2018_come_out():
    rates = cost.monkey_fprs(ENTRIES, RUNS, BITS)
    absent = sum(r * p for r, p in zip(RUNS, rates, strict=True))
    assert [round(p, 5) for p in rates] == [0.00076, 0.00304, 0.01217]
    assert absent == pytest.approx(0.04793, rel=1e-3)
    assert 1 + absent - rates[-1] == pytest.approx(1.03575, rel=1e-3)


def test_the_uniform_rates_printed_in_tods_2018_come_out():
    p = cost.uniform_fpr(sum(ENTRIES), BITS)
    assert 9 * p == pytest.approx(0.0737, rel=1e-3)
    assert 1 + 8 * p == pytest.approx(1.06551, rel=1e-3)


def test_levels_of_equal_runs_and_those_runs_one_by_one_get_the_same_bits():
    rates = cost.monkey_fprs(ENTRIES, RUNS, BITS)
    bits = cost.allocate([n / 3 for n in ENTRIES for _ in range(3)], BITS)
    assert [exp(-b * LN2_SQUARED) for b in bits] == pytest.approx([p for p in rates for _ in range(3)])


def test_no_budget_means_no_filter_anywhere():
    assert cost.allocate([10, 20, 30], 0) == [0.0, 0.0, 0.0]
    assert cost.monkey_fprs([10, 20], [1, 2], 0) == [1.0, 1.0]


def test_a_saturated_run_gets_no_filter_and_the_others_share_its_bits():
    bits = cost.allocate([1_000, 1_000_000], 3_000)
    assert bits == pytest.approx([3.0, 0.0])
    assert bits[1] == 0.0


def test_a_run_asked_more_often_gets_more_bits():
    bits = cost.allocate([1_000, 1_000], 20_000, [9.0, 1.0])
    assert bits[0] > 10 > bits[1]
    assert exp(-bits[0] * LN2_SQUARED) * 9 == pytest.approx(exp(-bits[1] * LN2_SQUARED))


def test_numpy_numbers_are_numbers():
    assert cost.allocate(np.array([10, 20]), np.float64(300)) == cost.allocate([10, 20], 300)
    assert cost.levels(np.int64(1000), np.float32(1), 10, 2) == cost.levels(1000, 1, 10, 2)


BAD = [nan, inf, -inf, -1, 0, True, "7", None, 1j, b"1", 10**400]


@pytest.mark.parametrize("bad", BAD)
def test_meaningless_numbers_are_refused_by_name(bad):
    calls = {
        "run_entries": lambda: cost.allocate([5, bad], 10),
        "weights": lambda: cost.allocate([5, 6], 10, [1, bad]),
        "level_entries": lambda: cost.monkey_fprs([bad], [1], 10),
        "level_runs": lambda: cost.monkey_fprs([5], [bad], 10),
        "entries": lambda: cost.levels(bad, 100, 1000, 4),
        "entry_bytes": lambda: cost.levels(100, bad, 1000, 4),
        "buffer_bytes": lambda: cost.levels(100, 100, bad, 4),
        "size_ratio": lambda: cost.levels(100, 100, 1000, bad),
    }
    if bad != 0 or isinstance(bad, bool):
        calls["filter_bits"] = lambda: cost.allocate([5], bad)
    for name, call in calls.items():
        with pytest.raises(InvalidArgumentError, match=name):
            call()


@pytest.mark.parametrize("bad", [[], 5, None, "55", b"55"])
def test_what_is_no_sequence_of_numbers_is_refused(bad):
    with pytest.raises(InvalidArgumentError, match="run_entries"):
        cost.allocate(bad, 10)


def test_sequences_that_do_not_go_together_are_refused():
    with pytest.raises(InvalidArgumentError, match="level_runs has 2 numbers, level_entries has 1"):
        cost.monkey_fprs([5], [1, 1], 10)
    with pytest.raises(InvalidArgumentError, match="weights has 1 numbers, run_entries has 2"):
        cost.allocate([5, 6], 10, [1])


def test_levels_are_counted_as_the_papers_count():
    assert cost.levels(4**6 / 3, 1, 1, 4) == 5  # three quarters of it are 4^5 buffers
    assert cost.levels(4**6 / 3 + 1, 1, 1, 4) == 6
    assert cost.levels(1, 1, 1_000_000, 10) == 1
    with pytest.raises(InvalidArgumentError, match="size_ratio"):
        cost.levels(10, 1, 1, 1.5)


def test_a_tree_full_to_the_last_entry_has_no_level_more_for_rounding():
    for ratio in range(2, 65):
        for count in range(1, 12):
            entries = ratio ** (count + 1) / (ratio - 1)  # (N E / M) (T-1)/T = T^count
            assert cost.levels(entries * 0.1, 7, 0.7, ratio) == count
