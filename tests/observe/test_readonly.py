"""Whoever looks cannot change what is looked at."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from lsmkv.env.fs import FileSystem
from lsmkv.env.posix import PosixFileSystem
from lsmkv.observe.readonly import ReadOnly

VERBS: dict[str, Callable[[FileSystem, str], object]] = {
    "rename": lambda fs, p: fs.rename(p, p + "2"),
    "unlink": lambda fs, p: fs.unlink(p),
    "link": lambda fs, p: fs.link(p, p + "2"),
    "mkdir": lambda fs, p: fs.mkdir(p + "2"),
    "sync_dir": lambda fs, p: fs.sync_dir(p),
    "lock": lambda fs, p: fs.lock(p + "2"),
    "write": lambda fs, p: fs.open(p, "rw"),
    "create": lambda fs, p: fs.open(p + "2", "create"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_change_is_refused(verb: str, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"untouched")
    with pytest.raises(OSError, match="read-only") as caught:
        VERBS[verb](ReadOnly(PosixFileSystem()), str(file))
    assert caught.value.errno == errno.EROFS
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert file.read_bytes() == b"untouched"


def test_looking_works(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    fs: FileSystem = ReadOnly(PosixFileSystem())
    path = str(tmp_path / "f")
    assert fs.open(path).pread(3, 0) == b"abc"
    assert fs.listdir(str(tmp_path)) == ["f"]
    assert (fs.exists(path), fs.isdir(path), fs.size(path)) == (True, False, 3)
    assert fs.free_bytes(path) > 0
