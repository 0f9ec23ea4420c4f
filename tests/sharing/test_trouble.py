"""What is wrong with a sibling costs its pages and nothing else, and is told."""

from __future__ import annotations

import struct

import pytest

from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.sharing import Sharing
from lsmkv_tensor.vlog.layout import BLOCK, header_check
from tests.sharing.conftest import FIELDS, PAGE, ROOT, Root, keys, page, put, read


def overwrite(fs: MemoryFileSystem, path: str, data: bytes, offset: int) -> None:
    fs.open(path, "rw").pwritev([data], offset)


def remove(root: Root, member: str) -> None:
    for folder in ("index", "vlog", ""):
        path = f"{ROOT}/{member}/{folder}".rstrip("/")
        for name in root.fs.listdir(path):
            if not root.fs.isdir(f"{path}/{name}"):
                root.fs.unlink(f"{path}/{name}")


def told(store) -> list[tuple[str, bool, int]]:
    return [(s.name, s.followed, s.failures) for s in store.stats().sharing.siblings]


def test_a_sibling_with_other_segments_is_read_like_any(root: Root) -> None:
    put(root.open("a", segment_bytes=2 * 65536).namespace(FIELDS, PAGE), range(3))
    assert set(read(root.open("b").namespace(FIELDS, PAGE), range(3))) == {0, 1, 2}


def test_a_closed_sibling_stays_readable(root: Root) -> None:
    a = root.open("a")
    put(a.namespace(FIELDS, PAGE), range(3))
    a.close()
    assert set(read(root.open("b").namespace(FIELDS, PAGE), range(3))) == {0, 1, 2}


def test_a_sibling_of_a_newer_format_is_skipped_and_told(root: Root) -> None:
    put(root.open("a").namespace(FIELDS, PAGE), range(3))
    raw = bytearray(root.fs.open(f"{ROOT}/a/STORE").pread(BLOCK, 0))
    struct.pack_into("<I", raw, 8, 99)
    struct.pack_into("<Q", raw, 40, 0)
    struct.pack_into("<Q", raw, 40, header_check(bytes(raw), 40))
    overwrite(root.fs, f"{ROOT}/a/STORE", bytes(raw), 0)
    b = root.open("b")
    assert read(b.namespace(FIELDS, PAGE), range(3)) == {}
    assert told(b) == [("a", False, 1)]
    assert "FormatTooNewError" in b.stats().sharing.siblings[0].reason
    assert put(b.namespace(FIELDS, PAGE), range(3)) == [True] * 3
    assert b.stats().pages == 3


def test_a_damaged_index_is_skipped_and_tried_again_after_a_pause(root: Root) -> None:
    put(root.open("a").namespace(FIELDS, PAGE), range(3))
    sound = root.fs.open(f"{ROOT}/a/index/MANIFEST").pread(64, 0)
    overwrite(root.fs, f"{ROOT}/a/index/MANIFEST", b"x" * 64, 0)
    b = root.open("b")
    space = b.namespace(FIELDS, PAGE)
    for _ in range(3):  # tried once, then left alone
        assert read(space, range(3)) == {}
    assert told(b) == [("a", False, 1)]
    root.clock.advance(1.0)
    assert read(space, range(3)) == {}
    assert told(b) == [("a", False, 2)]
    overwrite(root.fs, f"{ROOT}/a/index/MANIFEST", sound, 0)
    assert read(space, range(3)) == {}, "the pause is twice as long now"
    root.clock.advance(2.0)
    assert set(read(space, range(3))) == {0, 1, 2}
    assert told(b) == [("a", True, 2)]


def test_a_damaged_page_is_a_miss_here_and_stays_there(root: Root) -> None:
    a, b = root.open("a"), root.open("b")
    put(a.namespace(FIELDS, PAGE), range(3))
    place = a.namespace(FIELDS, PAGE)._log.places([a.namespace(FIELDS, PAGE).index_keys(keys([1]))[0]])[0]
    overwrite(root.fs, f"{ROOT}/a/vlog/{place.segment:06d}.seg", b"\0\0\0\0", place.offset + 100)
    assert set(read(b.namespace(FIELDS, PAGE), range(3))) == {0, 2}
    assert b.stats().sharing.siblings[0].unreadable == 1
    assert b.stats().corrupt_pages == a.stats().corrupt_pages == 0
    assert a.stats().pages == 3, "it is for its owner to drop it"
    assert told(b) == [("a", True, 0)]


