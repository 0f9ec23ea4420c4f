"""The power fails at every call of an export and of an import: no half pack passes for whole, no store is spoilt."""

from __future__ import annotations

import contextlib
import errno

import pytest

from lsmkv.env.rng import seeded
from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor import LivePages, export_pack, import_pack
from lsmkv_tensor.errors import IOFailedError, LsmError, NoSpaceError
from tests.packs.conftest import PACK, Machine, data, flat, tensors_of, tokens_of
from tests.power import PowerOff

TOKENS = tokens_of(1)
PAGES = 40


def filled(fs=None):
    machine = Machine(fs)
    with machine.pages() as pages:
        ns = pages.namespace({"e": 1}, 3000, name="e")
        ns.put_many([flat(i) for i in range(PAGES)], [data(i) for i in range(PAGES)])
    return machine


@pytest.mark.parametrize("before", [False, True])
def test_a_half_pack_never_has_the_name_of_a_whole_one(before):
    at = finished = 0
    while not finished:
        at += 1
        for seed in (None, at):
            machine = filled()
            with machine.pages() as pages:
                ns = pages.namespace({"e": 1}, 3000)
                if before:
                    export_pack(LivePages(ns), PACK, keys=[flat(1)], fs=machine.fs)
                cut = PowerOff(machine.fs, at)
                with contextlib.suppress(LsmError, OSError):
                    export_pack(LivePages(ns), PACK, fs=machine.fs, overwrite=True)
                finished = cut.count < at
                machine.fs.on_op = None
            machine.fs = machine.fs.crash(None if seed is None else seeded(seed))
            names = machine.fs.listdir("/packs")
            assert set(names) <= {"one.pack", "one.pack.tmp"}
            if before or finished:
                assert "one.pack" in names
            with machine.pages() as pages:
                if "one.pack" in names:
                    report = import_pack(pages, PACK, fs=machine.fs)
                    assert report.ok
                    assert report.present in ((1, PAGES) if before else (PAGES,))
                    assert not finished or report.present == PAGES
                ns = pages.namespace({"e": 1}, 3000)
                assert export_pack(LivePages(ns), PACK, fs=machine.fs, overwrite=True).pages == PAGES
            assert machine.fs.listdir("/packs") == ["one.pack"], "what a crash left is cleared away by the next"
    assert at > 5


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_export_leaves_nothing(stop):
    machine = filled()
    with machine.pages() as pages:

        def interrupt(_):
            raise stop

        with pytest.raises(stop):
            export_pack(LivePages(pages.namespace({"e": 1}, 3000)), PACK, fs=machine.fs, progress=interrupt)
    assert machine.fs.listdir("/packs") == []


@pytest.mark.parametrize("op", ["open", "pwritev", "sync", "rename", "sync_dir"])
def test_a_disk_that_refuses_leaves_nothing_and_is_told(op):
    machine = filled(FaultFileSystem(MemoryFileSystem()))
    with machine.pages() as pages:
        source = LivePages(pages.namespace({"e": 1}, 3000))
        for code, error in ((errno.ENOSPC, NoSpaceError), (errno.EIO, IOFailedError)):
            rule = machine.fs.add(FailOp(op, path="/packs*", errno=code))
            with pytest.raises(error, match="writing a pack"):
                export_pack(source, PACK, fs=machine.fs, overwrite=True)
            machine.fs.remove(rule)
            if op != "sync_dir":
                assert machine.fs.listdir("/packs") == []
        assert export_pack(source, PACK, fs=machine.fs, overwrite=True).pages == PAGES


def test_an_import_cut_off_anywhere_leaves_a_sound_store_and_can_be_repeated():
    origin = Machine()
    with origin.tensors() as store:
        store.put_batch(TOKENS, tensors_of(TOKENS))
        store.export_pack(PACK, [TOKENS], fs=origin.fs)
    expected = tensors_of(TOKENS)
    at = finished = 0
    while not finished:
        at += 1
        for seed in (None, at):
            machine = Machine()
            origin.copy_to(machine)
            with machine.tensors() as store:
                cut = PowerOff(machine.fs, at)
                with contextlib.suppress(LsmError, OSError):
                    store.import_pack(PACK, fs=machine.fs)
                finished = cut.count < at
                machine.fs.on_op = None
                crashed = machine.fs.crash(None if seed is None else seeded(seed))
                with contextlib.suppress(LsmError, OSError):
                    store.close()
            machine.fs = crashed
            with machine.tensors() as store:
                there = store.get_batch(TOKENS)
                assert not finished or len(there) == 80
                assert all((a == b).all() for a, b in zip(there, expected, strict=False))
                assert store.stats().pages == len(list(store._namespace.keys()))
                report = store.import_pack(PACK, fs=machine.fs)
                assert report.ok
                assert report.pages + report.present == 80
                assert len(store.get_batch(TOKENS)) == 80
                assert store.drop(TOKENS[:2]) == 80
                assert store.stats().pages == 0
    assert at > 5


def test_a_pack_that_cannot_be_read_is_told():
    machine = filled(FaultFileSystem(MemoryFileSystem()))
    with machine.pages() as pages:
        export_pack(LivePages(pages.namespace({"e": 1}, 3000)), PACK, fs=machine.fs)
        machine.fs.add(FailOp("pread", path=PACK, errno=errno.EIO, nth=3))
        with pytest.raises(IOFailedError, match="reading a pack"):
            import_pack(pages, PACK, fs=machine.fs)
