"""Rules strike the calls they name, as often as they say, and nothing else."""

import errno
from threading import Thread

import pytest

from lsmkv.env.fs import File, FileSystem, write_all
from lsmkv.env.rng import seeded
from lsmkv.testing import FailOp, FaultFileSystem, FlipByte, Hang, MemoryFileSystem, ShortWrite

WAIT_S = 30  # reached only when a test fails


@pytest.fixture
def fs():
    return FaultFileSystem(MemoryFileSystem())


@pytest.fixture
def file(fs):
    file = fs.open("/000001.wal", "create")
    file.pwritev([b"0123456789"], 0)
    return file


def test_without_rules_everything_passes(fs, file):
    typed: FileSystem = fs
    assert isinstance(file, File)
    typed.mkdir("/d")
    typed.link("/000001.wal", "/d/x")
    typed.rename("/d/x", "/d/y")
    typed.sync_dir("/d")
    assert (typed.listdir("/d"), typed.isdir("/d"), typed.exists("/d/x"), typed.size("/d/y")) == (["y"], True, False, 10)
    typed.unlink("/d/y")
    typed.lock("/LOCK").release()
    assert typed.free_bytes("/") > 0
    file.truncate(3)
    file.allocate(5)
    file.sync()
    file.advise("willneed")
    assert (file.size(), file.pread(9, 0)) == (5, b"012\0\0")
    file.close()


def test_nth_call_fails_as_often_as_told(fs, file):
    rule = fs.add(FailOp("sync", path="*.wal", nth=2, times=2, errno=errno.EDQUOT))
    file.sync()
    for _ in range(2):
        with pytest.raises(OSError, match=r"000001\.wal") as caught:
            file.sync()
        assert caught.value.errno == errno.EDQUOT
    file.sync()
    assert fs.hits(rule) == 2


def test_rule_strikes_until_removed(fs, file):
    rule = fs.add(FailOp("pwritev"))
    for _ in range(3):
        with pytest.raises(OSError, match="EIO"):
            file.pwritev([b"x"], 0)
    fs.remove(rule)
    fs.remove(rule)
    file.pwritev([b"x"], 0)
    assert fs.hits(rule) == 0
    fs.add(rule)
    fs.clear()
    file.pwritev([b"x"], 0)


@pytest.mark.parametrize(
    "op",
    ["open", "rename", "unlink", "link", "mkdir", "listdir", "exists", "isdir", "stat", "sync_dir", "free_bytes", "lock"],
)
def test_every_operation_of_the_file_system_can_fail(fs, file, op):
    fs.add(FailOp(op))
    method = getattr(fs, "size" if op == "stat" else op)
    with pytest.raises(OSError, match="EIO"):
        method(*["/000001.wal"] * (2 if op in ("rename", "link") else 1))


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("pread", (1, 0)),
        ("preadv", ([bytearray(1)], 0)),
        ("pwritev", ([b"x"], 0)),
        ("sync", ()),
        ("truncate", (0,)),
        ("allocate", (1,)),
        ("size", ()),
        ("close", ()),
    ],
)
def test_every_operation_of_a_file_can_fail(fs, file, op, args):
    fs.add(FailOp(op))
    with pytest.raises(OSError, match="EIO"):
        getattr(file, op)(*args)
    fs.clear()
    if op == "close":
        with pytest.raises(OSError, match="EBADF"):
            file.size()
    else:
        assert file.pread(10, 0) == b"0123456789", "a failed operation does nothing"


def test_pattern_matches_the_path_its_last_part_or_either_end_of_a_rename(fs, file):
    fs.mkdir("/db")
    fs.add(FailOp("rename", path="MANIFEST"))
    fs.rename("/000001.wal", "/db/x")
    with pytest.raises(OSError, match="EIO"):
        fs.rename("/db/x", "/db/MANIFEST")
    fs.add(FailOp("unlink", path="/db/*"))
    with pytest.raises(OSError, match="EIO"):
        fs.unlink("/db/x")


def test_short_write_takes_the_first_bytes_and_write_all_goes_on(fs, file):
    fs.add(ShortWrite(4, times=1))
    assert write_all(file, [b"ab", b"", b"cdefgh"], 0) == 8
    assert file.pread(10, 0) == b"abcdefgh89"
    fs.add(ShortWrite(0, times=1))
    with pytest.raises(OSError, match="ENOSPC"):
        write_all(file, [b"zz"], 0)


def test_changed_byte_is_seen_by_reads_that_cover_it(fs, file):
    fs.add(FlipByte(4, mask=1))
    assert file.pread(3, 0) == b"012"
    assert file.pread(3, 3) == b"355"
    first, second = bytearray(2), bytearray(5)
    assert file.preadv([first, second], 1) == 7
    assert bytes(first + second) == b"1235567"


def test_probability_is_drawn_from_the_seed(file):
    def pattern(seed):
        fs = FaultFileSystem(MemoryFileSystem(), [FailOp("exists", probability=0.5)], rng=seeded(seed))
        out = []
        for _ in range(40):
            try:
                fs.exists("/")
                out.append(0)
            except OSError:
                out.append(1)
        return out

    assert pattern(1) == pattern(1) != pattern(2)
    assert 5 < sum(pattern(1)) < 35


def test_hanging_operation_waits_for_its_event(fs, file):
    rule = Hang("sync", times=1)
    fs.add(rule)
    thread = Thread(target=file.sync)
    thread.start()
    assert rule.reached.wait(WAIT_S)
    assert fs.inner.unsynced_files() == 1, "it has not begun"
    file.pwritev([b"others go on"], 0)
    rule.event.set()
    thread.join(WAIT_S)
    assert fs.inner.unsynced_files() == 0


def test_a_call_in_the_middle_of_a_call_asks_the_rules_too(fs):
    """A store that nobody holds any more closes its files wherever the collector finds it: the call then never ended."""

    class Collector:
        def random(self):
            assert faults.isdir("/")
            return 1.0

    faults = FaultFileSystem(fs.inner, rng=Collector())
    rule = faults.add(FailOp("exists", probability=0.5))
    assert not faults.exists("/nowhere")
    assert faults.hits(rule) == 0


def test_rules_that_hang_other_operations_are_others():
    disk = FaultFileSystem(MemoryFileSystem())
    sync, write = disk.add(Hang("sync")), disk.add(Hang("pwritev"))
    assert sync != write
    write.event.set()
    disk.remove(sync)
    disk.strike("sync", "/a")
    disk.strike("pwritev", "/a")
    assert not sync.reached.is_set()
    assert (disk.hits(sync), disk.hits(write)) == (0, 1)
