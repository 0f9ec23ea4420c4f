"""Ranks and keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.lab.draws import keys_of, scrambled, zipf_ranks


def test_ranks_are_as_popular_as_zipf_says() -> None:
    drawn = np.bincount(zipf_ranks(100, 200_000, np.random.default_rng(1)), minlength=100) / 200_000
    wanted = np.arange(1, 101) ** -0.99
    wanted /= wanted.sum()
    assert np.abs(drawn - wanted).max() < 0.005
    assert drawn[0] == pytest.approx(wanted[0], rel=0.03)


@given(st.integers(0, 2**64 - 1), st.integers(1, 70), st.integers(9, 40))
def test_keys_are_all_different_and_absent_ones_are_neighbours_of_stored_ones(seed: int, chain: int, width: int) -> None:
    births = np.arange(1_000)
    keys = keys_of(births, chain_keys=chain, key_bytes=width, seed=seed)
    absent = keys_of(births, chain_keys=chain, key_bytes=width, seed=seed, absent=True)
    assert len({*keys, *absent}) == 2_000
    assert {len(key) for key in keys} == {width}
    stored = sorted(keys)
    assert all(stored[0] <= key for key in absent)
    assert all(bytes((*key[:-1], key[-1] & 0xFE)) in keys for key in absent[:50])


@given(st.integers(2, 64))
def test_keys_of_a_chain_are_neighbours(chain: int) -> None:
    births = np.arange(10 * chain)
    keys = keys_of(births, chain_keys=chain, key_bytes=16, seed=3)
    place = {key: i for i, key in enumerate(sorted(keys))}
    for first in range(0, 10 * chain, chain):
        places = [place[key] for key in keys[first : first + chain]]
        assert places == list(range(places[0], places[0] + chain))


def test_scrambling_is_one_to_one() -> None:
    assert len(set(scrambled(np.arange(100_000), 5).tolist())) == 100_000
