"""Packs of a namespace whose keys are an engine's own: everything, or the keys that are asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lsmkv.testing import ManualClock
from lsmkv_tensor import LivePages, PageStore, export_pack, import_pack
from lsmkv_tensor.errors import CorruptionError, FormatTooNewError, InvalidArgumentError, IOFailedError
from lsmkv_tensor.packs.layout import PACK_VERSION
from tests.packs.conftest import PACK, data, flat


@pytest.fixture
def filled(machine):
    with machine.pages() as pages:
        ns = pages.namespace({"engine": "e"}, 3000, name="engine", codec="shuffle_zstd")
        keys = [flat(i) for i in range(1, 51)]
        ns.put_many(keys, [data(i) if i % 2 else bytes([i]) * 3000 for i in range(1, 51)], [None, *keys[:-1]])
        pages.namespace({"engine": "f"}, 3000).put_many([flat(1)], [data(99)])
        ns.write_records({b"note": b"mine"})
    return machine


def engine(pages):
    return pages.namespace({"engine": "e"}, 3000)


@pytest.mark.parametrize("keys", [None, [1, 2, 50, 77]])
def test_pages_parents_and_records_come_along(filled, machines, keys):
    there = machines()
    with filled.pages() as pages:
        chosen = None if keys is None else [flat(i) for i in keys]
        report = export_pack(LivePages(engine(pages)), PACK, keys=chosen, fs=filled.fs)
        assert (report.pages, report.missing, report.records) == ((50, 0, 1) if keys is None else (3, 1, 0))
    filled.copy_to(there)
    with there.pages() as pages:
        got = import_pack(pages, PACK, fs=there.fs)
        assert got.ok
        assert got.names == ("engine",)
        (info,) = pages.namespaces()
        assert info.names == ("engine",)
        assert info.digest == got.digest
        ns = engine(pages)
        expected = list(range(1, 51)) if keys is None else [1, 2, 50]
        assert list(ns.keys()) == [flat(i) for i in expected]
        out = bytearray(3000)
        for i in expected:
            assert ns.get_into([flat(i)], [out]) == [True]
            assert out == (data(i) if i % 2 else bytes([i]) * 3000)
        assert ns.parents([flat(50), flat(1)]) == [flat(49), None]
        assert dict(ns.records()) == ({b"note": b"mine"} if keys is None else {})


def test_a_store_that_is_too_small_keeps_what_it_can_and_says_so(filled, machines):
    with filled.pages() as pages:
        ns = engine(pages)
        for start in range(100, 700, 50):
            ns.put_many([flat(i) for i in range(start, start + 50)], [data(i) for i in range(start, start + 50)])
        export_pack(LivePages(ns), PACK, fs=filled.fs)
    there = machines()
    filled.copy_to(there)
    with there.pages(segments=4) as pages:
        got = import_pack(pages, PACK, fs=there.fs)
        assert got.complete
        assert got.pages + got.declined == 650
        stats = pages.stats()
        assert 0 < stats.pages < 650
        assert there.fs.total_bytes("/store") <= stats.capacity_bytes


def test_prefixes_are_refused_where_keys_are_an_engines_own(filled):
    with filled.pages() as pages:
        source = LivePages(engine(pages))
        with pytest.raises(InvalidArgumentError, match="page keys, not tokens"):
            export_pack(source, PACK, prefixes=[[1, 2, 3]], fs=filled.fs)
        with pytest.raises(InvalidArgumentError, match="one of them"):
            export_pack(source, PACK, prefixes=[[1]], keys=[flat(1)], fs=filled.fs)
    assert filled.fs.listdir("/packs") == []


def test_what_is_no_pack_is_refused_and_changes_nothing(filled):
    with filled.pages() as pages:
        export_pack(LivePages(engine(pages)), PACK, fs=filled.fs)
    whole = filled.fs.open(PACK).pread(1 << 30, 0)
    newer = whole[:8] + (PACK_VERSION + 1).to_bytes(4, "little") + whole[12:]
    for wrong, error in (
        (b"", CorruptionError),
        (b"x" * 500, CorruptionError),
        (whole[:70], CorruptionError),
        (newer, FormatTooNewError),
    ):
        filled.fs.unlink(PACK)
        filled.fs.open(PACK, "create").pwritev([wrong], 0)
        with filled.pages() as pages:
            before = pages.stats()
            with pytest.raises(error):
                import_pack(pages, PACK, fs=filled.fs)
            assert pages.stats().pages == before.pages
    with filled.pages() as pages, pytest.raises(IOFailedError, match="opening a pack"):
        import_pack(pages, "/packs/nothing", fs=filled.fs)


def test_imported_pages_end_when_they_are_told_to(filled, machines):
    with filled.pages() as pages:
        export_pack(LivePages(engine(pages)), PACK, fs=filled.fs)
    there = machines()
    filled.copy_to(there)
    clock = ManualClock()
    with there.pages(clock=clock) as pages:
        assert import_pack(pages, PACK, fs=there.fs, ttl_s=120).ok
        assert engine(pages).contains_prefix([flat(i) for i in range(1, 51)]) == 50
        clock.advance(300)
        assert not engine(pages).contains([flat(i) for i in range(1, 51)]).any()
        assert import_pack(pages, PACK, fs=there.fs).pages == 50, "what has ended is no longer there, so it comes again"
        clock.advance(10**6)
        assert engine(pages).contains_prefix([flat(i) for i in range(1, 51)]) == 50


def test_pages_that_wait_to_be_written_are_exported_too(machine):
    queued = replace(machine.options(), put_queue_bytes=1 << 20)
    with PageStore.open("/store", options=queued) as pages:
        ns = engine(pages)
        assert ns.put_many([flat(i) for i in range(5)], [data(i) for i in range(5)]) == [True] * 5
        assert pages.stats().queued_pages == 5, "nobody has written them yet"
        report = export_pack(LivePages(ns), PACK, fs=machine.fs)
    assert (report.pages, report.missing) == (5, 0)
