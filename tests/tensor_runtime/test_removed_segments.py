"""A segment that was removed and made anew is read from its new file, whoever was still opening the old one."""

from __future__ import annotations

import pytest

from lsmkv.testing import Hang, MemoryFileSystem
from lsmkv_tensor.errors import NoSpaceError
from lsmkv_tensor.vlog.disks import Disks
from lsmkv_tensor.vlog.files import IoModes, SegmentFiles
from tests.tensor_runtime.conftest import Call, lent
from tests.tensor_runtime.test_past_reads import SIZE, QueueingWorld

PAGES, OTHERS = range(40), range(100, 140)
FIRST = "000001.seg"


@pytest.fixture
def world():
    yield from lent(QueueingWorld())


def full_disk(world, full):
    """Whether the disk has less free space than the store is to leave to others."""
    disk = world.fs.inner._disk
    disk.capacity = disk.used if full else None


def opened_for_long(world, ns, path):
    """A call that reads a page, is late, and leaves a thread that has opened this segment and not told anybody."""
    rule = world.fs.add(Hang("open", path=path, nth=2, times=1))  # the same file once more, for reads past the page cache
    call = Call(lambda: world.get(ns, [0], deadline_s=5))
    assert rule.reached.wait(60)
    world.clock.advance(10)
    assert call.result()[0] == set()
    return rule


def test_pages_of_a_segment_that_was_made_anew_are_not_read_from_the_file_before_it(world):
    world.filled(PAGES)
    world.store.close()
    store = world.open(min_free_bytes=1)
    ns = store.namespace({"m": 1}, SIZE)
    hangs = opened_for_long(world, ns, FIRST)
    ns.delete_many(world.keys(PAGES))
    store.gc(max_live=0.99)
    full_disk(world, True)
    store.step()
    full_disk(world, False)
    assert 1 not in store._space.segments
    hangs.event.set()
    assert store._services.attempts.stop(60) == 0  # the thread has ended
    assert all(world.put(ns, OTHERS))
    assert 1 in store._space.segments
    for _ in range(3):
        assert world.get(ns, OTHERS)[0] == set(OTHERS)
    assert store.stats().corrupt_pages == 0


@pytest.fixture
def files():
    """One segment, that is not open, and the hook of its disk."""
    fs = MemoryFileSystem(page_cache=True, queues=True)
    fs.mkdir("/vlog")
    found = SegmentFiles(fs, Disks({0: "/vlog"}), 4096, IoModes(direct_writes=True))
    found.create(1)
    return fs, found


def written(files, byte):
    """The segment has this byte everywhere."""
    path = files.path(1)
    with_that = files._fs.open(path, "rw")
    with_that.pwritev([bytes([byte]) * 4096], 0)
    with_that.close()


@pytest.mark.parametrize("when", ["open", "unlink"])
def test_what_was_opened_while_the_file_went_is_not_found_afterwards(files, when):
    """``open``: between its two openings; ``unlink``: just before it went."""
    fs, files = files
    written(files, 1)
    asked = []

    def meanwhile(op, _):
        asked.append(op)
        if when == op == "open" and asked.count("open") == 2:
            files.unlink(1)
        elif when == op == "unlink" and asked.count("unlink") == 1:
            files.opened([1])

    fs.on_op = meanwhile
    if when == "open":
        assert files.opened([1])[1].file.pread(1, 0) == b"\1"
    else:
        files.unlink(1)
    fs.on_op = None
    files.create(1)
    written(files, 2)
    assert files.reader(1).pread(1, 0) == b"\2"
    assert files.peek(1).file is files.reader(1)


def test_a_file_whose_creation_failed_is_not_found_afterwards(files):
    fs, files = files
    files.unlink(1)
    fs.on_op = lambda op, _: files.opened([1]) if op == "allocate" else None
    fs._disk.capacity = fs._disk.used
    with pytest.raises(NoSpaceError):
        files.create(1)
    fs.on_op, fs._disk.capacity = None, None
    assert files.peek(1) is None
