"""Bytes objects gathered from where they are."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.scattered import WIDE, Scattered


@given(st.lists(st.binary(min_size=1, max_size=4000), min_size=1, max_size=20), st.integers(1, 40), st.randoms())
def test_what_is_gathered_is_what_the_pieces_hold(pieces, width, rng):
    data = Scattered(pieces)
    wanted = [(i, at) for i, piece in enumerate(pieces) for at in range(max(0, len(piece) - width + 1))]
    rng.shuffle(wanted)
    places = np.array([data.starts[i] + at for i, at in wanted], np.int64)
    data.check(width, places)
    assert data.gather(width, places).tobytes() == b"".join(pieces[i][at : at + width] for i, at in wanted)


def test_pieces_stay_alive_as_long_as_they_may_be_asked_for():
    pieces = [bytes([i]) * 100_000 for i in range(20)]
    data = Scattered(pieces)
    del pieces
    gc.collect()
    spoiled = [b"\xff" * 100_000 for _ in range(20)]  # would take memory that was given back
    assert data.gather(100_000, data.starts).tobytes() == b"".join(bytes([i]) * 100_000 for i in range(20))
    del spoiled


@pytest.mark.parametrize(("width", "shift"), [(11, 0), (10, 1), (1, 10), (1, -1)])
def test_the_check_finds_a_place_outside_of_the_pieces(width, shift):
    data = Scattered([b"a" * 10, b"b" * 10])
    data.check(10, data.starts)
    with pytest.raises(AssertionError, match="a place"):
        data.check(width, data.starts + shift)


def test_nothing_is_gathered_for_no_width_or_no_places():
    data = Scattered([b"abc"])
    assert not len(data.gather(0, data.starts))
    assert not len(data.gather(2, data.starts[:0]))


@pytest.mark.parametrize("width", [WIDE - 1, WIDE, WIDE + 1, 1 << 20])
def test_pieces_may_lie_far_apart(width):
    near, far = [random.Random(i).randbytes(64 << 10) for i in range(2)], bytes(33 << 20)  # malloc maps this one by itself
    data = Scattered([*near, far])
    places = data.starts[2] + np.array([len(far) - width, 0, 7], np.int64)
    data.check(width, places)
    assert data.gather(width, places).tobytes() == bytes(3 * width)
    if width <= len(near[0]):
        assert data.gather(width, data.starts[:2]).tobytes() == near[0][:width] + near[1][:width]
