"""Rows of a batch, whatever says which columns are tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsmkv_tensor.adapters.prompts import read_prompts
from lsmkv_tensor.errors import InvalidArgumentError

IDS = torch.tensor([[0, 0, 5, 6], [1, 2, 3, 4], [0, 0, 0, 0]])
MASK = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int32, torch.bool, torch.uint8, torch.float32, torch.float16, torch.bfloat16]
)
def test_a_mask_of_any_dtype_says_the_same(dtype):
    prompts = read_prompts(IDS, MASK.to(dtype))
    assert [row.tolist() for row in prompts.rows] == [[5, 6], [1, 2, 3, 4], []]
    assert (prompts.starts, prompts.columns, prompts.alone) == ([2, 0, 4], 4, False)
    assert prompts.reach([1, 2, 0]) == 2


def test_masks_and_prompts_may_be_arrays_and_lists():
    for convert in (np.asarray, lambda t: t.tolist()):
        assert [row.tolist() for row in read_prompts(convert(IDS), convert(MASK)).rows] == [[5, 6], [1, 2, 3, 4], []]
    assert read_prompts([1, 2]).alone


@pytest.mark.parametrize("mask", [[[1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]], [[1, 1, 1, 1]]])
def test_padding_elsewhere_and_another_shape_are_refused(mask):
    with pytest.raises(InvalidArgumentError, match="attention_mask"):
        read_prompts(IDS, torch.tensor(mask))


def test_rows_end_with_their_first_end_token():
    prompts = read_prompts(IDS, MASK)
    out = torch.cat([IDS, torch.tensor([[7, 9, 0], [9, 0, 0], [7, 7, 7]])], 1)
    assert [row.tolist() for row in prompts.longer(out, [9, 8]).rows] == [[5, 6, 7, 9], [1, 2, 3, 4, 9], [7, 7, 7]]
