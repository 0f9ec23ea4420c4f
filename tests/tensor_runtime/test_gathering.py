"""Copying pages out of the caller's memory: whatever way their spans lie in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv_tensor.runtime.gathering import FEW_SPANS, SHORT_BYTES, gather_pages

SPAN = SHORT_BYTES // 4


@st.composite
def layouts(draw):
    """Lengths of a page's spans, and where each span of each page begins in one stretch of memory."""
    lengths = draw(st.lists(st.sampled_from([1, 100, SPAN, SPAN + 1]), min_size=1, max_size=FEW_SPANS + 1))
    if draw(st.booleans()):
        lengths = [draw(st.sampled_from([SPAN, SPAN + 1]))] * len(lengths)
    pages = draw(st.integers(1, 12))
    apart = draw(st.sampled_from(["pages", "spans"]))
    order = draw(st.one_of(st.just(list(range(pages))), st.permutations(range(pages))))
    if draw(st.booleans()):  # some page twice
        order = [*order, draw(st.sampled_from(order))]
    gap = draw(st.sampled_from([0, 0, 7]))
    page = sum(lengths) + gap
    before = np.cumsum([0, *lengths[:-1]])
    if apart == "pages":
        return lengths, [[int(slot * page + at) for at in before] for slot in order]
    return lengths, [[int(at * pages + slot * (n + gap)) for at, n in zip(before, lengths, strict=True)] for slot in order]


@given(layouts(), st.sampled_from([0, 0, 96]), st.booleans())
def test_pages_are_copied_to_their_places(layout, spare, frozen):
    lengths, pages = layout
    size, most = sum(lengths), max(map(max, pages)) + max(lengths)
    source = np.random.default_rng(size).integers(0, 256, most, np.uint8)
    view = memoryview(source.tobytes() if frozen else source)
    spans = [[view[at : at + n] for at, n in zip(page, lengths, strict=True)] for page in pages]
    into = np.full(len(pages) * (size + spare), 7, np.uint8)
    gather_pages(spans, into)
    places = into.reshape(len(pages), size + spare)
    for place, page in zip(places, spans, strict=True):
        assert place[:size].tobytes() == b"".join(page)
        assert (place[size:] == 7).all()


@pytest.mark.parametrize("spans", [1, 2, 3])
def test_pages_in_order_are_one_copy(spans, monkeypatch):
    """Each copy lets go of the interpreter, and a thread that never waits keeps it for 5 ms."""
    copies = []
    copyto = np.copyto
    monkeypatch.setattr(np, "copyto", lambda *args: (copies.append(1), copyto(*args)))
    source = np.random.default_rng(1).integers(0, 256, (spans, 8, SPAN), np.uint8)
    into = np.zeros(8 * spans * SPAN, np.uint8)
    gather_pages([[memoryview(source[span, page]) for span in range(spans)] for page in range(8)], into)
    assert into.tobytes() == source.transpose(1, 0, 2).tobytes()
    assert len(copies) == 1


def test_no_pages_are_nothing():
    into = np.zeros(0, np.uint8)
    gather_pages([], into)


@pytest.mark.parametrize("at", [[0, 1, 2], [2, 1, 0], [0, 1, 3], [3, 0, 1], [0, 2, 1], [1, 1, 1], [0, 0, 2]])
@pytest.mark.parametrize("pages", [2, 7])
def test_spans_of_a_page_may_lie_in_any_order_and_at_any_distance(at, pages):
    source = np.random.default_rng(3).integers(0, 256, (pages, 4, SPAN), np.uint8)
    into = np.zeros(pages * 3 * SPAN, np.uint8)
    gather_pages([[memoryview(source[page, span]) for span in at] for page in range(pages)], into)
    assert into.tobytes() == source[:, at].tobytes()
