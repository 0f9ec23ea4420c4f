"""``out`` may not hold the same memory twice: refused, and never answered with a wrong page."""

import pytest
import torch

from lsmkv_tensor import PageFormat
from lsmkv_tensor.errors import InvalidArgumentError

FMT = PageFormat(page_tokens=4, shape=(2, 4, 3), dtype=torch.float32)
TOKENS = list(range(40))


def twice(tensor):
    return [tensor, tensor]


@pytest.mark.parametrize(
    "out",
    [
        torch.zeros(2, 4, 3).expand(3, 2, 4, 3),
        torch.zeros(3, 2, 4, 1).expand(3, 2, 4, 3),
        torch.zeros(200).as_strided((3, 2, 4, 3), (12, 12, 3, 1)),
        twice(torch.zeros(2, 4, 3)),
        twice(torch.zeros(3, 4, 2).transpose(0, 2)),
        [part.view(2, 4, 3) for part in torch.zeros(47).as_strided((2, 24), (23, 1))],
    ],
)
def test_shared_memory_is_refused_and_pages_stay(reopen, out):
    store = reopen(FMT)
    pages = torch.randn(10, *FMT.shape)
    store.put_batch(TOKENS, pages)
    with pytest.raises(InvalidArgumentError, match="share memory"):
        store.get_batch(TOKENS, out=out)
    assert store.probe(TOKENS) == 40
    assert store.stats().corrupt_pages == 0


def test_interleaved_views_of_one_pool_are_filled(reopen):
    """A pool that keeps pages side by side in an inner dimension: extents overlap, elements do not."""
    store = reopen(FMT)
    pages = torch.randn(10, *FMT.shape)
    pages[0, 0, 0, 0] = float("nan")
    store.put_batch(TOKENS, pages)
    pool = torch.zeros(2, 4, 10, 3)
    got = store.get_batch(TOKENS, out=[pool[:, :, i] for i in range(10)])
    assert len(got) == 10
    assert torch.equal(pool.permute(2, 0, 1, 3).contiguous().view(torch.int32), pages.view(torch.int32))
    whole = torch.zeros(2, 4, 10, 3).permute(2, 0, 1, 3)
    assert len(store.get_batch(TOKENS, out=whole)) == 10
    assert torch.equal(whole.contiguous().view(torch.int32), pages.view(torch.int32))


def test_a_negated_view_is_stored_and_filled_by_value(reopen):
    store = reopen(FMT)
    pages = torch.randn(10, *FMT.shape)
    store.put_batch(TOKENS, torch._neg_view(pages))
    out = torch._neg_view(torch.zeros(10, *FMT.shape))
    assert all(map(torch.equal, store.get_batch(TOKENS), -pages))
    assert all(map(torch.equal, store.get_batch(TOKENS, out=out), -pages))
