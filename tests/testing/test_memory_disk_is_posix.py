"""Without a crash nobody can tell the disk in memory from a real one: random programs get the same answers."""

import os
import shutil
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.env import PosixFileSystem
from lsmkv.testing.memfs import MemoryFileSystem

PATHS = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "a/x", "missing/x"])
SLOTS = st.integers(0, 2)
SIZES = st.integers(0, 9000)

STEPS = st.one_of(
    st.tuples(st.just("open"), SLOTS, PATHS, st.sampled_from(["r", "rw", "create"])),
    st.tuples(st.just("create"), SLOTS, PATHS),
    st.tuples(st.just("write"), SLOTS, st.lists(st.binary(max_size=20), max_size=3), SIZES),
    st.tuples(st.just("read"), SLOTS, SIZES, SIZES),
    st.tuples(st.just("scatter"), SLOTS, st.lists(st.integers(0, 30), max_size=3), SIZES),
    st.tuples(st.just("truncate"), SLOTS, SIZES),
    st.tuples(st.just("allocate"), SLOTS, SIZES),
    st.tuples(st.sampled_from(["length", "sync", "close"]), SLOTS),
    st.tuples(st.sampled_from(["rename", "link"]), PATHS, PATHS),
    st.tuples(st.sampled_from(["unlink", "mkdir", "listdir", "exists", "isdir", "size", "sync_dir"]), PATHS),
)


class Machine:
    """Runs steps on a file system and says what each gave."""

    def __init__(self, fs, root):
        self.fs, self.root, self.files = fs, root, {}

    def run(self, step):
        try:
            return self.step(*step)
        except OSError as error:
            return type(error), error.errno

    def step(self, op, *args):
        if op in ("open", "create"):
            slot, path, *mode = args
            file = self.fs.open(os.path.join(self.root, path), mode[0] if mode else "create")
            if os.path.isdir(file.path):
                raise IsADirectoryError(21, "the kernel opens directories for reading, the protocol speaks of files")
            self.files[slot] = file
            return None
        if op in ("write", "read", "scatter", "truncate", "allocate", "length", "sync", "close"):
            file = self.files.get(args[0])
            return "no file" if file is None else self.on_file(op, file, *args[1:])
        if op == "size" and self.fs.isdir(os.path.join(self.root, *args)):
            return "a directory has no length that means anything"
        return getattr(self.fs, op)(*[os.path.join(self.root, path) for path in args])

    def on_file(self, op, file, *args):
        if op == "write":
            return file.pwritev(*args)
        if op == "read":
            return file.pread(*args)
        if op == "scatter":
            buffers = [bytearray(n) for n in args[0]]
            return file.preadv(buffers, args[1]), buffers
        return file.size() if op == "length" else getattr(file, op)(*args)

    def contents(self):
        found = {}
        todo = [self.root]
        while todo:
            where = todo.pop()
            for name in self.fs.listdir(where):
                path = f"{where}/{name}"
                if self.fs.isdir(path):
                    todo.append(path)
                    found[path.removeprefix(self.root)] = None
                else:
                    found[path.removeprefix(self.root)] = self.fs.open(path).pread(1 << 20, 0)
        return found


@settings(max_examples=200)
@given(st.lists(STEPS, max_size=40))
def test_random_programs_get_the_same_answers(steps):
    root = tempfile.mkdtemp()
    memory = MemoryFileSystem()
    memory.mkdir("/root")
    try:
        real, model = Machine(PosixFileSystem(), root), Machine(memory, "/root")
        for step in steps:
            assert model.run(step) == real.run(step), step
        assert model.contents() == real.contents()
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize("make", [MemoryFileSystem, PosixFileSystem])
def test_renaming_directories(make, tmp_path):
    fs, root = make(), str(tmp_path)
    fs.mkdir(f"{root}/x/deep")
    fs.open(f"{root}/x/deep/file", "create").close()
    fs.rename(f"{root}/x", f"{root}/y")
    assert fs.exists(f"{root}/y/deep/file")
    assert not fs.exists(f"{root}/x")
    with pytest.raises(OSError, match=r"Invalid|EINVAL"):
        fs.rename(f"{root}/y", f"{root}/y/deep/z")
    fs.mkdir(f"{root}/full/inner")
    with pytest.raises(OSError, match=r"not empty|ENOTEMPTY"):
        fs.rename(f"{root}/y", f"{root}/full")
    fs.mkdir(f"{root}/empty")
    fs.rename(f"{root}/y", f"{root}/empty")
    assert fs.listdir(f"{root}/empty") == ["deep"]


@pytest.mark.parametrize("make", [MemoryFileSystem, PosixFileSystem])
def test_removed_file_stays_readable_for_who_has_it_open(make, tmp_path):
    fs, path = make(), str(tmp_path / "file")
    fs.mkdir(str(tmp_path))
    file = fs.open(path, "create")
    file.pwritev([b"still here"], 0)
    fs.unlink(path)
    assert not fs.exists(path)
    assert file.pread(100, 0) == b"still here"


@pytest.mark.parametrize("make", [MemoryFileSystem, PosixFileSystem])
def test_file_open_for_reading_refuses_writes(make, tmp_path):
    fs, path = make(), str(tmp_path / "file")
    fs.mkdir(str(tmp_path))
    fs.open(path, "create").close()
    file = fs.open(path)
    for write in (lambda: file.pwritev([b"x"], 0), lambda: file.truncate(0), lambda: file.allocate(10)):
        with pytest.raises(OSError, match=r"EBADF|EINVAL|Bad file|Invalid"):
            write()
    assert file.size() == 0
