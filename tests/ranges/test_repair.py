"""A repair does not bring back what a range delete in a surviving log, or in a surviving piece of the manifest, removed."""

from __future__ import annotations

import pytest

import lsmkv
from lsmkv.base.filenames import parse_name
from lsmkv.testing import MemoryFileSystem
from tests.ranges.conftest import KEYS


def killed(db, disk):
    """The disk as a killed process leaves it."""
    db.sync()
    db._core.manifest.close()
    return disk.crash()


def flip(fs, path, at):
    file = fs.open(path, "rw")
    byte = file.pread(1, at)[0]
    file.pwritev([bytes([byte ^ 1])], at)


def logs(fs):
    return sorted(name for name in fs.listdir("/db") if (file := parse_name(name)) is not None and file.kind == "wal")


LEFT = [*KEYS[:50], b"060", *KEYS[150:]]


@pytest.fixture(params=["in the log", "in the manifest", "in both"])
def left(request, filled, disk) -> tuple[str, MemoryFileSystem]:
    db = filled()
    snapshot = db.snapshot()  # keeps what is covered in the tables
    db.delete_range(b"050", b"150")
    db.put(b"060", b"new")
    if request.param != "in the log":
        db.flush()
    if request.param == "in both":
        db.delete_range(b"0605", b"061")
    assert snapshot.get(b"060") == b"060" * 20
    return request.param, killed(db, disk)


@pytest.mark.parametrize("damage", ["no manifest", "end of the manifest", "rebuild"])
def test_what_was_removed_stays_removed(left, open_db, damage):
    where, fs = left
    if damage == "no manifest":
        fs.unlink("/db/MANIFEST")
    elif damage == "end of the manifest":
        size = len(fs.open("/db/MANIFEST").pread(1 << 20, 0).rstrip(b"\0"))
        fs.open("/db/MANIFEST", "rw").truncate(size + 10)
    report = lsmkv.repair("/db", fs, rebuild=damage == "rebuild")
    assert report.manifest == "rebuilt"
    with open_db(fs=fs) as db:
        got = [key for key, _ in db.scan()]
        if damage == "no manifest" and where != "in the log":
            assert report.deleted_keys_may_return
            assert set(LEFT) <= set(got)
        else:
            assert got == LEFT
        db.check()
        db.put_many([(key, b"later") for key in KEYS])
        db.settle()
        assert dict(db.scan()) == dict.fromkeys(KEYS, b"later"), "what is written now is newer than any range delete"
    assert lsmkv.verify("/db", fs).ok


def test_a_damaged_log_gives_the_range_deletes_before_the_damage(filled, disk, open_db):
    db = filled()
    db.delete_range(b"050", b"150")
    db.put(b"060", b"new", sync=True)
    length = db._committer.wal.length
    db.put(b"070", b"lost", sync=True)
    db.put(b"080", b"lost")  # it says that all before it is durable
    fs = killed(db, disk)
    flip(fs, f"/db/{logs(fs)[-1]}", length + 50)
    assert not lsmkv.verify("/db", fs).ok
    lsmkv.repair("/db", fs)
    with open_db(fs=fs) as db:
        assert [key for key, _ in db.scan()] == LEFT
        assert db.get(b"060") == b"new"


def test_a_log_with_range_deletes_alone_is_repaired(filled, disk, open_db):
    db = filled()
    db.delete_range(b"050", b"150")
    fs = killed(db, disk)
    fs.unlink("/db/MANIFEST")
    lsmkv.repair("/db", fs)
    with open_db(fs=fs) as db:
        assert [key for key, _ in db.scan()] == KEYS[:50] + KEYS[150:]
