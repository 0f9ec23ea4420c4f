"""Pages of a pack end when they would have where they come from."""

from __future__ import annotations

import pytest
from xxhash import xxh3_64_intdigest

from lsmkv.testing import ManualClock
from lsmkv_tensor import LivePages, export_pack, import_pack
from lsmkv_tensor.packs.layout import ITEM_BYTES, PAGE, Item, pack_item, unpack_item
from tests.packs.conftest import PACK, data, flat

KEYS = [flat(i) for i in range(4)]
START = 1_800_000_000.0


def engine(pages, **terms):
    return pages.namespace({"engine": "e"}, 3000, name="engine", **terms)


@pytest.fixture
def ending(machine):
    """A pack of pages 0 and 1, which end in two minutes, 2 in an hour, and 3, which does not."""
    with machine.pages(clock=ManualClock(wall=START)) as pages:
        ns = engine(pages)
        ns.put_many(KEYS[:2], [data(0), data(1)], ttl_s=120)
        ns.put_many(KEYS[2:3], [data(2)], ttl_s=3600)
        ns.put_many(KEYS[3:], [data(3)])
        assert export_pack(LivePages(ns), PACK, fs=machine.fs).pages == 4
    return machine


def imported(ending, machines, later_s, **terms):
    there = machines()
    ending.copy_to(there)
    clock = ManualClock(wall=START + later_s)
    pages = there.pages(clock=clock)
    return clock, pages, import_pack(pages, PACK, fs=there.fs, **terms)


def test_they_end_on_time_elsewhere(ending, machines):
    clock, pages, report = imported(ending, machines, 30)
    with pages:
        assert report.ok
        assert (report.pages, report.ended) == (4, 0)
        ns = engine(pages)
        assert ns.contains(KEYS).tolist() == [True] * 4
        clock.advance(150)
        assert ns.contains(KEYS).tolist() == [False, False, True, True]
        clock.advance(3600)
        assert ns.contains(KEYS).tolist() == [False, False, False, True]


def test_they_still_end_after_a_restart(ending, machines):
    there = machines()
    ending.copy_to(there)
    clock = ManualClock(wall=START)
    with there.pages(clock=clock) as pages:
        import_pack(pages, PACK, fs=there.fs)
    clock.advance(7200)
    with there.pages(clock=clock) as pages:
        assert engine(pages).contains(KEYS).tolist() == [False, False, False, True]


def test_what_has_ended_is_left_out_and_counted(ending, machines):
    _, pages, report = imported(ending, machines, 300)
    with pages:
        assert report.ok
        assert (report.pages, report.ended, report.declined) == (2, 2, 0)
        assert engine(pages).contains(KEYS).tolist() == [False, False, True, True]


def test_an_import_says_when_they_end_instead(ending, machines):
    clock, pages, report = imported(ending, machines, 300, ttl_s=600)
    with pages:
        assert (report.pages, report.ended) == (4, 0)
        ns = engine(pages)
        assert ns.contains(KEYS).all()
        clock.advance(700)
        assert not ns.contains(KEYS).any()


def test_packs_of_the_first_version_are_read(ending, machines):
    file = ending.fs.open(PACK, "rw")
    whole = bytearray(file.pread(1 << 20, 0))
    whole[8:12] = (1).to_bytes(4, "little")
    whole[56:64] = bytes(8)
    texts = 64 + int.from_bytes(whole[12:16], "little") + int.from_bytes(whole[16:20], "little")
    whole[56:64] = xxh3_64_intdigest(bytes(whole[:texts])).to_bytes(8, "little")
    file.pwritev([whole], 0)
    _, pages, report = imported(ending, machines, 0)
    with pages:
        assert (report.ok, report.pages) == (True, 4)


def test_an_item_of_the_first_version_does_not_end():
    item = Item(PAGE, 7, 3, flat(1), flat(2), 2, 99)
    raw = pack_item(item, b"d" * 32)
    assert raw[72:80] == bytes([2, *[0] * 7])
    assert len(raw) == ITEM_BYTES
    assert unpack_item(raw, b"d" * 32) == item
    ending = item._replace(end=0xABCDEF)
    assert unpack_item(pack_item(ending, b"d" * 32), b"d" * 32) == ending
