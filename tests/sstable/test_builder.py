"""Building: block sizes, what the meta record says, and what happens when the disk says no."""

from __future__ import annotations

import random

import pytest

from lsmkv.errors import InvalidArgumentError, IOFailedError, NoSpaceError
from lsmkv.sstable.builder import TableBuilder
from lsmkv.testing.memfs import MemoryFileSystem

ENTRIES = [(b"%05d" % i, i + 10, None if i % 4 == 0 else b"value") for i in range(1000)]


def builder(fs, **changes) -> TableBuilder:
    options = {"number": 7, "block_bytes": 1024, "compression": "none", "filter_bits_per_key": 10} | changes
    return TableBuilder(fs, "/000007.sst", **options)


def test_the_meta_record_describes_the_table(tables):
    fs, meta = tables.build(ENTRIES, adds=3)
    assert meta.number == 7
    assert (meta.entries, meta.tombstones) == (1000, 250)
    assert (meta.smallest, meta.largest) == (b"00000", b"00999")
    assert (meta.min_seq, meta.max_seq) == (10, 1009)
    assert meta.raw_bytes == 1000 * 5 + 750 * 5
    assert meta.filter_bits == 10001
    assert meta.bytes == fs.size("/000007.sst")


def test_how_entries_arrive_does_not_change_the_file(tables):
    files = set()
    for adds in (1, 2, 7, 1000):
        fs, _ = tables.build(ENTRIES, adds=adds)
        files.add(fs.open("/000007.sst").pread(1 << 20, 0))
    assert len(files) == 1


@pytest.mark.parametrize("mixed", [False, True])
def test_blocks_are_full_but_not_fuller_than_asked(tables, mixed):
    entries = [(b"%05d" % i + b"x" * (i % 3 if mixed else 0), i, b"v" * 40) for i in range(2000)]
    fs, _ = tables.build(entries, block_bytes=1000)
    table = tables.reader(fs)
    sizes = [len(c) * 53 for c in table.columns_chunks(None, None, 1)]
    assert all(850 <= size <= 1060 for size in sizes[:-1])


def test_fences_are_short(tables):
    entries = [(b"%032d" % (i * 7919), i, b"v" * 40) for i in range(2000)]
    fs, _ = tables.build(entries)
    fences = tables.reader(fs).fences
    assert max(map(len, fences[:-1])) < 32
    assert fences[-1] == entries[-1][0]


def test_compression_is_kept_only_where_it_pays(tables):
    noise = random.Random(1)
    dull = [(b"%05d" % i, 1, b"same" * 20) for i in range(300)]
    random_ones = [(noise.randbytes(8), 1, noise.randbytes(80)) for _ in range(300)]
    for entries, pays in ((dull, True), (sorted(random_ones), False)):
        plain = tables.build(entries, compression="none", block_bytes=4096)[1].bytes
        fs, meta = tables.build(entries, compression="zstd", block_bytes=4096)
        packed = meta.bytes
        assert (packed < plain * 0.5) if pays else (plain * 0.97 < packed <= plain)
        assert tables.reader(fs).properties.compression == "zstd"


def test_bytes_grow_to_the_size_of_the_file(tables):
    build = builder(MemoryFileSystem())
    columns = tables.columns_of(ENTRIES)
    seen = [build.bytes]
    for i in range(0, 1000, 100):
        build.add(columns.slice(i, i + 100))
        seen.append(build.bytes)
    assert seen == sorted(set(seen))
    assert build.entries == 1000
    meta = build.finish()
    assert seen[-1] < meta.bytes < seen[-1] + 10001 // 8 + 1000


def test_a_finished_table_is_durable(tables):
    fs, _ = tables.build(ENTRIES)
    fs.sync_dir("/")
    assert tables.reader(fs.crash(None)).verify() == []


def test_an_empty_table_and_bad_options_are_refused(tables):
    fs = MemoryFileSystem()
    build = builder(fs)
    build.add(tables.columns_of([]))
    with pytest.raises(InvalidArgumentError, match="abandon"):
        build.finish()
    build.abandon()
    assert not fs.exists("/000007.sst")
    with pytest.raises(InvalidArgumentError, match="block_bytes"):
        builder(fs, block_bytes=0)
    with pytest.raises(InvalidArgumentError, match="compression"):
        builder(fs, compression="lz4")
    assert not fs.exists("/000007.sst")


def test_an_existing_file_is_never_overwritten(tables):
    fs, _ = tables.build(ENTRIES)
    with pytest.raises(IOFailedError, match="create table"):
        builder(fs)
    assert tables.reader(fs).verify() == []


def test_a_full_disk_is_reported_and_abandon_cleans_up(tables):
    fs = MemoryFileSystem(capacity_bytes=8192)
    build = builder(fs, filter_bits_per_key=0)
    with pytest.raises(NoSpaceError):
        for _ in range(100):
            build.add(tables.columns_of(ENTRIES))
        build.finish()
    build.abandon()
    build.abandon()
    assert not fs.exists("/000007.sst")


def test_a_failing_sync_is_reported(tables):
    fs = MemoryFileSystem()
    build = builder(fs)
    build.add(tables.columns_of(ENTRIES))

    def fail(operation, path):
        if operation == "sync":
            raise OSError(5, "lost")

    fs.on_op = fail
    with pytest.raises(IOFailedError, match="sync table"):
        build.finish()
    build.abandon()
    assert not fs.exists("/000007.sst")
