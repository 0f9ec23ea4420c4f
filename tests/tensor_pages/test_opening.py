"""Opening: what a directory is, who may have it, and what is refused."""

from __future__ import annotations

import pytest

from lsmkv.env.posix import PosixFileSystem
from lsmkv_tensor.errors import CorruptionError, FormatTooNewError, InvalidArgumentError, LockedError
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.vlog import stamp

STAMP = "/store/STORE"


def test_a_second_writer_is_refused(world):
    world.open()
    with pytest.raises(LockedError):
        PageStore.open("/store", options=world.options())


def test_every_changed_byte_of_the_stamp_is_noticed(world):
    world.open().close()
    file = world.fs.open(STAMP, "rw")
    good = file.pread(5000, 0)
    for at in range(4096):
        file.pwritev([bytes([good[at] ^ 1])], at)
        with pytest.raises(CorruptionError, match="STORE"):
            stamp.read_stamp(world.fs, "/store")
        file.pwritev([good[at : at + 1]], at)
    with pytest.raises(CorruptionError):
        file.truncate(100)
        world.open()
    file.pwritev([good], 0)
    world.open()


def test_a_newer_store_is_named_as_such(world, monkeypatch):
    monkeypatch.setattr(stamp, "STORE_VERSION", 7)
    world.open().close()
    monkeypatch.undo()
    with pytest.raises(FormatTooNewError, match="version 7"):
        world.open()


def test_segments_without_a_stamp_are_not_taken_for_a_new_store(world):
    ns = world.open().namespace({"m": 1}, 100)
    world.put(ns, [1])
    world.store.close()
    world.fs.unlink(STAMP)
    with pytest.raises(CorruptionError, match="missing, but there are segments"):
        world.open()


def test_segment_bytes_are_for_good(world):
    world.open().close()
    with pytest.raises(InvalidArgumentError, match="segment_bytes = 65536"):
        world.open(segment_bytes=128 << 10)
    assert world.open(segment_bytes=None).stats().segment_bytes == 65536


def test_files_that_no_record_names_are_removed(world):
    ns = world.open().namespace({"m": 1}, 100)
    world.put(ns, range(5))
    world.store.close()
    for name in ("000077.seg", "junk.tmp"):
        world.fs.open(f"/store/vlog/{name}", "create").pwritev([b"x"], 0)
    ns = world.open().namespace({"m": 1}, 100)
    assert world.fs.listdir("/store/vlog") == ["000001.seg"]
    assert world.check(ns, range(5)) == set(range(5))


def test_a_reopened_store_goes_on_filling_its_segment(world):
    ns = world.open().namespace({"m": 1}, 100)
    for i in range(5):
        world.put(ns, [i])
        ns = world.reopen().namespace({"m": 1}, 100)
    stats = world.store.stats()
    assert (stats.segments, stats.pages) == (1, 5)
    assert world.check(ns, range(5)) == set(range(5))


def test_opening_reads_no_segment(world):
    ns = world.open().namespace({"m": 1}, 100)
    for i in range(30):
        world.put(ns, [i])
    world.store.close()
    read = []
    world.fs.on_op = lambda op, path: read.append(path) if op in ("pread", "preadv") and path.endswith(".seg") else None
    world.open()
    assert read == []


@pytest.mark.parametrize(
    "fields",
    [
        {"capacity_bytes": 0},
        {"capacity_bytes": 1.5},
        {"segment_bytes": 100},
        {"segment_bytes": 1 << 40},
        {"index_bytes": 5},
        {"direct_io": "yes"},
        {"block_cache_bytes": -1},
        {"eviction": 3},
        {"admission": None},
        {"write_bytes_per_day": -1},
        {"gc_bytes_per_s": 0},
    ],
)
def test_options_that_cannot_work_are_refused_by_name(fields):
    with pytest.raises(InvalidArgumentError, match=next(iter(fields))):
        StoreOptions(**fields)


def test_a_store_on_a_real_disk(tmp_path, world):
    """The defaults, the real file system, background threads."""
    path = str(tmp_path / "new" / "store")
    options = StoreOptions(capacity_bytes=64 << 20)
    with PageStore.open(path, options=options) as store:
        ns = store.namespace({"m": 1}, 100_000)
        assert all(world.put(ns, range(200)))
        store.sync()
        assert world.check(ns, range(200)) == set(range(200))
        ns.delete_many(world.keys(range(100, 200)))
        assert store.gc().reason
    with PageStore.open(path, options=options) as store:
        ns = store.namespace({"m": 1}, 100_000)
        assert world.check(ns, range(200)) == set(range(100))
        stats = store.stats()
        on_disk = sum(
            PosixFileSystem().size(f"{path}/{d}/{n}") for d in ("vlog", "index") for n in PosixFileSystem().listdir(f"{path}/{d}")
        )
        assert on_disk == stats.physical_bytes <= stats.capacity_bytes
