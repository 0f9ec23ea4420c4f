"""The manifest is lost while sorted data was being loaded: what was committed meanwhile is in the logs alone, and stays."""

from __future__ import annotations

import pytest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.testing import ManualScheduler, MemoryFileSystem


class KilledError(BaseException):
    """The process is gone."""


def opened(fs):
    return lsmkv.open("/db", lsmkv.Options(fs=fs, scheduler=ManualScheduler(), rng=seeded(1), table_bytes=1024))


def contents(fs):
    with opened(fs) as db:
        return dict(db.scan())


@pytest.mark.parametrize("found", ["missing", "damaged", "left out"])
def test_commits_of_the_time_of_an_unfinished_load_survive_the_loss_of_the_manifest(found):
    loaded = {b"k%04d" % i: b"loaded" * 5 for i in range(200)}
    whole = {b"flushed": b"1", b"in the log": b"2", b"meanwhile": b"3"}
    seen = set()
    for stop_at in range(1, 200):
        fs, calls, done = MemoryFileSystem(), 0, False
        db = opened(fs)
        db.put(b"flushed", b"1")
        db.flush()
        db.put(b"in the log", b"2", sync=True)

        def pairs(db=db):
            yield from loaded.items()
            db.put(b"meanwhile", b"3", sync=True)

        def hook(op, path, stop_at=stop_at):
            nonlocal calls
            calls += 1
            if calls >= stop_at:
                raise KilledError

        try:
            fs.on_op = hook
            db.load_sorted(pairs())
            done = True
        except KilledError:
            pass
        fs.on_op = None
        late = db._core.state.last_seq > 1 << 34
        fs._locks.clear()
        if found == "missing":
            fs.unlink("/db/MANIFEST")
        elif found == "damaged":
            fs.open("/db/MANIFEST", "rw").truncate(3)
        report = lsmkv.repair("/db", fs=fs, rebuild=found == "left out")
        got = contents(fs)
        least = {key: value for key, value in whole.items() if key != b"meanwhile" or db.get(key) is not None}
        assert got.items() >= least.items()
        assert set(got) - set(whole) <= set(loaded)
        assert not late or got == whole | loaded
        half = set(got) != set(whole) | set(loaded) and len(got) > len(whole)
        assert not half or any("far beyond the logs" in doubt for doubt in report.doubts)
        seen.add(half)
        db._finalizer.detach()
        if done:
            break
    assert seen == {True, False}
