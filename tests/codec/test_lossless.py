"""What a lossless codec gives back is what it was given, bit for bit, whatever the type, the shape and the memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsmkv_tensor.codec import LOSSLESS, LOSSY, decode, lossless_codec, tensor_codec
from lsmkv_tensor.codec.base import SHUFFLE_ZSTD
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.format import DTYPES

PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(
    dtype=st.sampled_from([None, *DTYPES]),
    size=st.integers(0, 40_000),
    symbols=st.integers(1, 256),
    cuts=st.lists(st.integers(0, 40_000), max_size=4),
    seed=st.integers(0, 1 << 32),
)
def test_any_bytes_come_back(through, dtype, size, symbols, cuts, seed):
    page = np.random.default_rng(seed).integers(0, symbols, size, dtype=np.uint8).tobytes()
    back, number, stored = through(lossless_codec("shuffle_zstd", dtype), page, cuts)
    assert back == page
    assert number in (None, SHUFFLE_ZSTD)
    assert stored <= size


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_pattern_of_a_type_comes_back(through, dtype):
    """NaNs with payloads, infinities, negative zeros, subnormal numbers: all 2^16 pairs of bytes."""
    page = np.arange(1 << 16, dtype="<u2").tobytes()
    back, number, _ = through(lossless_codec("shuffle_zstd", dtype), page)
    assert back == page
    assert number == (SHUFFLE_ZSTD if DTYPES[dtype] > 1 else None)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_a_kv_cache_gets_smaller(through, formats, kv, raw_of, dtype):
    fmt = formats((8, 64, 4, 64), dtype)
    page = raw_of(kv(fmt))
    back, _, stored = through(tensor_codec("shuffle_zstd", fmt), page)
    assert back == page
    assert stored < len(page) / (1.2 if dtype == "bfloat16" else 1.1)


def test_what_does_not_get_a_block_smaller_stays_as_it_is(through):
    codec = lossless_codec("shuffle_zstd")
    noise = np.random.default_rng(0).integers(0, 256, 64 << 10, dtype=np.uint8).tobytes()
    assert through(codec, noise)[1] is None
    assert through(codec, bytes(4096))[1] is None
    assert through(codec, bytes(4097))[1] == SHUFFLE_ZSTD
    assert through(lossless_codec("raw"), bytes(1 << 20))[1] is None


@PROPERTY
@given(at=st.integers(0, 1 << 30), bit=st.integers(0, 7), cut=st.one_of(st.none(), st.integers(0, 1 << 30)))
def test_a_changed_or_shortened_payload_is_never_decoded_to_another_page(at, bit, cut):
    """This holds without the sum over what is on disk: the codec has one of its own, over what comes out."""
    page = (np.arange(6000) // 7).astype("<u2").tobytes()
    encoded = lossless_codec("shuffle_zstd").encode([memoryview(page)])
    payload = bytearray(encoded.payload)
    payload[at % len(payload)] ^= 1 << bit
    out = bytearray(len(page))
    if decode(encoded.codec, memoryview(payload)[: None if cut is None else cut % len(payload)], [memoryview(out)]):
        assert out == page  # such as a bit that says nothing


def test_a_payload_of_a_page_of_another_length_is_refused():
    page = bytes(10_000)
    encoded = lossless_codec("shuffle_zstd").encode([memoryview(page)])
    for size in (0, 9_999, 10_001):
        assert not decode(encoded.codec, memoryview(encoded.payload), [memoryview(bytearray(size))])


@pytest.mark.parametrize("name", ["zstd", "", None, 3, "RAW"])
def test_an_unknown_name_is_refused_and_the_known_ones_named(formats, name):
    for make in (lossless_codec, lambda n: tensor_codec(n, formats((2, 4, 8), "bfloat16"))):
        with pytest.raises(InvalidArgumentError, match="'raw' or 'shuffle_zstd'"):
            make(name)


def test_names_are_those_that_are_told():
    assert [lossless_codec(name).name for name in LOSSLESS] == list(LOSSLESS)
    for name in LOSSY:
        with pytest.raises(InvalidArgumentError, match="lossy"):
            lossless_codec(name)
    assert torch.bfloat16.itemsize == DTYPES["bfloat16"]
