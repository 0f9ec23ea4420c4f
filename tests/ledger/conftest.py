"""What the ledger's tests share: small stores on a disk that counts, and what that disk says of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import lsmkv
from lsmkv import FIFO, Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.env.rng import seeded
from lsmkv.testing import CountingFileSystem, ManualClock, ManualScheduler, MemoryFileSystem

POLICIES = {
    "leveled": Leveled(size_ratio=3),
    "partial": Leveled(size_ratio=3, partial="least_overlap"),
    "tiered": Tiered(size_ratio=3),
    "lazy": LazyLeveling(size_ratio=3),
    "fluid": Fluid(size_ratio=4, K=2, Z=2),
    "fifo": FIFO(capacity_bytes=20_000),
}

Opener = Callable[..., lsmkv.DB]


def open_small(disk: CountingFileSystem, **overrides: object) -> lsmkv.DB:
    """A store with tiny buffers, driven by hand; keyword arguments override options."""
    settings: dict[str, object] = {
        "fs": disk,
        "scheduler": ManualScheduler(),
        "clock": ManualClock(),
        "rng": seeded(1),
        "memtable_bytes": 4096,
        "table_bytes": 2048,
        "block_bytes": 128,
        "level0_runs": 1,
        "level0_stop_runs": 6,
        "block_cache_bytes": 1 << 12,
        "wal_sync": "off",
    }
    return lsmkv.open("/db", lsmkv.Options(**(settings | overrides)))  # type: ignore[arg-type]  # overrides are the test's own


def assert_as_the_disk_says(disk: CountingFileSystem, db: lsmkv.DB) -> None:
    """Everything the ledger counted since opening is what the disk did since it was last cleared: at that opening."""
    told = db.stats().ledger
    gets, scans, merges, opens = told.gets, told.range_reads, told.merges, told.opens
    reads = gets.block_reads - gets.joined_reads + gets.unfiltered_reads + scans.block_reads + merges.reads + opens.reads
    assert disk.calls("read", "*.sst") == reads
    assert disk.bytes("read", "*.sst") == sum(told.bytes_read[cause] for cause in ("get", "scan", "compaction", "open"))
    assert disk.bytes("write", "*.sst") == told.flush.written_bytes + merges.written_bytes
    assert disk.calls("sync", "*.sst") == told.flush.syncs + merges.syncs
    assert disk.calls("open", "*.sst") == opens.tasks
    for files, counts in (("*.wal", told.wal), ("MANIFEST*", told.manifest)):
        for op, calls in (("read", counts.reads), ("write", counts.writes), ("sync", counts.syncs)):
            assert disk.calls(op, files) == calls, (files, op)
        assert disk.bytes("read", files) == counts.read_bytes
        assert disk.bytes("write", files) == counts.written_bytes
    assert disk.calls("create", "*.wal") == told.wal.tasks


@pytest.fixture
def disk() -> CountingFileSystem:
    return CountingFileSystem(MemoryFileSystem())


@pytest.fixture
def open_db(disk: CountingFileSystem) -> Opener:
    """Open the store on ``disk``, which counts from zero then."""

    def opener(**overrides: object) -> lsmkv.DB:
        disk.clear()
        return open_small(disk, **overrides)

    return opener
