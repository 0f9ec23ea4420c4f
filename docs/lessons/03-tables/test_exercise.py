"""The Bloom filter of lesson 3: never wrong about a key it holds, and seldom about others."""

from __future__ import annotations

from types import ModuleType

import pytest

from lsmkv.cost import closed_forms

ENTRIES = 6_000


@pytest.mark.parametrize("bits_per_key", [3, 5, 10, 14])
def test_no_key_that_was_added_is_denied(work: ModuleType, bits_per_key: float) -> None:
    bloom = work.Bloom(ENTRIES, bits_per_key)
    for i in range(ENTRIES):
        bloom.add(b"here:%d" % i)
    assert all(bloom.may_contain(b"here:%d" % i) for i in range(ENTRIES))


@pytest.mark.parametrize("bits_per_key", [3, 5, 10])
def test_as_few_others_pass_as_the_formula_promises(work: ModuleType, bits_per_key: float) -> None:
    bloom = work.Bloom(ENTRIES, bits_per_key)
    for i in range(ENTRIES):
        bloom.add(b"here:%d" % i)
    asked = 20_000
    rate = sum(bloom.may_contain(b"there:%d" % i) for i in range(asked)) / asked
    ideal = closed_forms.bloom_fpr(bits_per_key)
    assert rate < 1.25 * ideal, f"{rate:.4f} of the absent keys pass at {bits_per_key} bits a key, {ideal:.4f} is possible"


def test_it_takes_no_more_memory_than_it_was_given(work: ModuleType) -> None:
    assert len(work.Bloom(10_000, 10).data) <= 12_500


def test_an_empty_filter_says_no(work: ModuleType) -> None:
    assert not any(work.Bloom(100, 10).may_contain(b"%d" % i) for i in range(1_000))
