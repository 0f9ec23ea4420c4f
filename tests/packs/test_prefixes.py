"""Prefixes of a tensor store travel: what was exported is there after an import, to be read, continued and dropped."""

from __future__ import annotations

import pytest
import torch

from lsmkv.testing.faults import FaultFileSystem, FlipByte
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor import NamespaceMismatchError, PageFormat, import_pack
from lsmkv_tensor.errors import InvalidArgumentError
from tests.packs.conftest import FMT, PACK, tensors_of, tokens_of

A, B, C = (tokens_of(i) for i in (1, 2, 3))


@pytest.fixture
def filled(machine):
    """Three prompts that share 60 pages, the last of which reach a second group."""
    with machine.tensors() as store:
        for tokens in (A, B, C):
            store.put_batch(tokens, tensors_of(tokens))
    return machine


@pytest.mark.parametrize("codec", ["raw", "shuffle_zstd"])
@pytest.mark.parametrize("prefixes", [[A], [A, B], None])
def test_what_was_exported_is_there(machines, codec, prefixes):
    here, there = machines(), machines()
    with here.tensors(codec=codec) as store:
        for tokens in (A, B, C):
            store.put_batch(tokens, tensors_of(tokens))
        told = []
        report = store.export_pack(PACK, prefixes, fs=here.fs, progress=told.append)
    pages = 80 + 20 * (2 if prefixes is None else len(prefixes) - 1)
    assert (report.pages, report.missing, sum(told)) == (pages, 0, pages)
    assert report.bytes == here.fs.size(PACK)
    here.copy_to(there)
    with there.tensors() as store:
        told = []
        got = store.import_pack(PACK, fs=there.fs, progress=told.append)
        assert got.ok
        assert (got.pages, got.present, got.declined, got.damaged) == (pages, 0, 0, 0)
        assert got.records == report.records
        assert got.bytes == report.payload_bytes
        assert 0 < sum(told) <= report.bytes
        for tokens in prefixes or (A, B, C):
            assert store.probe(tokens) == 160
            assert torch.equal(torch.stack(store.get_batch(tokens)), tensors_of(tokens))
        assert store.probe(C) == (160 if prefixes is None else 120)
        again = store.import_pack(PACK, fs=there.fs)
        assert again.ok
        assert (again.pages, again.present) == (0, pages)
        assert store.stats().pages == pages


def test_an_import_is_durable(filled, machines):
    there = machines()
    with filled.tensors() as store:
        store.export_pack(PACK, [A], fs=filled.fs)
    filled.copy_to(there)
    with there.tensors() as store:
        store.import_pack(PACK, fs=there.fs)
        there.fs = there.fs.crash()
    with there.tensors() as store:
        assert torch.equal(torch.stack(store.get_batch(A)), tensors_of(A))


@pytest.mark.parametrize("before", [None, B, A[:100]])
def test_trails_come_with_them_so_that_a_drop_finds_everything(filled, machines, before):
    there = machines()
    with filled.tensors() as store:
        store.export_pack(PACK, [A, C[:140]], fs=filled.fs)
    filled.copy_to(there)
    with there.tensors() as store:
        if before is not None:
            store.put_batch(before, tensors_of(before))
        assert store.import_pack(PACK, fs=there.fs).ok
        longer = [*A, 7, 7]
        assert store.put_batch(longer, tensors_of(longer)[80:], first_page=80) == 1
        held = store.stats().pages
        assert store.drop(A[:2]) == held
        assert store.stats().pages == 0
        assert store.probe(A) == store.probe(B) == store.probe(C) == 0
        store.gc()
        assert list(store._namespace.records()) == []


def test_only_the_unbroken_prefix_goes(filled):
    with filled.tensors() as store:
        keys = store._keys(A)
        store._namespace.delete_many([keys[30]])
        report = store.export_pack(PACK, [A, [1, 2, 3]], fs=filled.fs)
        assert report.pages == 30
        assert store.export_pack("/packs/none", [[9, 9]], fs=filled.fs).pages == 0


def test_a_pack_of_another_format_or_tenant_is_refused(filled, machines):
    with filled.tensors() as store:
        store.export_pack(PACK, [A], fs=filled.fs)
    there = machines()
    filled.copy_to(there)
    other = PageFormat(page_tokens=2, shape=(2, 256), dtype=torch.bfloat16)
    for more in ({"fmt": other}, {"salt": "tenant"}, {"codec": "int8"}, {"namespace": "other"}):
        store = machines()
        filled.copy_to(store)
        with store.tensors(**more) as tensors:
            with pytest.raises(InvalidArgumentError, match="another namespace"):
                tensors.import_pack(PACK, fs=store.fs)
            assert tensors.stats().namespaces == 1
    with there.tensors(fmt=other):
        pass
    with there.pages() as pages, pytest.raises(NamespaceMismatchError, match="shape"):
        import_pack(pages, PACK, fs=there.fs)


def test_an_existing_file_stays(filled):
    with filled.tensors() as store:
        store.export_pack(PACK, [A], fs=filled.fs)
        size = filled.fs.size(PACK)
        with pytest.raises(InvalidArgumentError, match="exists"):
            store.export_pack(PACK, [A, B], fs=filled.fs)
        assert filled.fs.size(PACK) == size
        assert store.export_pack(PACK, [A, B], fs=filled.fs, overwrite=True).bytes == filled.fs.size(PACK) > size
    assert filled.fs.listdir("/packs") == ["one.pack"]
    assert FMT.page_bytes == 2048


def test_a_page_that_cannot_be_read_is_left_out_and_counted(machines):
    machine = machines(FaultFileSystem(MemoryFileSystem()))
    with machine.tensors() as store:
        store.put_batch(A, tensors_of(A))
        machine.fs.add(FlipByte(path="*000001.seg", offset=5 * 4096 + 100))
        report = store.export_pack(PACK, None, fs=machine.fs)
        assert (report.pages, report.missing) == (79, 1)
        assert store.stats().pages == 80, "only a read on behalf of a caller drops it"
