"""The caller's memory as bytes: what is accepted, what is refused, and whose bytes they are."""

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.spans import PageSpans, page_views


def pool(pages, sizes, gap=0):
    """Memory for pages of spans of these sizes, each span followed by a gap, and its PageSpans."""
    stride = sum(sizes) + gap * len(sizes)
    memory = np.arange(pages * stride, dtype=np.uint64).astype(np.uint8)
    starts = np.cumsum([0, *sizes[:-1]]) + gap * np.arange(len(sizes))
    base = memory.__array_interface__["data"][0]
    addresses = base + stride * np.arange(pages)[:, None] + starts[None, :]
    return memory, PageSpans(addresses.astype(np.uint64), np.array(sizes), memory)


def as_bytes(pages):
    return [b"".join(views) for views in pages]


@given(st.integers(1, 5), st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 3))
def test_page_spans_are_the_bytes_at_their_addresses_in_order(pages, sizes, gap):
    memory, spans = pool(pages, sizes, gap)
    rows = memory.reshape(pages, -1)
    expected = []
    for row in rows:
        at, page = 0, b""
        for size in sizes:
            page += row[at : at + size].tobytes()
            at += size + gap
        expected.append(page)
    assert as_bytes(page_views(spans, pages, sum(sizes))) == expected


def test_spans_that_touch_become_one_view_and_others_do_not():
    assert [len(v) for v in page_views(pool(3, [4, 8])[1], 3, 12)] == [1, 1, 1]
    assert [len(v) for v in page_views(pool(3, [4, 8], gap=1)[1], 3, 12)] == [2, 2, 2]


def test_spans_in_any_order_are_taken_in_the_order_given():
    memory, spans = pool(1, [3, 3])
    turned = PageSpans(spans.addresses[:, ::-1], spans.sizes, memory)
    assert as_bytes(page_views(turned, 1, 6)) == [bytes([3, 4, 5, 0, 1, 2])]


def test_writing_into_a_view_writes_the_callers_memory():
    memory, spans = pool(2, [4, 4], gap=2)
    page_views(spans, 2, 8, writable=True)[1][1][:] = b"wxyz"
    assert memory[18:22].tobytes() == b"wxyz"


def test_views_keep_the_owner_alive():
    class Owner:
        pass

    _memory, spans = pool(1, [4])
    owner = Owner()
    alive = weakref.ref(owner)
    views = page_views(PageSpans(spans.addresses, spans.sizes, owner), 1, 4)
    del owner, spans
    gc.collect()
    assert alive() is not None
    del views
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("addresses", "sizes", "told"),
    [
        ([[1, 2]], [4], "2 spans a page, sizes have 1"),
        ([[4096, 0]], [4, 4], r"addresses\[0, 1\] is null"),
        ([[4096]], [0], r"sizes\[0\] = 0"),
        ([[4096]], [-8], "negative entry, -8"),
        ([4096], [4], "2 dimension"),
        ([[4096.0]], [4], "integers"),
        (np.empty((2, 0), np.uint64), [], "at least one span"),
        (np.array([[2**63]], np.uint64), [8], "address space"),
    ],
)
def test_addresses_that_cannot_be_memory_are_refused(addresses, sizes, told):
    with pytest.raises(InvalidArgumentError, match=told):
        PageSpans(addresses, sizes, None)


@pytest.mark.parametrize("wrap", [lambda owner: owner, lambda owner: [np.zeros(4), owner], lambda owner: (owner,)])
def test_an_owner_on_another_device_is_refused(wrap):
    """Its addresses are not of this machine's memory: to look there ends the process."""
    owner = torch.empty(4, device="meta")
    with pytest.raises(InvalidArgumentError, match="owner is a tensor on meta: bring it to the CPU"):
        PageSpans([[4096]], [4], wrap(owner))


@pytest.mark.parametrize("addresses", [torch.ones(1, 1, dtype=torch.int64, device="meta"), [[4096], [4096, 5000]]])
def test_addresses_that_are_no_array_are_refused(addresses):
    with pytest.raises(InvalidArgumentError, match="addresses must be integers of 2 dimension"):
        PageSpans(addresses, [4], None)


def test_no_pages_of_spans_are_no_views():
    assert page_views(PageSpans(np.empty((0, 2), np.uint64), np.array([4, 4]), None), 0, 8) == []