def test_a_missing_segment_costs_its_pages(root: Root) -> None:
    a, b = root.open("a"), root.open("b")
    put(a.namespace(FIELDS, PAGE), range(30))
    root.fs.unlink(f"{ROOT}/a/vlog/000001.seg")
    got = read(b.namespace(FIELDS, PAGE), range(30))
    assert 0 < len(got) < 30
    assert all(data == page(i) for i, data in got.items())
    assert told(b) == [("a", True, 0)]


def test_a_directory_that_disappears_is_forgotten(root: Root) -> None:
    a, b = root.open("a"), root.open("b")
    space = b.namespace(FIELDS, PAGE)
    put(a.namespace(FIELDS, PAGE), range(3))
    a.close()
    assert len(read(space, range(3))) == 3
    remove(root, "a")
    root.clock.advance(1.0)
    assert read(space, range(3)) == {}
    assert told(b) == []
    assert not [name for name in root.fs.listdir(f"{ROOT}/b") if name.startswith(".")]


@pytest.mark.parametrize("closed", [True, False])
def test_another_store_in_the_same_directory_is_followed_anew(root: Root, closed: bool) -> None:
    a, b = root.open("a"), root.open("b")
    space = b.namespace(FIELDS, PAGE)
    put(a.namespace(FIELDS, PAGE), range(3))
    if closed:
        a.close()
    else:
        root.abandon(a)
    assert len(read(space, range(3))) == 3
    remove(root, "a")
    again = root.open("a", rng=None)
    again.namespace({"model": "other"}, PAGE)  # has the number now that ours had
    for _ in range(4):  # and has committed more than the one before
        put(again.namespace({"model": "other"}, PAGE), range(3), salt=1)
        again.namespace({"model": "other"}, PAGE).delete_many(keys(range(3)))
    put(again.namespace({"model": "other"}, PAGE), range(3), salt=1)
    put(again.namespace(FIELDS, PAGE), [5])
    root.clock.advance(2.0)
    assert read(space, range(6)) == {5: page(5)}
    assert told(b) == [("a", True, 0)]


def test_a_file_among_the_members_is_nobody(root: Root) -> None:
    put(root.open("a").namespace(FIELDS, PAGE), range(3))
    root.fs.open(f"{ROOT}/notes", "create").pwritev([b"x"], 0)
    root.fs.mkdir(f"{ROOT}/empty")
    b = root.open("b", sharing=Sharing(discover_s=0.0))
    assert len(read(b.namespace(FIELDS, PAGE), range(3))) == 3
    assert told(b) == [("a", True, 0)]


def test_what_a_power_cut_took_is_missing_and_never_wrong(root: Root) -> None:
    a = root.open("a")
    space = a.namespace(FIELDS, PAGE)
    put(space, range(4))
    a.sync()
    put(space, range(4, 8))
    a._db.sync()  # the index of the second half is durable, its pages are not
    root.stores.clear()
    root.fs = root.fs.crash()
    b = root.open("b")
    got = read(b.namespace(FIELDS, PAGE), range(8))
    assert set(range(4)) <= got.keys()
    assert all(data == page(i) for i, data in got.items())


def test_a_namespace_that_was_dropped_and_made_again_is_found_under_its_new_number(root: Root) -> None:
    a, b = root.open("a"), root.open("b", sharing=Sharing(refresh_s=0.0))
    space = b.namespace(FIELDS, PAGE)
    put(a.namespace(FIELDS, PAGE), range(3))
    assert len(read(space, range(3))) == 3
    a.drop_namespace(1)
    assert read(space, range(3)) == {}
    put(a.namespace(FIELDS, PAGE), range(3, 6))
    assert set(read(space, range(6))) == {3, 4, 5}
    assert space.contains(keys(range(6))).tolist() == [False] * 3 + [True] * 3
