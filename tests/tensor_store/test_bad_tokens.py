"""Token ids that look like integers and are none."""

from __future__ import annotations

import pytest
import torch

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.keys.tokens import token_ids


@pytest.mark.parametrize(
    "tokens",
    [[1, True, 2], [1, 2, False], torch.zeros(3, dtype=torch.int64, device="meta")],
    ids=["bool inside", "bool at the end", "meta"],
)
def test_what_only_looks_like_token_ids_is_refused(tokens):
    with pytest.raises(InvalidArgumentError, match="tokens must be"):
        token_ids(tokens)
