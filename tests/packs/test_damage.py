"""A damaged pack gives what is sound in it and tells the rest; a wrong page never comes of it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsmkv_tensor import LivePages, export_pack, import_pack
from lsmkv_tensor.errors import LsmError
from lsmkv_tensor.packs.layout import ITEM_BYTES
from tests.packs.conftest import PACK, Machine, data, flat

PAGES = 12
SIZE = 3000


@pytest.fixture(scope="module")
def whole():
    """The bytes of a pack."""
    machine = Machine()
    with machine.pages() as pages:
        ns = pages.namespace({"e": 1}, SIZE, name="e")
        ns.put_many([flat(i) for i in range(PAGES)], [data(i) for i in range(PAGES)], records={b"r": b"v"})
        export_pack(LivePages(ns), PACK, fs=machine.fs)
    return machine.fs.open(PACK).pread(1 << 30, 0)


def imported(raw: bytes):
    """The report, and the pages delivered by number; None if the pack was refused."""
    machine = Machine()
    machine.fs.open(PACK, "create").pwritev([raw], 0)
    with machine.pages() as pages:
        report = None
        with contextlib.suppress(LsmError):
            report = import_pack(pages, PACK, fs=machine.fs)
        if report is None:
            assert pages.stats().pages == 0
            return None, set()
        ns = pages.namespace({"e": 1}, SIZE)
        out = [bytearray(SIZE) for _ in range(PAGES)]
        flags = ns.get_into([flat(i) for i in range(PAGES)], out)
        there = {i for i, flag in enumerate(flags) if flag}
        assert all(out[i] == data(i) for i in there), "wrong bytes"
        assert pages.stats().pages == len(there) == report.pages
    return report, there


def test_a_sound_one_gives_everything(whole):
    report, there = imported(whole)
    assert report.ok
    assert report.problems == []
    assert there == set(range(PAGES))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_its_item_only(whole, at, bit):
    raw = bytearray(whole)
    raw[int(at * len(raw))] ^= 1 << bit
    report, there = imported(bytes(raw))
    if report is None:
        assert at * len(raw) < len(whole) - PAGES * (SIZE + ITEM_BYTES), "only a damaged header refuses all of it"
        return
    assert not report.ok
    assert len(there) >= PAGES - 1
    assert report.damaged == 1 or not report.complete
    assert report.problems


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1, exclude_max=True))
def test_one_that_was_cut_short_is_never_whole(whole, cut):
    report, there = imported(whole[: int(cut * len(whole))])
    if report is not None:
        assert not report.complete
        assert not report.ok
        assert there == set(range(len(there)))


@pytest.mark.parametrize("first", [1, 5, PAGES - 1])
def test_a_missing_repeated_or_moved_item_is_told(whole, first):
    start = len(whole) - ITEM_BYTES - PAGES * (SIZE + ITEM_BYTES)
    step = SIZE + ITEM_BYTES
    items = [whole[start + i * step : start + (i + 1) * step] for i in range(PAGES)]
    head, end = whole[:start], whole[-ITEM_BYTES:]
    assert b"".join([head, *items, end]) == whole
    missing = [*items[:first], *items[first + 1 :]]
    report, there = imported(b"".join([head, *missing, end]))
    assert (report.damaged, report.complete, there) == (1, True, set(range(PAGES)) - {first})
    report, there = imported(b"".join([head, *items[: first + 1], items[first], *items[first + 1 :], end]))
    assert report.damaged
    assert there == set(range(PAGES))
    report, there = imported(b"".join([head, items[first], *missing, end]))
    assert report.damaged
    assert there == set(range(PAGES))


def test_garbage_between_items_is_passed_over(whole):
    start = len(whole) - ITEM_BYTES - 3 * (SIZE + ITEM_BYTES)
    report, there = imported(whole[:start] + b"LKPP" * 1000 + whole[start:])
    assert there == set(range(PAGES))
    assert report.complete
    assert len(report.problems) == 1
    assert not report.damaged


def test_items_of_another_namespace_are_none(whole):
    other = Machine()
    with other.pages() as pages:
        ns = pages.namespace({"e": 2}, SIZE, name="e")
        ns.put_many([flat(i) for i in range(PAGES)], [data(100 + i) for i in range(PAGES)])
        export_pack(LivePages(ns), PACK, fs=other.fs)
    foreign = other.fs.open(PACK).pread(1 << 30, 0)
    start = len(whole) - ITEM_BYTES - PAGES * (SIZE + ITEM_BYTES)
    report, there = imported(whole[:start] + foreign[-(ITEM_BYTES + PAGES * (SIZE + ITEM_BYTES)) :])
    assert there == set()
    assert not report.complete
