"""The order of a flush is that of plain bytes, whatever the widths."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.memtable.ordering import sorted_order


def plain(keys):
    return sorted(range(len(keys)), key=keys.__getitem__)


@given(st.lists(st.binary(max_size=24), max_size=200))
def test_any_keys(keys):
    assert sorted_order(keys) == plain(keys)


@pytest.mark.parametrize("width", [0, 1, 2, 16, 17, 40])
def test_equal_widths_with_zero_bytes_and_repeats(width):
    rng = random.Random(width)
    keys = [bytes(rng.choices(b"\0\1\xff", k=width)) for _ in range(500)]
    assert sorted_order(keys) == plain(keys)


@pytest.mark.parametrize("prefix", [b"", b"user:0000000000000000:", b"\xff" * 30, b"\0" * 20])
def test_shared_prefixes_longer_than_what_is_compared_at_once(prefix):
    rng = random.Random(1)
    keys = [prefix + bytes(rng.choices(b"\0\1a", k=rng.randrange(25))) for _ in range(500)]
    keys += [prefix + b"q" * 16 + bytes(rng.choices(b"\0z", k=rng.randrange(4))) for _ in range(200)]
    rng.shuffle(keys)
    assert sorted_order(keys) == plain(keys)


def test_one_very_long_key_among_many_short_ones():
    keys = [b"%d" % i for i in range(1000)] + [b"5" * 65536, b"5" * 65535 + b"4"]
    assert sorted_order(keys) == plain(keys)
