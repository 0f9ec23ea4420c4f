"""An opening that fails lets go of every file and leaves no table behind; the next one finds all that was there."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import ClassVar

import pytest

import lsmkv
from lsmkv.policy.ranges import whole
from lsmkv.testing import FailOp, FaultFileSystem, ManualScheduler, MemoryFileSystem


@dataclass(frozen=True)
class Restless:
    """Sends the oldest run ever deeper: it never comes to rest."""

    def pick(self, shape):
        level, run = next(((n, one.runs[-1]) for n, one in reversed(list(enumerate(shape.levels))) if one.runs), (0, None))
        return lsmkv.policy.Task((whole(level, run),), level + 1, None, "deeper") if run is not None else None


@dataclass(frozen=True)
class Picky:
    """Takes small numbers only."""

    number: int = 2
    most: ClassVar[int] = 9

    def __post_init__(self):
        if self.number > self.most:
            raise ValueError(f"{self.number} is too much")

    def pick(self, shape):
        return None


class Counting(FaultFileSystem):
    """Knows which files are open."""

    def __init__(self, inner):
        super().__init__(inner)
        self.opened = []

    def open(self, path, mode="r", *, direct=False):
        file = super().open(path, mode, direct=direct)
        self.opened.append(file)
        return file

    @property
    def still_open(self):
        return [file.path for file in self.opened if file._inner._data is not None]


def options(fs, **chosen):
    return lsmkv.Options(fs=fs, scheduler=ManualScheduler(), memtable_bytes=1 << 16, **chosen)


@pytest.fixture
def left():
    """A disk with a table, and a log that a power cut left."""
    fs = MemoryFileSystem()
    db = lsmkv.open("/db", options(fs))
    db.put(b"a", b"1")
    db.flush()
    db.put(b"b", b"2", sync=True)
    return fs.crash()


def tables(fs):
    return sorted(name for name in fs.listdir("/db") if name.endswith(".sst"))


def refuse_the_edit(fs):
    fs.add(FailOp("pwritev", path="*MANIFEST", nth=2, times=1, errno=errno.ENOSPC))
    return {}, lsmkv.NoSpaceError


def refuse_the_table(fs):
    fs.add(FailOp("sync", path="*.sst"))
    return {}, lsmkv.IOFailedError


def give_a_restless_policy(fs):
    del fs
    return {"policy": Restless()}, lsmkv.InvalidArgumentError


@pytest.mark.parametrize("spoil", [refuse_the_edit, refuse_the_table, give_a_restless_policy])
def test_it_lets_go_of_its_files_and_takes_its_tables_back(left, spoil):
    """Bug: the manifest stayed open, and replayed entries stayed in tables that nobody named."""
    fs = Counting(left)
    before = tables(left)
    chosen, error = spoil(fs)
    with pytest.raises(error):
        lsmkv.open("/db", options(fs, **chosen))
    assert fs.still_open == []
    assert tables(left) == before
    with lsmkv.open("/db", options(left)) as db:
        assert dict(db.scan()) == {b"a": b"1", b"b": b"2"}
        assert not [told for told in db.stats().recovery if "unfinished" in told]


def test_a_log_that_cannot_be_read_lets_go_of_the_manifest(left):
    fs = Counting(left)
    fs.add(FailOp("read", path="*.wal"))
    with pytest.raises(lsmkv.IOFailedError):
        lsmkv.open("/db", options(fs))
    assert fs.still_open == []


def test_a_recorded_policy_that_refuses_its_parameters_now_can_be_replaced(left, monkeypatch):
    """Bug: only TypeError was expected of it, so that even Options(policy=...) did not open the store."""
    with lsmkv.open("/db", options(left, policy=Picky(4))) as db:
        before = dict(db.scan())
    monkeypatch.setattr(Picky, "most", 3)
    with pytest.raises(lsmkv.InvalidArgumentError, match=r"4 is too much.*Options\(policy="):
        lsmkv.open("/db", options(left))
    with lsmkv.open("/db", options(left, policy=lsmkv.Leveled())) as db:
        assert dict(db.scan()) == before
        assert db.stats().transition.from_policy["number"] == 4
