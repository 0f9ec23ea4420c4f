"""Reads in the kernel's queues, what the page cache is said to hold, and reads in a hurry: on the disk below the test."""

from __future__ import annotations

import mmap
import os

import pytest

from lsmkv.env import aio
from lsmkv.env.hurry import HURRY
from lsmkv.env.posix import PosixFileSystem

BLOCK = 4096


@pytest.fixture
def fs():
    return PosixFileSystem()


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "file"
    found.write_bytes(b"".join(bytes([i]) * BLOCK for i in range(16)))
    with found.open("rb") as file:
        os.fsync(file.fileno())
    return str(found)


@pytest.fixture
def direct(fs, path):
    try:
        return fs.open(path, direct=True)
    except OSError:
        pytest.skip("no O_DIRECT here")


@pytest.fixture
def queue(fs):
    found = fs.read_queue(4)
    if found is None:
        pytest.skip("no queues here")
    yield found
    found.close()


def memory(blocks):
    return memoryview(mmap.mmap(-1, blocks * BLOCK))


def test_reads_end_in_their_memory_and_say_how_much_came(queue, direct):
    own = [memory(2) for _ in range(5)]
    reads = [(7 + i, direct, own[i], 4 * i * BLOCK) for i in range(5)]
    taken = queue.begin(reads)
    assert taken == 4  # it has no more room
    found = []
    while queue.waiting:
        found += queue.ended(2, None)
    assert sorted(found) == [(7 + i, 2 * BLOCK) for i in range(4)]
    assert [bytes(view) for view in own[:4]] == [bytes([4 * i]) * BLOCK + bytes([4 * i + 1]) * BLOCK for i in range(4)]
    assert queue.begin(reads[4:]) == 1  # there is room again
    assert queue.ended(1, 60.0) == [(11, 0)]  # behind the end of the file
    assert queue.ended(1, 60.0) == []


def test_a_short_read_and_one_that_fails(queue, direct):
    own = memory(4)
    assert queue.begin([(1, direct, own, 14 * BLOCK)]) == 1
    assert queue.ended(1, 60.0) == [(1, 2 * BLOCK)]
    direct.close()
    with pytest.raises(OSError, match="descriptor"):
        queue.begin([(1, direct, own, 0)])
    assert queue.waiting == 0


def test_a_closed_queue_of_another_process_is_left_alone(fs):
    queue = fs.read_queue(2)
    if queue is None:
        pytest.skip("no queues here")
    child = os.fork()
    if not child:
        queue.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert queue.ended(0, 0.0) == []
    queue.close()
    queue.close()


def test_systems_without_queues_have_none(monkeypatch, fs, path):
    monkeypatch.setattr(aio, "_USABLE", False)
    assert fs.read_queue(4) is None
    assert fs.open(path).holds(0, BLOCK) is None


def test_what_the_page_cache_holds_is_told_and_read_in_a_hurry(fs, path):
    file = fs.open(path)
    file.pread(16 * BLOCK, 0)
    if not file.tells_cached or file.holds(0, 16 * BLOCK) is None:
        pytest.skip("no telling here")
    assert file.holds(0, 16 * BLOCK)
    with HURRY:
        assert file.pread(BLOCK, 3 * BLOCK) == bytes([3]) * BLOCK
        with pytest.raises(BlockingIOError):
            fs.open(path)
        with pytest.raises(BlockingIOError):
            file.pread(BLOCK, 16 * BLOCK)  # not all of it is there
    file.advise("dontneed")
    if file.holds(0, 16 * BLOCK):
        pytest.skip("a page cache that lets go of nothing")
    assert not file.holds(0, BLOCK)
    assert file.pread(BLOCK, 3 * BLOCK) == bytes([3]) * BLOCK
    assert not HURRY.on
