"""Stores to be damaged, and what a repair may answer."""

from __future__ import annotations

import random

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import MemoryFileSystem

KEYS = [b"key %03d" % i for i in range(120)]


def options(fs, **more):
    fields = {"memtable_bytes": 4 << 10, "level0_runs": 2, "table_bytes": 1 << 10, "block_bytes": 128}
    return lsmkv.Options(fs=fs, scheduler=ManualScheduler(), **(fields | more))


def fill(db, seed, steps=60, history=None):
    """Random commits; every value that each key ever had, the last one (None: deleted) at the end."""
    rng = random.Random(seed)
    history = {key: [None] for key in KEYS} if history is None else history
    for step in range(steps):
        batch = lsmkv.WriteBatch()
        for key in rng.sample(KEYS, rng.randrange(1, 12)):
            value = None if rng.random() < 0.2 else b"%d of %s" % (step, key) * rng.randrange(1, 4)
            batch.delete(key) if value is None else batch.put(key, value)
            history[key].append(value)
        db.write(batch, sync=rng.random() < 0.2)
        if rng.random() < 0.2:
            db.flush()
        if rng.random() < 0.3:
            db.step()
    return history


def store(seed=0, *, clean=False, **more):
    """A disk with the store /s on it, as a killed process (or a clean close) leaves it, and its history."""
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    fs.sync_dir("/")
    db = lsmkv.open("/s", options(fs, **more))
    history = fill(db, seed)
    if clean:
        db.close()
        return fs, history
    db.sync()
    left = copy(fs)
    db.close()
    return left, history


def read(fs, path):
    file = fs.open(path)
    return file.pread(file.size(), 0)


def write(fs, path, data):
    if fs.exists(path):
        fs.unlink(path)
    file = fs.open(path, "create")
    file.pwritev([data], 0)
    file.sync()
    file.close()


def copy(fs):
    """Another disk with the same files, all durable."""
    other = MemoryFileSystem()
    for at in ("/s", "/s/ASIDE"):
        if not fs.exists(at):
            continue
        other.mkdir(at)
        for name in fs.listdir(at):
            if not fs.isdir(f"{at}/{name}"):
                write(other, f"{at}/{name}", read(fs, f"{at}/{name}"))
        other.sync_dir(at)
    other.sync_dir("/")
    return other


def image(fs, at="/s"):
    return {name: read(fs, f"{at}/{name}") for name in fs.listdir(at) if not fs.isdir(f"{at}/{name}") and name != "LOCK"}


def originals(fs):
    """What a repair moved aside."""
    return {name: data for name, data in image(fs, "/s/ASIDE").items() if not name.startswith("REPORT")}


def flip(fs, path, at, mask=0x40):
    data = bytearray(read(fs, path))
    data[at] ^= mask
    write(fs, path, bytes(data))


def tables(fs):
    return [f"/s/{name}" for name in fs.listdir("/s") if name.endswith(".sst")]


def logs(fs):
    return [f"/s/{name}" for name in fs.listdir("/s") if name.endswith(".wal")]


def answers(fs, **more):
    """What the store says after it was repaired; it must be sound in every respect."""
    report = lsmkv.verify("/s", fs)
    assert report.ok, report.problems
    with lsmkv.open("/s", options(fs, **more)) as db:
        db.check()
        got = db.get_many(KEYS)
        assert [db.get(key) for key in KEYS] == got
        assert dict(db.scan()) == {key: value for key, value in zip(KEYS, got, strict=True) if value is not None}
        db.settle()
        db.check()
        assert db.get_many(KEYS) == got
    return dict(zip(KEYS, got, strict=True))


def truth(history):
    return {key: values[-1] for key, values in history.items()}


def counts_add_up(report):
    assert report.tables_found == report.tables_sound + report.tables_salvaged + report.tables_dropped
    given = report.entries_sound + report.entries_salvaged + report.entries_replayed
    assert report.entries == given - report.entries_twice
    assert report.entries_twice >= 0
    assert min(report.tables_dropped, report.tables_missing, report.tables_sound) >= 0


def judge(report, history, got, *, unseen=False):
    """Every answer is true, or an older one whose loss the report names. ``unseen``: it could not see all that is lost."""
    for key, values in history.items():
        if got[key] == values[-1]:
            continue
        assert got[key] in values, f"{key!r} was never {got[key]!r}"
        named = any(loss.covers(key) for loss in report.losses)
        returned = values[-1] is None and report.deleted_keys_may_return and bool(report.doubts)
        assert named or returned or unseen, f"{key!r} is {got[key]!r}, not {values[-1]!r}, and nobody says so"
