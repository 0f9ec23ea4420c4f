"""The real disk: what only it can show (descriptors, direct I/O, reservation)."""

import errno
import gc
import mmap
import os

import pytest

from lsmkv.env import PosixFileSystem
from lsmkv.env import posix as posix_module
from lsmkv.env.fs import File, FileSystem, read_exact, write_all, write_sized


@pytest.fixture
def fs():
    return PosixFileSystem()


@pytest.fixture
def file(fs, tmp_path):
    file = fs.open(str(tmp_path / "file"), "create")
    yield file
    file.close()


def descriptors():
    return set(os.listdir("/proc/self/fd"))


def test_satisfies_the_protocols(fs, file):
    typed: FileSystem = fs
    assert typed.exists(file.path)
    assert isinstance(file, File)


def test_descriptor_is_not_inherited(fs, file):
    assert not os.get_inheritable(file._fd)


def test_descriptor_closes_with_the_last_user(fs, tmp_path):
    before = descriptors()
    file = fs.open(str(tmp_path / "x"), "create")
    assert len(descriptors()) > len(before)
    del file
    gc.collect()
    assert descriptors() <= before


def test_closed_file_refuses_and_closing_again_does_nothing(file):
    file.close()
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.pread(1, 0)
    file.advise("random")


def test_create_refuses_an_existing_file(fs, file):
    with pytest.raises(FileExistsError):
        fs.open(file.path, "create")


def test_gathered_write_and_scattered_read(file):
    assert write_all(file, [b"ab", b"", memoryview(b"cde")], 3) == 5
    head, tail = bytearray(4), bytearray(8)
    assert file.preadv([head, tail], 0) == 8
    assert (head, tail[:4]) == (b"\0\0\0a", b"bcde")
    assert read_exact(file, 2, 6) == b"de"
    with pytest.raises(EOFError, match="wanted 3 bytes at 6, found 2"):
        read_exact(file, 3, 6)


def test_more_buffers_than_one_call_takes(file):
    assert write_all(file, [bytes([i % 256]) for i in range(3000)], 0) == 3000
    assert file.pread(3000, 0) == bytes(i % 256 for i in range(3000))


@pytest.mark.parametrize("most", [0, 1, 3, 7, 100])
def test_a_write_of_known_size_goes_on_after_a_short_one(fs, file, most):
    class Short:
        path = file.path

        def pwritev(self, buffers, offset):
            data = b"".join(buffers)
            return file.pwritev([data[:most] if calls.append(offset) is None and len(calls) == 1 else data], offset)

    calls: list[int] = []
    write_sized(Short(), [b"ab", b"", memoryview(b"cde"), b"fg"], 7, 3)
    assert file.pread(100, 0) == b"\0\0\0abcdefg"
    assert calls == ([3] if most >= 7 else [3, 3 + most])


def test_a_write_of_known_size_may_have_many_buffers(file):
    write_sized(file, [bytes([i % 256]) for i in range(3000)], 3000, 0)
    assert file.pread(3001, 0) == bytes(i % 256 for i in range(3000))


def test_allocate_reserves_blocks_and_extends_but_never_shrinks(file):
    write_all(file, [b"x" * 10], 0)
    file.allocate(1 << 20)
    assert file.size() == 1 << 20
    assert os.stat(file.path).st_blocks * 512 >= 1 << 20
    file.allocate(4096)
    file.allocate(0)
    assert file.size() == 1 << 20
    assert file.pread(10, 0) == b"x" * 10


def test_allocate_where_the_file_system_cannot_extends_the_file(file, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(posix_module.os, "posix_fallocate", unsupported)
    file.allocate(5000)
    file.allocate(100)
    assert file.size() == 5000


def test_allocate_on_a_full_disk_is_an_error(file, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(posix_module.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="full"):
        file.allocate(5000)
    assert file.size() == 0


@pytest.mark.parametrize("advice", ["random", "sequential", "willneed", "dontneed"])
def test_advice_is_only_a_hint(file, advice):
    file.advise(advice)
    file.advise(advice, 4096, 4096)


def test_direct_file_takes_aligned_memory(fs, tmp_path):
    path = str(tmp_path / "direct")
    try:
        file = fs.open(path, "create", direct=True)
    except OSError:
        pytest.skip("this file system has no direct I/O")
    page = mmap.mmap(-1, 8192)
    page[:] = b"ab" * 4096
    assert file.direct
    assert file.pwritev([memoryview(page)], 0) == 8192
    back = mmap.mmap(-1, 4096)
    assert file.preadv([memoryview(back)], 4096) == 4096
    assert back[:] == b"ab" * 2048
    file.close()


def test_free_bytes_and_sync_dir(fs, file, tmp_path):
    file.sync()
    fs.sync_dir(str(tmp_path))
    assert fs.free_bytes(str(tmp_path)) > 0
    with pytest.raises(NotADirectoryError):
        fs.sync_dir(file.path)


def test_a_file_tells_what_the_page_cache_holds(tmp_path):
    """Fetched bytes are read without waiting for the device; errors of the descriptor are errors."""
    fs = PosixFileSystem()
    path = str(tmp_path / "f")
    file = fs.open(path, "create")
    data = bytes(range(256)) * 4096
    write_all(file, [data], 0)
    file.sync()
    if not file.tells_cached:
        pytest.skip("this file system cannot tell what its page cache holds")
    file.fetch(4096, len(data))
    parts = [bytearray(1000), bytearray(5000)]
    assert file.preadv_cached(parts, 8192) == 6000
    assert b"".join(parts) == data[8192:14192]
    assert file.preadv_cached([bytearray(10)], len(data)) == 0
    file.advise("dontneed")
    assert file.preadv_cached([bytearray(4096)], 0) in (0, 4096), "a hint that the kernel need not take"
    file.fetch(0, len(data))
    whole = bytearray(len(data))
    assert file.preadv_cached([whole], 0) == len(data)
    assert whole == data
    file.close()
    for call in (lambda: file.fetch(0, 10), lambda: file.preadv_cached([bytearray(1)], 0)):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()
    assert not file.tells_cached
