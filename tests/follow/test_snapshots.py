"""Snapshots and scans of a follower show their moment, whatever the writer, and later looks, do."""

from __future__ import annotations

import pytest

import lsmkv
from tests.follow.conftest import COUNT, Stage, Witness
from tests.follow.test_in_the_middle import WORK, commits, prepared


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
@pytest.mark.parametrize("tables", [1, 512])
def test_a_snapshot_and_a_scan_survive_what_the_writer_does(work, tables: int) -> None:
    stage = prepared()
    follower = stage.follow(max_open_tables=tables, block_cache_bytes=0)
    then = dict(stage.history[stage.acknowledged])
    with stage.aside():
        snapshot, scan, half = follower.snapshot(), follower.scan(), follower.scan(reverse=True)
        begun = [next(half)]
    witness = Witness(stage, follower)
    for _ in range(3):
        work(stage)
        if stage.db is None:
            stage.open()
        stage.db.compact()
        witness.look()
        commits(stage)
        with stage.aside():
            assert dict(snapshot.scan()) == then
            assert [snapshot.get(key) for key in then] == list(then.values())
            assert snapshot.get_many([*then, b"absent"]) == [*then.values(), None]
            assert snapshot.contains_many([*then, b"absent"]).tolist() == [True] * len(then) + [False]
            assert dict(snapshot.scan(b"k05", b"k15")) == {k: v for k, v in then.items() if b"k05" <= k < b"k15"}
    with stage.aside():
        assert dict(scan) == then
        assert begun + list(half) == sorted(then.items(), reverse=True)
    witness.look()
    assert witness.seen == stage.acknowledged
    snapshot.close()
    assert follower.stats().snapshots == 0
    with pytest.raises(lsmkv.ClosedError):
        snapshot.get(COUNT)


def test_what_dead_snapshots_held_is_let_go() -> None:
    stage = prepared()
    follower = stage.follow()
    witness = Witness(stage, follower)
    for _ in range(30):
        commits(stage)
        stage.db.compact()
        witness.look()
        with stage.aside():
            scan = follower.scan()
            next(scan)
        del scan
    commits(stage)
    stage.db.compact()
    witness.look()
    named = len(stage.db.tree().tables)
    assert follower.stats().open_tables <= named
    files = [data for data in _open_files(stage) if data.opens]
    assert len(files) <= named + 10


def _open_files(stage: Stage) -> list:
    return stage.fs._tree.files("/")


def test_scans_end_with_the_follower() -> None:
    stage = prepared()
    stage.db.compact()
    stage.db.put_many((b"x%05d" % i, b"v" * 50) for i in range(5000))
    stage.db.flush()
    with stage.aside():
        follower = stage.follow()
        scan, snapshot = follower.scan(), follower.snapshot()
        next(scan)
        follower.close()
        with pytest.raises(lsmkv.ClosedError):
            list(scan)
        for read in (lambda: snapshot.get(b"a"), lambda: snapshot.get_many([b"a"]), snapshot.scan):
            with pytest.raises(lsmkv.ClosedError):
                read()


def test_a_snapshot_keeps_its_versions_while_its_log_grows() -> None:
    stage = prepared()
    commits(stage)
    follower = stage.follow()
    then = dict(stage.history[stage.acknowledged])
    snapshot = follower.snapshot()
    for _ in range(5):
        commits(stage, 20)
        with stage.aside():
            assert follower.refresh()
            assert dict(snapshot.scan()) == then
            assert snapshot.get_many(list(then)) == list(then.values())
            assert dict(follower.scan()) == stage.history[stage.acknowledged]
        follower.check()
