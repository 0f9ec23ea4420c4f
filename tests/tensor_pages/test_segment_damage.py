"""A damaged segment file: every truncation and every changed byte is reported, and never becomes a wrong page."""

from __future__ import annotations

import numpy as np
import pytest

from lsmkv.errors import IOFailedError
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.vlog.layout import BLOCK, Place
from lsmkv_tensor.vlog.pieces import Want
from lsmkv_tensor.vlog.reader import read_pages
from lsmkv_tensor.vlog.scan import scan_segment

SIZE = 700
BLOCKS = 5  # header, frame header, two pages, end mark
NAME = "/store/vlog/000001.seg"


class Bytes:
    """A file and a file system of one file."""

    def __init__(self, data: bytes):
        self.data = data
        self.path = NAME
        self.direct = False

    def open(self, path, mode="r", *, direct=False):
        return self

    def size(self, path=None):
        return len(self.data)

    def pread(self, size, offset):
        return self.data[offset : offset + size]

    def preadv(self, buffers, offset):
        at = offset
        for buffer in buffers:
            piece = self.data[at : at + len(buffer)]
            buffer[: len(piece)] = piece
            at += len(piece)
        return at - offset


@pytest.fixture
def segment(world):
    """The bytes of a sealed segment of two pages, its index keys, places and pages."""
    store = world.open(segment_bytes=BLOCKS * BLOCK)
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, [0, 1])
    world.put(ns, [2])
    keys = [ns.number.to_bytes(4, "big") + k for k in world.keys([0, 1])]
    places = [Place.unpack(value) for value in store._db.get_many(keys)]
    store.close()
    data = world.fs.open(NAME).pread(1 << 20, 0)
    return data, keys, places, world.pages([0, 1], SIZE)


def delivered(data, keys, places) -> list[bytes | None]:
    out = np.zeros((len(keys), SIZE), np.uint8)
    wants = [Want(i, k, p, [memoryview(out[i])]) for i, (k, p) in enumerate(zip(keys, places, strict=True))]
    return [out[w.position].tobytes() if verdict == "ok" else None for w, verdict in read_pages(Bytes(data), wants)]


def test_a_sound_segment_scans_clean(segment):
    data, keys, places, pages = segment
    scan = scan_segment(Bytes(data), NAME)
    assert scan.problems == ()
    assert scan.sealed
    assert [e.key for f in scan.frames for e in f.entries] == keys
    assert [at for f in scan.frames for _, at in f.payloads()] == [p.offset for p in places]
    assert delivered(data, keys, places) == pages


def test_every_truncation_is_reported(segment):
    data, keys, places, pages = segment
    for length in range(len(data)):
        cut = data[:length]
        assert scan_segment(Bytes(cut), NAME).problems, f"cut at {length} went unnoticed"
        if length % 61 == 0 or length % BLOCK in (0, 1, SIZE - 1, SIZE, BLOCK - 1):
            for got, page in zip(delivered(cut, keys, places), pages, strict=True):
                assert got in (None, page)


def test_every_changed_byte_is_reported_outside_padding(segment):
    data, _, places, _ = segment
    padding = [range(p.offset + SIZE, p.offset + BLOCK) for p in places]
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << (at % 8)
        scan = scan_segment(Bytes(bytes(changed)), NAME)
        if any(at in pad for pad in padding):
            assert not scan.problems
        else:
            assert scan.problems, f"byte {at} went unnoticed"


def test_a_changed_byte_never_becomes_a_wrong_page(segment):
    data, keys, places, pages = segment
    for at in range(places[0].offset, places[1].offset + BLOCK):
        changed = bytearray(data)
        changed[at] ^= 0x10
        hit = [p.offset <= at < p.offset + SIZE for p in places]
        expected = [None if bad else page for bad, page in zip(hit, pages, strict=True)]
        assert delivered(bytes(changed), keys, places) == expected