@pytest.mark.parametrize(
    "page",
    [
        b"12345678",
        bytearray(b"12345678"),
        memoryview(b"12345678"),
        np.frombuffer(b"12345678", np.uint8),
        np.frombuffer(b"12345678", ">u2").reshape(2, 2),
        np.frombuffer(b"12345678", np.float64).reshape(()),
        torch.tensor(list(b"12345678"), dtype=torch.uint8).view(torch.bfloat16),
        torch.tensor(list(b"12345678"), dtype=torch.uint8).view(torch.float8_e4m3fn).reshape(2, 4),
        [b"123", bytearray(b"45678")],
        (b"", b"12345678"),
    ],
    ids=lambda page: type(page).__name__,
)
def test_every_kind_of_buffer_gives_its_bytes(page):
    assert as_bytes(page_views([page, page], 2, 8)) == [b"12345678"] * 2


@pytest.mark.parametrize("make", [lambda: np.zeros((3, 8), np.uint8), lambda: torch.zeros(3, 2, 2, dtype=torch.float16)])
def test_one_array_or_tensor_holds_all_pages(make):
    memory = make()
    for i, (view,) in enumerate(page_views(memory, 3, 8, writable=True)):
        view[:] = bytes([i]) * 8
    flat = memory.view(torch.uint8).numpy() if isinstance(memory, torch.Tensor) else memory
    assert flat.tobytes() == bytes([0] * 8 + [1] * 8 + [2] * 8)


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (b"1234567", "page 1: has 7 bytes, a page has 8"),
        ([b"1234", b"56789"], "page 1: has 9 bytes, a page has 8"),
        (np.zeros((4, 4), np.uint8)[:, ::2], "page 1: its array is not C-contiguous"),
        (torch.zeros(4, 4, dtype=torch.uint8)[:, ::2], "page 1: its tensor is not contiguous"),
        (torch.zeros(8, dtype=torch.uint8, device="meta"), "page 1: its tensor is on meta"),
        (memoryview(bytearray(16))[::2], "page 1: its memoryview is not contiguous"),
        (np.array([None]), "page 1: an array of Python objects"),
        ("12345678", "page 1: str is neither"),
        (12345678, "page 1: int is neither"),
    ],
)
def test_a_buffer_that_is_no_page_is_named(page, told):
    with pytest.raises(InvalidArgumentError, match=told):
        page_views([bytes(8), page], 2, 8)


@pytest.mark.parametrize("page", [b"12345678", np.frombuffer(b"12345678", np.uint8), [bytearray(4), bytes(4)]])
def test_read_only_memory_cannot_be_read_into(page):
    page_views([page], 1, 8)
    with pytest.raises(InvalidArgumentError, match=r"page 0: .* read-only"):
        page_views([page], 1, 8, writable=True)


@pytest.mark.parametrize("buffers", [[], [bytes(8)] * 3, np.zeros((1, 16), np.uint8), pool(3, [8])[1]])
def test_one_buffer_per_key(buffers):
    with pytest.raises(InvalidArgumentError, match=r"pages.* for 2 keys"):
        page_views(buffers, 2, 8)


@pytest.mark.parametrize("buffers", [b"0123456789abcdef", "two pages", None, 16])
def test_something_that_is_no_sequence_of_pages_is_refused(buffers):
    with pytest.raises(InvalidArgumentError, match="sequence of 2 pages"):
        page_views(buffers, 2, 8)


def test_spans_and_arrays_of_another_page_size_are_refused():
    with pytest.raises(InvalidArgumentError, match="spans have 12 bytes, a page has 8"):
        page_views(pool(2, [4, 8])[1], 2, 8)
    with pytest.raises(InvalidArgumentError, match="has 16 bytes, a page has 8"):
        page_views(np.zeros((2, 16), np.uint8), 2, 8)


def test_one_page_given_as_one_view_is_that_view_and_checked_as_any_other():
    page = bytearray(8)
    assert page_views([memoryview(page)], 1, 8, writable=True)[0][0].obj is page
    for wrong, why in (
        (memoryview(bytes(8)), "read"),
        (memoryview(page)[:7], "7 bytes"),
        (memoryview(bytearray(16))[::2], "contiguous"),
    ):
        with pytest.raises(InvalidArgumentError, match=why):
            page_views([wrong], 1, 8, writable=True)
