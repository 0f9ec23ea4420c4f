"""What int8 and fp8 give back differs by no more than they say; what they cannot hold comes back bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsmkv_tensor.codec import LOSSY, decode, tensor_codec
from lsmkv_tensor.codec.base import INT8, SHUFFLE_ZSTD
from lsmkv_tensor.codec.float8 import e4m3_codes, e4m3_values
from lsmkv_tensor.codec.quantised import Grid, grid_of
from lsmkv_tensor.errors import InvalidArgumentError

FLOATS = ("bfloat16", "float16", "float32")
HALF_DIGIT = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-23}
PROPERTY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPE = (3, 16, 2, 96)


def bound(name: str, exact: np.ndarray) -> np.ndarray:
    """What the module's docstring promises, for a page [outer, tokens, inner...]."""
    largest = np.abs(exact).max(axis=1, keepdims=True)
    tiny = np.where(largest < 1e-36, 1e-40, 0)
    return (largest / 252 if name == "int8" else np.maximum(np.abs(exact) / 16, largest / 454_000)) + tiny


@PROPERTY
@given(
    name=st.sampled_from(sorted(LOSSY)),
    dtype=st.sampled_from(FLOATS),
    scale=st.integers(-140, 127),
    spread=st.integers(0, 30),
    seed=st.integers(0, 1 << 32),
    cuts=st.lists(st.integers(0, 1 << 20), max_size=3),
)
def test_the_error_stays_within_its_bound(through, formats, raw_of, name, dtype, scale, spread, seed, cuts):
    fmt = formats(SHAPE, dtype)
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal(SHAPE) * np.exp2(scale + rng.integers(-spread, 1, SHAPE[-1]).astype(np.float64))
    limit = torch.finfo(fmt.dtype).max
    page = torch.tensor(np.clip(numbers, -limit, limit)).to(fmt.dtype)
    page[0, :, 0, 0] = 0
    page[1, 3] = -page[1, 3]
    page[2, 0, 0, 0] = limit
    raw = raw_of(page)
    back, number, stored = through(tensor_codec(name, fmt), raw, cuts)
    assert number == LOSSY[name]
    assert stored < len(raw) * (0.61 if fmt.dtype.itemsize == 2 else 0.31)
    got = torch.frombuffer(bytearray(back), dtype=fmt.dtype).view(SHAPE).double().numpy()
    exact = page.double().numpy()
    assert np.isfinite(got).all()
    rounding = np.abs(exact) * 2 * HALF_DIGIT[dtype] + torch.finfo(fmt.dtype).smallest_normal * HALF_DIGIT[dtype]
    assert (np.abs(got - exact) <= bound(name, exact) * (1 + 1e-6) + rounding).all()


@pytest.mark.parametrize("name", LOSSY)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_a_page_with_what_is_no_number_comes_back_bit_for_bit(through, formats, kv, raw_of, name, dtype, odd):
    fmt = formats((8, 16, 2, 64), dtype)
    page = kv(fmt)
    page[7, 15, 1, 63] = odd
    raw = bytearray(raw_of(page))
    if odd != odd:  # a NaN with a payload of its own
        raw[-2] |= 0x05
    back, number, _ = through(tensor_codec(name, fmt), bytes(raw))
    assert back == raw
    assert number in (None, SHUFFLE_ZSTD)


@pytest.mark.parametrize("name", LOSSY)
def test_errors_do_not_depend_on_how_numpy_treats_them(through, formats, kv, raw_of, name):
    fmt = formats((2, 16, 2, 64), "float16")
    page = kv(fmt)
    page[0] = 0
    page[1, 0] = 65504
    page[1, 1] = 6e-8
    with np.errstate(all="raise"):
        back = through(tensor_codec(name, fmt), raw_of(page))[0]
    assert torch.isfinite(torch.frombuffer(bytearray(back), dtype=torch.float16)).all()


def test_float8_is_that_of_torch():
    values = np.concatenate(
        [
            np.linspace(-448, 448, 100_001, dtype=np.float32),
            np.linspace(-0.1, 0.1, 100_001, dtype=np.float32),
            np.exp2(np.linspace(-30, 8.8, 10_001, dtype=np.float32)),
            e4m3_values(np.arange(0x7F, dtype=np.uint8)),
        ]
    )
    expected = torch.from_numpy(values).to(torch.float8_e4m3fn)
    assert (e4m3_codes(values) == expected.view(torch.uint8).numpy()).all()
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(e4m3_values(codes), torch.from_numpy(codes).view(torch.float8_e4m3fn).float().numpy(), equal_nan=True)


def test_channels_are_found_by_the_axis_of_tokens():
    assert grid_of((2, 30, 64, 8, 128), 64) == Grid(60, 64, 1024)
    assert grid_of((2, 30, 8, 64, 128), 64) == Grid(480, 64, 128)
    assert grid_of((64, 128), 64) == Grid(1, 64, 128)
    assert grid_of((64, 8, 64, 64), 64) == Grid(512, 64, 64)
    assert grid_of((2, 1024), 16) == Grid(1, 2, 1024)
    assert grid_of((7,), 7) == Grid(1, 1, 7)


@pytest.mark.parametrize("name", LOSSY)
@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn", "float8_e5m2"])
def test_types_of_one_byte_are_refused(formats, name, dtype):
    with pytest.raises(InvalidArgumentError, match=f"{name!r}.*not of {dtype}"):
        tensor_codec(name, formats((2, 4, 8), dtype))


@pytest.mark.parametrize("name", LOSSY)
def test_a_payload_that_is_none_is_refused(formats, kv, raw_of, name):
    fmt = formats(SHAPE, "bfloat16")
    raw = raw_of(kv(fmt))
    payload = tensor_codec(name, fmt).encode([memoryview(raw)]).payload
    out = [memoryview(bytearray(len(raw)))]
    assert decode(LOSSY[name], memoryview(payload), out)
    assert not decode(LOSSY[name], memoryview(payload), [memoryview(bytearray(len(raw) - 2))])
    for wrong in (b"", payload[:10], payload[:-1], payload + b"\0", b"\2" + payload[1:], payload[:4] + bytes(4) + payload[8:]):
        assert not decode(LOSSY[name], memoryview(wrong), out)
    for kind in (0, 3, 9):  # float32 would need more room, 0 and 9 are none
        assert not decode(INT8, memoryview(payload[:1] + bytes([kind]) + payload[2:]), out)