def test_a_damaged_frame_header_hides_only_its_frame(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    for i in range(3):
        world.put(ns, [i])
    store.close()
    data = bytearray(world.fs.open(NAME).pread(1 << 20, 0))
    data[3 * BLOCK + 100] ^= 1  # the second frame's header
    scan = scan_segment(Bytes(bytes(data)), NAME)
    assert len(scan.frames) == 2
    assert [p.offset for p in scan.problems] == [3 * BLOCK]


def test_a_damaged_segment_header_hides_nothing_when_it_is_known(segment):
    data, keys, _, _ = segment
    header = scan_segment(Bytes(data), NAME).header
    changed = bytes(BLOCK) + data[BLOCK:]
    assert scan_segment(Bytes(changed), NAME).frames == ()
    scan = scan_segment(Bytes(changed), NAME, expected=header)
    assert [e.key for f in scan.frames for e in f.entries] == keys
    assert len(scan.problems) == 1


def test_what_an_earlier_generation_left_is_no_frame(world):
    """A recycled segment holds old frames behind its tail; they are sound, and not of this generation."""
    world.segments = 3
    ns = world.open().namespace({"m": 1}, SIZE)
    for i in range(40):
        world.put(ns, [i])
    store = world.store
    active = store._space.active
    assert active.generation > world.segments
    scan = scan_segment(world.fs, store._files.path(active.number))
    assert scan.problems == ()
    assert len(scan.frames) == active.frames


@pytest.mark.parametrize("length", [0, 100, BLOCK, 2 * BLOCK + 1, 4 * BLOCK, 5 * BLOCK - 1])
def test_a_store_with_a_short_segment_misses_what_is_gone_and_goes_on(world, length):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(13))
    world.put(ns, range(13, 26))  # seals the first segment
    store.close()
    world.fs.open(NAME, "rw").truncate(length)
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    there = world.check(ns, range(26))
    gone = 26 - len(there)
    assert there >= set(range(13, 26))
    assert len(there) - 13 == sum((2 + i) * BLOCK + SIZE <= length for i in range(13))
    stats = store.stats()
    assert (stats.corrupt_pages, stats.misses, stats.pages) == (gone, gone, 26 - gone)
    assert world.put(ns, range(26)) == [True] * 26
    assert world.check(ns, range(26)) == set(range(26))


def test_a_missing_segment_loses_its_pages_and_no_others(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(13))
    world.put(ns, range(13, 26))
    store.close()
    world.fs.unlink(NAME)
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    assert store.stats().lost_pages == 13
    assert world.check(ns, range(26)) == set(range(13, 26))
    assert world.put(ns, range(13)) == [True] * 13
    assert world.check(ns, range(26)) == set(range(26))


def test_damage_found_by_a_read_is_dropped_once_and_counted(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(4))
    file = world.fs.open(NAME, "rw")
    file.pwritev([b"?"], 3 * BLOCK + 5)  # page 1
    assert world.check(ns, range(4)) == {0, 2, 3}
    assert world.check(ns, range(4)) == {0, 2, 3}
    stats = store.stats()
    assert (stats.corrupt_pages, stats.pages, stats.misses) == (1, 3, 2)
    assert world.put(ns, [1]) == [True]
    assert world.check(ns, range(4)) == {0, 1, 2, 3}


def test_eviction_finds_its_pages_even_behind_a_damaged_frame_header(world):
    world.segments = 3
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    for i in range(5):
        world.put(ns, [i])
    world.fs.open(NAME, "rw").pwritev([b"garbage"], 3 * BLOCK)
    for i in range(5, 200):
        world.put(ns, [i])
    live = world.check(ns, range(200))
    assert store.stats().pages == len(live) == len(list(ns.keys()))
    assert not live & set(range(5))


def test_scanning_what_is_not_there_says_so():
    with pytest.raises(IOFailedError, match=r"000001\.seg"):
        scan_segment(MemoryFileSystem(), NAME)
