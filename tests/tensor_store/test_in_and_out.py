"""Tensors in, the same bits out: every dtype, any strides, any place; and everything that is no page refused by name."""

import numpy as np
import pytest
import torch

from lsmkv_tensor import PageFormat, PageSpans
from lsmkv_tensor.errors import ClosedError, InvalidArgumentError

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float8_e4m3fn, torch.float8_e5m2, torch.int8]
TOKENS = list(range(100, 117))  # 8 pages of 2 tokens and one token more


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def same(pages, expected):
    return len(pages) == len(expected) and all(torch.equal(bits(a), bits(b)) for a, b in zip(pages, expected, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_comes_back_bit_for_bit(reopen, pages_of, dtype):
    """Pages are all bit patterns, NaNs with payloads included: nothing is ever converted."""
    fmt = PageFormat(page_tokens=2, shape=(2, 3, 2, 2, 8), dtype=dtype)
    store = reopen(fmt)
    pages = pages_of(TOKENS, fmt=fmt)
    assert store.put_batch(TOKENS, pages) == 8
    assert store.probe(TOKENS) == 16
    for got in (store.get_batch(TOKENS), reopen(fmt).get_batch(TOKENS)):
        assert same(got, pages)
        assert {page.dtype for page in got} == {dtype}
        assert {tuple(page.shape) for page in got} == {fmt.shape}


@pytest.mark.parametrize(
    "change",
    [
        tuple,
        torch.stack,
        lambda pages: torch.stack(pages, dim=2).movedim(2, 0),
        lambda pages: [page.t().contiguous().t() for page in pages],
        lambda pages: torch.stack([page for page in pages for _ in range(2)])[::2],
        lambda pages: [torch.stack([page, page], dim=-1)[..., 0] for page in pages],
        lambda pages: [torch.nn.Parameter(page, requires_grad=False) for page in pages],
    ],
    ids=["tuple", "stacked", "turned", "transposed", "every-second", "strided", "parameters"],
)
def test_any_strides_are_stored_as_their_values(reopen, pages_of, change):
    pages = pages_of(TOKENS)
    store = reopen()
    assert store.put_batch(TOKENS, change(pages)) == 8
    assert same(store.get_batch(TOKENS), pages)


def test_tensors_that_want_gradients_can_be_stored(reopen):
    fmt = PageFormat(2, (4,), torch.float32)
    page = torch.randn(4, requires_grad=True)
    store = reopen(fmt)
    assert store.put_batch([1, 2], [page]) == 1
    assert torch.equal(store.get_batch([1, 2])[0], page.detach())


def test_the_callers_memory_is_its_own_again_after_a_put(reopen, pages_of):
    pages = torch.stack(pages_of(TOKENS))
    expected = pages.clone()
    store = reopen()
    store.put_batch(TOKENS, pages)
    pages.zero_()
    assert same(store.get_batch(TOKENS), expected)


def test_delivered_pages_are_the_callers(reopen, pages_of):
    store = reopen()
    store.put_batch(TOKENS, pages_of(TOKENS))
    got = store.get_batch(TOKENS)
    for page in got:
        page.zero_()
    assert same(store.get_batch(TOKENS), pages_of(TOKENS))
    assert got[0].data_ptr() % 4096 == 0


@pytest.mark.parametrize("first", [0, 1, 5, 7, 8, 9, 100])
def test_reading_starts_anywhere(reopen, pages_of, first):
    store = reopen()
    store.put_batch(TOKENS, pages_of(TOKENS))
    assert same(store.get_batch(TOKENS, first), pages_of(TOKENS)[first:])


def test_what_is_stored_counts_once(reopen, pages_of):
    store = reopen()
    assert store.put_batch(TOKENS, pages_of(TOKENS, 2, 5), first_page=2) == 3
    assert store.probe(TOKENS) == 0
    assert store.get_batch(TOKENS) == []
    assert same(store.get_batch(TOKENS, 2), pages_of(TOKENS, 2, 5))
    assert store.put_batch(TOKENS, pages_of(TOKENS)) == 5
    assert store.put_batch(TOKENS, pages_of(TOKENS)) == 0
    assert store.probe(TOKENS) == 16


def test_nothing_is_nothing(reopen):
    store = reopen()
    assert store.put_batch(TOKENS, []) == store.put_batch([], []) == store.put_batch(TOKENS, torch.empty(0, 2, 3).char(), 8) == 0
    assert store.probe([]) == store.probe([5]) == 0
    assert store.get_batch([]) == store.get_batch(TOKENS) == store.get_batch(TOKENS, 3, out=[]) == []


def out_forms():
    """How a caller may want 8 pages: (what it passes, how many it has room for)."""
    yield "tensor", torch.zeros(8, 2, 3, dtype=torch.int8), 8
    yield "short", torch.zeros(3, 2, 3, dtype=torch.int8), 3
    yield "long", torch.zeros(12, 2, 3, dtype=torch.int8), 8
    yield "list", [torch.zeros(2, 3, dtype=torch.int8) for _ in range(8)], 8
    yield "short list", [torch.zeros(2, 3, dtype=torch.int8)], 1
    yield "turned", torch.zeros(2, 3, 8, dtype=torch.int8).movedim(2, 0), 8
    yield "turned list", [torch.zeros(3, 2, dtype=torch.int8).t() for _ in range(9)], 8


@pytest.mark.parametrize(("out", "room"), [f[1:] for f in out_forms()], ids=[f[0] for f in out_forms()])
def test_pages_are_read_to_where_the_caller_wants_them(reopen, pages_of, out, room):
    store = reopen()
    store.put_batch(TOKENS, pages_of(TOKENS))
    got = store.get_batch(TOKENS, out=out)
    assert same(got, pages_of(TOKENS)[:room])
    assert [page.data_ptr() for page in got] == [page.data_ptr() for page in out][:room]


def test_reading_stops_at_the_first_miss(in_memory, pages_of):
    in_memory.put_batch(TOKENS, pages_of(TOKENS))
    namespace = in_memory.namespace
    namespace.evict([sorted(namespace.pages)[5]])
    assert in_memory.probe(TOKENS) == 10
    assert same(in_memory.get_batch(TOKENS), pages_of(TOKENS)[:5])
    assert same(in_memory.get_batch(TOKENS, 6), pages_of(TOKENS)[6:])


def test_a_page_that_vanishes_between_probe_and_read_ends_the_prefix(in_memory, pages_of, monkeypatch):
    in_memory.put_batch(TOKENS, pages_of(TOKENS))
    monkeypatch.setattr(in_memory.namespace, "contains_prefix", lambda keys, deadline_s=None: len(keys))
    in_memory.namespace.evict([sorted(in_memory.namespace.pages)[5]])
    assert same(in_memory.get_batch(TOKENS), pages_of(TOKENS)[:5])
    out = torch.zeros(8, 2, 3, dtype=torch.int8)
    assert same(in_memory.get_batch(TOKENS, out=out), pages_of(TOKENS)[:5])


def test_spans_are_stored_from_and_read_into_raw_memory(reopen, pages_of):
    """As host pools of engines are laid out: the halves of a page apart."""

    def spans_of(memory):
        base = memory.__array_interface__["data"][0]
        addresses = base + np.arange(8)[:, None] * 3 + np.array([[0, 24]])
        return PageSpans(addresses.astype(np.uint64), np.array([3, 3]), memory)

    pages = torch.stack(pages_of(TOKENS))
    pool, back = pages.permute(1, 0, 2).contiguous().numpy().view(np.uint8), np.zeros((2, 8, 3), np.uint8)
    store = reopen()
    assert store.put_batch(TOKENS, spans_of(pool)) == 8
    assert same(store.get_batch(TOKENS), pages)
    assert store.get_into(TOKENS, spans_of(back)) == 8
    assert (back == pool).all()
    assert store.drop(TOKENS[:8]) == 5
    assert store.put_batch(TOKENS, spans_of(pool)) == 5
    assert same(store.get_batch(TOKENS), pages)


# what is no page


def ok():
    return torch.zeros(2, 3, dtype=torch.int8)


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        ([ok(), torch.zeros(3, 2, dtype=torch.int8)], r"pages\[1\]: shape \[3, 2\], expected \[2, 3\]"),
        ([ok(), ok()[None]], r"pages\[1\]: shape \[1, 2, 3\], expected \[2, 3\]"),
        ([ok(), ok().float()], r"pages\[1\]: dtype torch.float32, expected torch.int8"),
        ([ok(), None], r"pages\[1\]: expected a tensor, got NoneType"),
        ([ok(), b"123456"], r"pages\[1\]: expected a tensor, got bytes"),
        ([ok(), ok().to("meta")], r"pages\[1\]: .* has no bytes"),
        ([ok(), ok().to_sparse()], r"pages\[1\]: .* has no bytes"),
        (ok(), r"pages: shape \[2, 3\], expected \[n, 2, 3\]"),
        (torch.zeros(2, 2, 3), r"pages: dtype torch.float32, expected torch.int8"),
        (torch.tensor(1, dtype=torch.int8), r"pages: shape \[\], expected \[n, 2, 3\]"),
        (np.zeros((2, 2, 3), np.int8), r"pages: expected a sequence of tensors .* got ndarray"),
        (b"123456", r"pages: expected .* got bytes"),
        (None, r"pages: expected .* got NoneType"),
        (iter([ok()]), r"pages: expected .* got list_iterator"),
        (PageSpans(np.array([[4096]]), np.array([5]), None), r"spans have 5 bytes, a page has 6"),
        ([ok()] * 9, r"pages 0\.\.8 given, but the tokens cover only 8 whole pages"),
    ],
)
def test_what_is_no_page_is_refused_and_nothing_stored(reopen, pages, told):
    store = reopen()
    with pytest.raises(InvalidArgumentError, match=told):
        store.put_batch(TOKENS, pages)
    if pages is not None and told.startswith("pages:"):
        with pytest.raises(InvalidArgumentError, match=told.replace("pages", "out", 1)):
            store.get_batch(TOKENS, out=pages)
    assert store.probe(TOKENS) == 0
    assert store.put_batch(TOKENS, [ok()]) == 1


