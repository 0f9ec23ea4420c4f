"""Batches of neighbours: read together, held one by one, compressed or not, damaged or not."""

from __future__ import annotations

import random

import pytest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.errors import CorruptionError
from lsmkv.testing import CountingFileSystem, ManualScheduler, MemoryFileSystem

KEYS = [b"%08d" % (7 * n) for n in range(2000)]
VALUES = [b"value %06d" % n for n in range(2000)]


def filled(fs: object, **overrides: object) -> lsmkv.DB:
    chosen: dict[str, object] = {
        "fs": fs,
        "scheduler": ManualScheduler(),
        "rng": seeded(1),
        "block_bytes": 512,
        "event_log": False,
    }
    db = lsmkv.open("/db", lsmkv.Options(**(chosen | overrides)))  # type: ignore[arg-type]  # overrides are the test's own
    for start in range(0, len(KEYS), 500):
        db.put_many(list(zip(KEYS[start : start + 500], VALUES[start : start + 500], strict=True)))
    db.flush()
    db.compact()
    return db


@pytest.mark.parametrize("cache", [0, 8 << 10, 1 << 20])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_answers_and_counts(compression: str, cache: int) -> None:
    disk = CountingFileSystem(MemoryFileSystem())
    rng = random.Random(2)
    with filled(disk, compression=compression, block_cache_bytes=cache) as db:
        before, calls, read = db.stats().ledger, disk.calls("read", "*.sst"), disk.bytes("read", "*.sst")
        for _ in range(400):
            start, n = rng.randrange(len(KEYS) - 100), rng.randint(8, 100)
            assert db.get_many(KEYS[start : start + n]) == VALUES[start : start + n]
            if rng.random() < 0.3:
                at = rng.randrange(len(KEYS))
                assert db.get(KEYS[at]) == VALUES[at]
        spent = db.stats().ledger - before
        gets = spent.gets
        assert (
            disk.calls("read", "*.sst") - calls
            == gets.block_reads - gets.joined_reads + gets.unfiltered_reads + spent.opens.reads
        )
        assert disk.bytes("read", "*.sst") - read == gets.block_bytes + spent.opens.read_bytes
        assert gets.joined_reads > 0 or cache == 1 << 20
        assert dict(db.scan()) == dict(zip(KEYS, VALUES, strict=True))


@pytest.mark.parametrize("seen", [False, True], ids=["first read", "checked before"])
def test_a_damaged_block_among_them_is_reported(seen: bool) -> None:
    fs = MemoryFileSystem()
    with filled(fs, block_cache_bytes=0) as db:
        if seen:
            db.get_many(KEYS[:300])
        (name,) = [name for name in fs.listdir("/db") if name.endswith(".sst")]
        file = fs.open(f"/db/{name}", "rw")
        at = file.pread(file.size(), 0).index(VALUES[150])
        file.pwritev([b"X"], at)
        file.close()
        with pytest.raises(CorruptionError, match=r"\.sst"):
            db.get_many(KEYS[100:220])
        assert db.get_many(KEYS[300:400]) == VALUES[300:400]


def test_a_long_stretch_is_read_in_parts() -> None:
    """However many keys lie side by side, what is read at once is bounded."""
    disk = CountingFileSystem(MemoryFileSystem())
    keys = [b"%08d" % n for n in range(30_000)]
    with filled(disk, block_cache_bytes=0, block_bytes=4096, table_bytes=16 << 20) as db:
        db.load_sorted([(k, k * 12) for k in keys])
        db.compact()
        assert db.get_many(keys[:10]) == [k * 12 for k in keys[:10]]
        calls, read = disk.calls("read", "*.sst"), disk.bytes("read", "*.sst")
        assert db.get_many(keys) == [k * 12 for k in keys]
        calls, read = disk.calls("read", "*.sst") - calls, disk.bytes("read", "*.sst") - read
        assert read > 5 << 19
        assert 3 <= calls < 10
