"""Filters never deny what they hold, and err as often as the formula says."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.base.hashing import hash_key, hash_keys
from lsmkv.sstable.bloom import MAX_PROBES, Bloom, build, probes_for


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=200), st.floats(0.1, 50))
def test_every_key_put_in_may_be_there(keys, bits):
    hashes = hash_keys(keys)
    data, m, k = build(hashes, bits)
    assert len(data) == (m + 7) // 8
    assert 1 <= k <= MAX_PROBES
    bloom = Bloom(data, m, k)
    assert all(bloom.may_contain(*hash_key(key)) for key in keys)
    assert bloom.check_many(hashes).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=50), st.floats(0.5, 20), st.lists(st.binary(max_size=6), min_size=1, max_size=50))
def test_one_key_and_many_keys_get_the_same_answer(held, bits, asked):
    data, m, k = build(hash_keys([*held, b"some"]), bits)
    bloom = Bloom(data, m, k)
    assert bloom.check_many(hash_keys(asked)).tolist() == [bloom.may_contain(*hash_key(key)) for key in asked]


@pytest.mark.parametrize("bits", [1, 2, 5, 8, 10, 16])
def test_false_positives_are_as_frequent_as_computed(bits):
    n = 20000
    data, m, k = build(hash_keys([b"in%d" % i for i in range(n)]), bits)
    rate = Bloom(data, m, k).check_many(hash_keys([b"out%d" % i for i in range(n)])).mean()
    expected = (1 - exp(-k * n / m)) ** k
    assert k == max(1, round(bits * log(2)))
    assert abs(rate - expected) < 5 * (expected / n) ** 0.5 + 0.02 * expected


def test_no_bits_means_no_filter():
    hashes = hash_keys([b"a"])
    assert build(hashes, 0) == (b"", 0, 0)
    assert build(np.empty((0, 2), np.uint64), 10) == (b"", 0, 0)
    assert probes_for(0.01) == 1
    assert probes_for(1000) == MAX_PROBES
