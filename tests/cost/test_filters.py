"""Predicted false-positive rates are those of the engine's own filters."""

import numpy as np
import pytest

from lsmkv import cost
from lsmkv.cost.filters import filter_bits, filter_fpr, run_bits, with_filters
from lsmkv.errors import InvalidArgumentError
from lsmkv.sstable import bloom
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape


def hashes(count, seed):
    return np.random.default_rng(seed).integers(0, 2**63, (count, 2), np.uint64)


@pytest.mark.parametrize("bits_per_key", [0.3, 0.7, 1, 2.2, 3.7, 5, 7.7, 10])
@pytest.mark.parametrize("entries", [5_000, 20_000])
def test_the_rate_of_real_filters_is_the_predicted_one(bits_per_key, entries):
    data, m, k = bloom.build(hashes(entries, 1), bits_per_key)
    passed = bloom.Bloom(data, m, k).check_many(hashes(400_000, 2)).mean()
    assert m == filter_bits(entries, bits_per_key)
    assert passed == pytest.approx(filter_fpr(m, entries), rel=0.04, abs=3e-4)


def test_no_bits_means_that_everything_passes():
    assert filter_fpr(0, 10) == filter_fpr(1, 10) == 1.0
    assert filter_bits(0, 10) == filter_bits(10, 0) == 0


def shape_of(*runs):
    tables = [TableMeta(i, 10 * n, n, 0, b"a", b"z", 1, 1) for i, n in enumerate(runs, 1)]
    return TreeShape(tuple(Level((Run(t.number, (t,)),)) for t in tables))


def test_filters_of_a_shape_are_replanned_under_one_budget():
    shape = with_filters(shape_of(1_000, 10_000, 100_000), 10)
    bits = [t.filter_bits for t in shape.tables]
    assert sum(bits) == pytest.approx(1_110_000, rel=1e-4)
    assert bits[0] / 1_000 > bits[1] / 10_000 > 10 > bits[2] / 100_000
    uniform = with_filters(shape, 10, "uniform")
    assert [t.filter_bits for t in uniform.tables] == [10_001, 100_001, 1_000_001]


def test_empty_trees_have_nothing_to_plan():
    assert run_bits([], 10) == []
    assert with_filters(TreeShape(), 10) == TreeShape()


@pytest.mark.parametrize("bad", [-1, True, 1.5, "3", None])
def test_meaningless_filters_are_refused(bad):
    with pytest.raises(InvalidArgumentError, match="bits"):
        filter_fpr(bad, 10)
    with pytest.raises(InvalidArgumentError, match="entries"):
        filter_fpr(10, bad)
    with pytest.raises(InvalidArgumentError, match="entries"):
        filter_fpr(10, 0)
    if bad is not None:
        with pytest.raises(InvalidArgumentError, match="probes"):
            filter_fpr(10, 10, bad)


def test_an_unknown_allocation_is_refused():
    with pytest.raises(InvalidArgumentError, match="one of"):
        run_bits([1], 1, "monkeys")


def test_a_rate_is_a_probability():
    assert all(0 <= filter_fpr(m, n) <= 1 for m in (2, 3, 64, 65, 10**9) for n in (1, 7, 10**6))
    assert cost.filter_fpr(10_001, 1_000) == filter_fpr(10_001, 1_000)