@pytest.mark.parametrize("first", [-1, 1.0, "0", None, True])
def test_first_page_is_a_count(reopen, first):
    store = reopen()
    for call in (lambda: store.put_batch(TOKENS, [ok()], first), lambda: store.get_batch(TOKENS, first)):
        with pytest.raises(InvalidArgumentError, match="first_page"):
            call()


def test_pages_beyond_the_tokens_are_refused(reopen):
    with pytest.raises(InvalidArgumentError, match=r"pages 8\.\.8 given"):
        reopen().put_batch(TOKENS, [ok()], first_page=8)


def test_bad_tokens_are_refused_everywhere(reopen):
    store = reopen()
    for call in (store.probe, store.get_batch, store.drop, lambda t: store.put_batch(t, [ok()])):
        with pytest.raises(InvalidArgumentError, match=r"tokens\[1\] = -5"):
            call([3, -5])


def test_a_closed_store_says_so(reopen, pages_of):
    store = reopen()
    store.close()
    store.close()
    calls = [
        lambda: store.probe(TOKENS),
        lambda: store.probe([]),
        lambda: store.put_batch(TOKENS, pages_of(TOKENS)),
        lambda: store.get_batch(TOKENS),
        lambda: store.drop(TOKENS),
        store.sync,
        store.stats,
        store.gc,
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()
