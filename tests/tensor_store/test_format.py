"""A page format says exactly which bytes a page is, or refuses."""

import dataclasses

import numpy as np
import pytest
import torch

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.format import PageFormat


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        (torch.bfloat16, 2),
        (torch.float16, 2),
        (torch.float32, 4),
        (torch.float8_e4m3fn, 1),
        (torch.float8_e5m2, 1),
        (torch.int8, 1),
    ],
)
def test_bytes_of_a_page(dtype, size):
    fmt = PageFormat(page_tokens=64, shape=(2, 3, 64, 4, 5), dtype=dtype)
    assert fmt.page_bytes == torch.empty(fmt.shape, dtype=dtype).nbytes == 2 * 3 * 64 * 4 * 5 * size


def test_fields_differ_exactly_when_formats_do():
    formats = [
        PageFormat(4, (2, 4), torch.int8),
        PageFormat(8, (2, 4), torch.int8),
        PageFormat(4, (4, 2), torch.int8),
        PageFormat(4, (2, 4), torch.float16),
    ]
    for a in formats:
        for b in formats:
            assert (a == b) == (a.fields() == b.fields()) == (a is b)


def test_a_list_of_sizes_is_as_good_as_a_tuple():
    assert PageFormat(4, [2, 4], torch.int8) == PageFormat(4, (2, 4), torch.int8)
    assert PageFormat(4, torch.Size((2, 4)), torch.int8).shape == (2, 4)
    assert len({PageFormat(4, [2, 4], torch.int8), PageFormat(4, (2, 4), torch.int8)}) == 1


def test_a_format_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PageFormat(4, (2, 4), torch.int8).page_tokens = 5


@pytest.mark.parametrize("page_tokens", [0, -1, 1.5, True, "64", None])
def test_page_tokens_is_a_positive_integer(page_tokens):
    with pytest.raises(InvalidArgumentError, match=r"PageFormat.page_tokens"):
        PageFormat(page_tokens, (2,), torch.int8)


@pytest.mark.parametrize("shape", [(), (2, 0), (2, -1), (2, 1.0), "ab", 5, None, (True, 2)])
def test_a_shape_is_positive_integers(shape):
    with pytest.raises(InvalidArgumentError, match=r"PageFormat.shape"):
        PageFormat(4, shape, torch.int8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool, np.float16, "bfloat16", "torch.int8", None])
def test_other_dtypes_are_refused_by_name(dtype):
    with pytest.raises(InvalidArgumentError, match=r"PageFormat.dtype.*torch\.bfloat16"):
        PageFormat(4, (2,), dtype)
