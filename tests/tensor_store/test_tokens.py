"""One prompt has one identity, however the caller holds it; what is no prompt is refused by position."""

import array

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.keys.tokens import MAX_TOKEN, token_ids


@given(st.lists(st.integers(0, 127), max_size=50))
def test_every_holder_gives_the_same_bytes(ids):
    expected = b"".join(i.to_bytes(4, "little") for i in ids)
    forms = [
        ids,
        tuple(ids),
        array.array("q", ids),
        [np.int64(i) for i in ids],
        *(np.array(ids, dtype) for dtype in (np.int8, np.uint8, ">i4", np.int64, np.uint64)),
        np.repeat(np.array(ids, np.int32), 2)[::2],
        *(torch.tensor(ids, dtype=dtype) for dtype in (torch.int64, torch.int32, torch.uint8)),
    ]
    assert [token_ids(form).tobytes() for form in forms] == [expected] * len(forms)


def test_the_whole_range_of_uint32_is_allowed():
    for form in ([0, MAX_TOKEN], np.array([0, MAX_TOKEN]), torch.tensor([0, MAX_TOKEN])):
        assert token_ids(form).tolist() == [0, MAX_TOKEN]


def test_no_tokens_are_no_tokens():
    for form in ([], (), np.array([]), torch.tensor([], dtype=torch.int64)):
        assert len(token_ids(form)) == 0


@pytest.mark.parametrize("bad", [-1, MAX_TOKEN + 1, 10**30, 1.0, "7", None, np.float32(2)])
def test_the_first_id_that_is_none_is_named(bad):
    with pytest.raises(InvalidArgumentError, match=r"tokens\[2\] = "):
        token_ids([5, 6, bad, -9])


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_ids_outside_uint32_in_arrays_are_named(make):
    with pytest.raises(InvalidArgumentError, match=r"tokens\[1\] = .*-1"):
        token_ids(make([5, -1]))
    with pytest.raises(InvalidArgumentError, match=r"tokens\[0\] = .*4294967296"):
        token_ids(make([1 << 32, 3]))


@pytest.mark.parametrize(
    "tokens",
    [
        np.array([1.0]),
        np.array([True]),
        np.array([[1, 2]]),
        np.array(3),
        np.array(["a"]),
        torch.tensor([1.0]),
        torch.tensor([True]),
        torch.tensor([[1]]),
        [True, False],
        [[1, 2]],
        "abc",
        b"abc",
        7,
        None,
        {1: 2},
    ],
    ids=repr,
)
def test_what_is_no_flat_run_of_integers_is_refused(tokens):
    with pytest.raises(InvalidArgumentError, match="token"):
        token_ids(tokens)
