"""What the writer does when the disk refuses: take back and go on, or never write again."""

from __future__ import annotations

import errno

import pytest

from lsmkv.errors import IOFailedError, NoSpaceError, PoisonedError
from lsmkv.testing.faults import FailOp, FaultFileSystem, ShortWrite
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.wal.reader import read_wal
from lsmkv.wal.writer import WalWriter


@pytest.fixture
def faults(logs):
    return FaultFileSystem(logs.disk())


@pytest.mark.parametrize("value", [b"small", b"large" * 40_000])
def test_a_short_write_is_continued(logs, faults, value):
    wal = WalWriter(faults, logs.path, number=7)
    faults.add(ShortWrite(size=11, times=3))
    batches = logs.batches([(b"a", value)], [(b"b", value)])
    wal.append(batches)
    assert read_wal(faults, logs.path).batches == batches


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_refused_append_is_taken_back_and_the_log_goes_on(logs, faults, code):
    good = logs.batches([(b"a", b"1")], [(b"b", b"2")])
    wal = logs.write(faults, good[:1])
    size = wal.length
    faults.add(ShortWrite(size=20, times=1))
    faults.add(FailOp("pwritev", nth=2, times=1, errno=code))
    with pytest.raises(NoSpaceError if code != errno.EIO else IOFailedError) as caught:
        wal.append(logs.batches([(b"lost", b"x" * 100)], first_seq=2))
    assert caught.value.errno == code
    assert (wal.length, faults.size(logs.path), wal.failed) == (size, size, None)
    wal.append(good[1:])
    assert read_wal(faults, logs.path).batches == good


@pytest.mark.parametrize("value", [b"small", b"large" * 40_000])
@pytest.mark.parametrize("full_after", range(0, 400, 7))
def test_of_a_refused_group_no_frame_is_ever_whole(logs, value, full_after):
    """Somebody who follows the log read the first batches of a group that the disk had no room for, and showed them."""
    disk = logs.disk()
    faults = FaultFileSystem(disk)
    wal = logs.write(faults, good := logs.batches([(b"a", b"1")]))
    faults.add(ShortWrite(size=full_after, times=1))
    faults.add(FailOp("pwritev", nth=2, errno=errno.ENOSPC))
    seen = []

    def look(op, path):
        disk.on_op = None
        seen.append(read_wal(disk, logs.path).batches)
        disk.on_op = look

    disk.on_op = look
    with pytest.raises(NoSpaceError):
        wal.append(logs.batches([(b"b", b"2")], [(b"c", value)], [(b"d", value)], first_seq=2))
    disk.on_op = None
    assert len(seen) >= 2
    assert all(batches == good for batches in seen)


def test_an_append_that_cannot_be_taken_back_poisons(logs, faults):
    good = logs.batches([(b"a", b"1")])
    wal = logs.write(faults, good)
    write = faults.add(ShortWrite(size=0, times=1))
    cut = faults.add(FailOp("truncate", times=1))
    for attempt in (lambda: wal.append(logs.batches([(b"b", b"2")], first_seq=2)), wal.sync, lambda: wal.append(good)):
        with pytest.raises(PoisonedError):
            attempt()
    assert (faults.hits(write), faults.hits(cut)) == (1, 1)
    assert isinstance(wal.failed, PoisonedError)
    assert read_wal(faults, logs.path).batches == good


@pytest.mark.parametrize("op", ["sync", "sync_dir"])
def test_a_failed_sync_poisons_for_good(logs, faults, op):
    batches = logs.batches([(b"a", b"1")], [(b"b", b"2")])
    wal = logs.write(faults, batches[:1])
    faults.add(FailOp(op, times=1))
    for attempt in (wal.sync, wal.sync, lambda: wal.append(batches[1:])):
        with pytest.raises(PoisonedError) as caught:
            attempt()
        assert caught.value.first.errno == errno.EIO
    assert wal.durable == 0


def test_what_was_refused_does_not_come_back_after_a_power_cut(logs):
    disk = logs.disk()
    faults = FaultFileSystem(disk)
    wal = logs.write(faults, logs.batches([(b"a", b"1")]), sync_after=[1])
    faults.add(ShortWrite(size=20, times=1))
    faults.add(FailOp("pwritev", nth=2))
    with pytest.raises(IOFailedError):
        wal.append(logs.batches([(b"b", b"2")], first_seq=2))
    assert disk.unsynced_files() == 0
    assert [b.keys for b in read_wal(disk.crash(), logs.path).batches] == [[b"a"]]


@pytest.mark.parametrize("rule", [FailOp("pwritev", errno=errno.ENOSPC), FailOp("open")])
def test_a_log_that_cannot_be_created_leaves_no_file(logs, faults, rule):
    rule = faults.add(rule)
    with pytest.raises(IOFailedError, match="create failed"):
        WalWriter(faults, logs.path, number=7)
    faults.remove(rule)
    assert not faults.exists(logs.path)


def test_an_existing_log_is_never_overwritten(logs):
    fs = logs.disk()
    logs.write(fs, logs.batches([(b"a", b"1")]))
    before = logs.bytes_of(fs)
    with pytest.raises(IOFailedError):
        WalWriter(fs, logs.path, number=7)
    assert logs.bytes_of(fs) == before


def test_a_full_disk_refuses_and_works_again_with_space(logs):
    fs = MemoryFileSystem(capacity_bytes=16 << 10)
    fs.mkdir("/db")
    wal = WalWriter(fs, logs.path, number=7)
    batch = logs.batches([(b"a", b"x" * (20 << 10))])
    with pytest.raises(NoSpaceError):
        wal.append(batch)
    small = logs.batches([(b"b", b"fits")])
    wal.append(small)
    wal.sync()
    assert read_wal(fs, logs.path).batches == small
