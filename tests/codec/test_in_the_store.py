"""Encoded pages in a store: read whatever the codec was, moved, evicted, damaged, refused where nobody asked for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.faults import FaultFileSystem, FlipByte
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor import PageFormat, PageStore, StoreOptions, TensorStore
from lsmkv_tensor.codec.base import RAW, SHUFFLE_ZSTD
from lsmkv_tensor.errors import FormatTooNewError, InvalidArgumentError, NamespaceMismatchError
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.stamp import STORE_VERSION, Stamp, read_stamp, write_stamp

SIZE = 20_000
PATH = "/store"


def options(fs, segments=8, **more):
    fields = {"capacity_bytes": (512 << 10) + 8192 + segments * (128 << 10), "segment_bytes": 128 << 10, "index_bytes": 512 << 10}
    return StoreOptions(**fields, fs=fs, rng=seeded(1), scheduler=ManualScheduler(), **more)


def key(i: int) -> bytes:
    return i.to_bytes(28, "big")


def page(i: int, size: int = SIZE) -> bytes:
    """Compressible, and no two alike."""
    return np.random.default_rng(i).integers(0, 8, size, dtype=np.uint8).tobytes()


def noise(i: int) -> bytes:
    return np.random.default_rng(1000 + i).integers(0, 256, SIZE, dtype=np.uint8).tobytes()


def read(ns, ids):
    out = [bytearray(ns.page_bytes) for _ in ids]
    flags = ns.get_into([key(i) for i in ids], out)
    return [bytes(data) if flag else None for data, flag in zip(out, flags, strict=True)]


def codecs(store, ns):
    places = [Place.unpack(value) for _, value in store._db.scan(prefix=ns.number.to_bytes(4, "big"))]
    return [place.codec for place in places]


@pytest.fixture
def fs():
    return FaultFileSystem(MemoryFileSystem())


def test_pages_of_both_codecs_lie_side_by_side_and_are_read_after_the_default_changed(fs):
    with PageStore.open(PATH, options=options(fs)) as store:
        ns = store.namespace({"m": 1}, SIZE, codec="shuffle_zstd")
        assert ns.codec == "shuffle_zstd"
        assert all(ns.put_many([key(i) for i in range(4)], [page(0), noise(1), page(2), page(3)]))
        assert codecs(store, ns) == [SHUFFLE_ZSTD, RAW, SHUFFLE_ZSTD, SHUFFLE_ZSTD]
    with PageStore.open(PATH, options=options(fs)) as store:
        ns = store.namespace({"m": 1}, SIZE)
        assert all(ns.put_many([key(i) for i in range(8)], [page(i) for i in range(8)]))
        assert codecs(store, ns)[4:] == [RAW] * 4
        expected = [page(0), noise(1), *map(page, range(2, 8))]
        assert read(ns, range(8)) == expected
        assert read(store.namespace({"m": 1}, SIZE, codec="shuffle_zstd"), range(8)) == expected
        stats = store.stats()
        assert (stats.hits, stats.misses, stats.corrupt_pages) == (16, 0, 0)


def test_what_it_saves_is_counted(fs):
    with PageStore.open(PATH, options=options(fs)) as store:
        coded = store.namespace({"m": 1}, SIZE, codec="shuffle_zstd")
        coded.put_many([key(i) for i in range(5)], [page(i) for i in range(5)])
        coded.put_many([key(i) for i in range(5)], [page(i) for i in range(5)])
        stats = store.stats()
        assert stats.put_bytes == 5 * SIZE
        assert 0.3 < stats.put_stored_bytes / stats.put_bytes < 0.5
        assert stats.live_bytes == 5 * 8192 + 5 * 4096 * (stats.put_stored_bytes // 5 > 8192)
        store.namespace({"m": 2}, SIZE).put_many([key(9)], [page(9)])
        assert store.stats().put_stored_bytes == stats.put_stored_bytes + SIZE


def test_a_store_holds_more_encoded_pages_than_raw_ones(fs):
    held = {}
    for codec in ("raw", "shuffle_zstd"):
        with PageStore.open(f"/{codec}", options=options(fs)) as store:
            ns = store.namespace({"m": 1}, SIZE, codec=codec)
            told = []
            ns.on_evict(lambda keys, sizes, told=told: told.extend(sizes))
            for start in range(0, 200, 4):
                assert all(ns.put_many([key(i) for i in range(start, start + 4)], [page(i) for i in range(start, start + 4)]))
            assert told
            assert max(told) <= (SIZE if codec == "raw" else SIZE / 2)
            there = [i for i, data in enumerate(read(ns, range(200))) if data is not None]
            assert [page(i) for i in there] == read(ns, there)
            held[codec] = len(there)
    assert held["shuffle_zstd"] > 1.6 * held["raw"]


def test_collection_moves_them_as_they_are(fs):
    with PageStore.open(PATH, options=options(fs)) as store:
        ns = store.namespace({"m": 1}, SIZE, codec="shuffle_zstd")
        for i in range(60):
            ns.put_many([key(i)], [page(i)])
        ns.delete_many([key(i) for i in range(60) if i % 3])
        report = store.gc(max_live=0.9)
        assert report.bytes_moved
        assert read(ns, range(0, 60, 3)) == [page(i) for i in range(0, 60, 3)]
        assert set(codecs(store, ns)) == {SHUFFLE_ZSTD}


def test_scattered_memory_is_filled(fs):
    with PageStore.open(PATH, options=options(fs)) as store:
        ns = store.namespace({"m": 1}, SIZE, codec="shuffle_zstd")
        data = memoryview(page(1))
        assert ns.put_many([key(1)], [[data[:3], data[3:7000], data[7000:]]]) == [True]
        out = [bytearray(7), bytearray(SIZE - 8), bytearray(1)]
        assert ns.get_into([key(1)], [out]) == [True]
        assert b"".join(out) == page(1)


@pytest.mark.parametrize("codec", ["shuffle_zstd", "int8", "fp8"])
def test_a_flipped_bit_on_disk_is_a_miss_and_counted(fs, codec):
    fmt = PageFormat(page_tokens=16, shape=(2, 16, 256), dtype=torch.bfloat16)
    with TensorStore.open(PATH, fmt, namespace="m", codec=codec, options=options(fs)) as store:
        tokens = list(range(64))
        assert store.put_batch(tokens, torch.randn(4, *fmt.shape).to(fmt.dtype)) == 4
        good = store.get_batch(tokens)
        assert len(good) == 4
        place = Place.unpack(next(iter(store._pages._db.scan(prefix=store._namespace._prefix)))[1])
        for at in (0, 1, 9, place.length // 2, place.length - 1):
            fs.add(FlipByte(path="*.seg", times=1, offset=place.offset + at))  # once: it is read again
            again = store.get_batch(tokens)
            assert all(torch.equal(a, b) for a, b in zip(good, again, strict=True))
        assert store.stats().corrupt_pages == 0
        fs.add(FlipByte(path="*.seg", offset=place.offset + 9))
        store.get_batch(tokens)
        stats = store.stats()
        assert stats.corrupt_pages == 1
        assert stats.pages == 3


def test_a_sound_payload_that_cannot_be_decoded_is_a_miss_counted_as_corruption(fs):
    with PageStore.open(PATH, options=options(fs)) as store:
        ns = store.namespace({"m": 1}, SIZE)
        ns._codec = Broken(SHUFFLE_ZSTD)
        assert all(ns.put_many([key(i) for i in range(3)], [page(i) for i in range(3)]))
        assert read(ns, range(3)) == [None] * 3
        stats = store.stats()
        assert (stats.hits, stats.misses, stats.corrupt_pages, stats.pages) == (0, 3, 3, 0)


def test_a_codec_of_a_newer_library_is_a_miss_and_its_pages_stay(fs):
    with PageStore.open(PATH, options=options(fs)) as store:
        ns = store.namespace({"m": 1}, SIZE)
        ns._codec = Broken(200)
        assert ns.put_many([key(1)], [page(1)]) == [True]
        assert read(ns, [1]) == [None]
        stats = store.stats()
        assert (stats.misses, stats.read_errors, stats.corrupt_pages, stats.pages) == (1, 1, 0, 1)


class Broken:
    """Writes what no decoder can make a page of."""

    name, lossy = "broken", False

    def __init__(self, number: int):
        self.number = number

    def encode(self, spans):
        return self.number, bytes(spans[0])[:5000]


def test_a_page_store_takes_no_lossy_codec(fs):
    with PageStore.open(PATH, options=options(fs)) as store:
        for name, told in (("int8", "only TensorStore"), ("fp8", "only TensorStore"), (3, "'raw' or"), (None, "'raw' or")):
            with pytest.raises(InvalidArgumentError, match=told):
                store.namespace({"m": 1}, SIZE, codec=name)
        assert store.namespaces() == []


@pytest.mark.parametrize("codec", ["int8", "fp8"])
def test_nobody_gets_lossy_pages_who_did_not_ask_for_them(fs, codec):
    fmt = PageFormat(page_tokens=16, shape=(2, 16, 256), dtype=torch.float16)
    exact = torch.randn(2, *fmt.shape).half()
    with TensorStore.open(PATH, fmt, namespace="m", codec=codec, options=options(fs)) as store:
        assert store.put_batch(range_of(32), exact) == 2
        got = torch.stack(store.get_batch(range_of(32)))
        assert not torch.equal(got, exact)
        assert torch.allclose(got, exact, atol=0.05, rtol=0.07)
        assert store.stats().put_stored_bytes < 0.6 * store.stats().put_bytes
    for other in {"raw", "shuffle_zstd", "int8", "fp8"} - {codec}:
        with pytest.raises(NamespaceMismatchError, match="codec"):
            TensorStore.open(PATH, fmt, namespace="m", codec=other, options=options(fs))
    with TensorStore.open(PATH, fmt, namespace="exact", options=options(fs)) as store:
        assert store.probe(range_of(32)) == 0
        assert store.put_batch(range_of(32), exact) == 2
        assert torch.equal(torch.stack(store.get_batch(range_of(32))), exact)
    with TensorStore.open(PATH, fmt, namespace="m", codec=codec, options=options(fs)) as store:
        assert torch.equal(torch.stack(store.get_batch(range_of(32))), got)


def test_a_tensor_store_may_change_its_lossless_codec(fs):
    fmt = PageFormat(page_tokens=16, shape=(2, 16, 256), dtype=torch.bfloat16)
    pages = torch.randn(4, *fmt.shape).to(fmt.dtype)
    for last, codec in ((2, "shuffle_zstd"), (4, "raw")):
        with TensorStore.open(PATH, fmt, namespace="m", codec=codec, options=options(fs)) as store:
            assert store.put_batch(range_of(16 * last), pages[:last]) == 2
            assert torch.equal(torch.stack(store.get_batch(range_of(16 * last))), pages[:last])
            assert store.drop(range_of(16 * 4)) == (last == 4)


def range_of(n):
    return list(range(n))


def test_a_wrong_codec_is_refused_before_a_store_is_made(fs):
    fmt = PageFormat(page_tokens=16, shape=(2, 16, 4), dtype=torch.int8)
    for codec in ("gzip", "int8"):
        with pytest.raises(InvalidArgumentError, match="codec"):
            TensorStore.open(PATH, fmt, namespace="m", codec=codec, options=options(fs))
    assert not fs.exists(PATH)


def test_a_store_of_version_1_is_read_and_raised_and_a_newer_one_refused(fs):
    with PageStore.open(PATH, options=options(fs)) as store:
        ns = store.namespace({"m": 1}, SIZE)
        ns.put_many([key(1)], [page(1)])
    stamp = read_stamp(fs, PATH)
    assert stamp.version == STORE_VERSION == 2
    fs.unlink(f"{PATH}/STORE")
    write_stamp(fs, PATH, stamp._replace(version=1))
    assert read_stamp(fs, PATH).version == 1
    with PageStore.open(PATH, options=options(fs)) as store:
        assert read(store.namespace({"m": 1}, SIZE), [1]) == [page(1)]
        assert read_stamp(fs, PATH) == stamp
    fs.unlink(f"{PATH}/STORE")
    write_stamp(fs, PATH, Stamp(stamp.segment_bytes, stamp.store_id, 3))
    with pytest.raises(FormatTooNewError):
        PageStore.open(PATH, options=options(fs))
