"""What a follower lets one do, and what it leaves alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import lsmkv
from lsmkv.follow.follower import WRITES
from lsmkv.testing import ManualClock, ManualScheduler, MemoryFileSystem
from tests.follow.conftest import COUNT, PATH, Stage
from tests.follow.test_in_the_middle import commits, prepared

CHANGES = {"rename", "unlink", "link", "mkdir", "sync_dir", "lock", "pwritev", "sync", "truncate", "allocate"}


def public(owner: object) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def test_every_method_of_a_store_is_there_or_refuses_by_name() -> None:
    stage = prepared()
    follower = stage.follow()
    inner = {"forked", "get_at", "get_many_at", "scan_at"}  # what snapshots and forks call
    assert public(lsmkv.DB) - public(lsmkv.Follower) - inner <= WRITES
    assert not WRITES & public(lsmkv.Follower)
    for name in WRITES:
        with pytest.raises(lsmkv.ReadOnlyError, match=f"{name}: {PATH} was opened read-only") as caught:
            getattr(follower, name)(b"key", b"value", sync=True)
        assert (caught.value.path, caught.value.what) == (PATH, name)
    with pytest.raises(AttributeError, match="no attribute 'puts'"):
        follower.puts  # noqa: B018  looking it up is the test
    assert isinstance(caught.value, lsmkv.LsmError)


def test_following_changes_nothing() -> None:
    stage = prepared()
    before = stage.fs._tree.files("/")
    contents = [bytes(data.data) for data in before]
    stage.on_call = lambda op, path: pytest.fail(f"{op} {path}")
    ops = dict(stage.fs.ops)
    with stage.follow() as follower, stage.aside():
        follower.refresh()
        follower.get(b"k01")
        list(follower.scan())
        follower.snapshot()
        follower.stats()
        follower.check()
    assert {op for op, n in stage.fs.ops.items() if n > ops.get(op, 0)} & CHANGES == set()
    assert stage.fs._tree.files("/") == before
    assert [bytes(data.data) for data in before] == contents


def test_a_directory_that_may_not_be_written_to_can_be_followed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with lsmkv.open(path) as db:
        db.put(b"a", b"1")
    for name in ("LOCK", "STATUS", "EVENTS.jsonl"):
        (path / name).unlink(missing_ok=True)
    image = sorted((p.name, p.read_bytes()) for p in path.iterdir())
    path.chmod(0o555)
    try:
        with lsmkv.open(path, read_only=True) as follower:
            assert follower.get(b"a") == b"1"
            assert not follower.refresh()
        assert sorted((p.name, p.read_bytes()) for p in path.iterdir()) == image
    finally:
        path.chmod(0o755)


def test_there_must_be_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, why in (("none", "does not exist"), ("file", "is a file"), ("empty", "holds no lsmkv store")):
        with pytest.raises(lsmkv.InvalidArgumentError, match=why):
            lsmkv.open(tmp_path / name, read_only=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file"]
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("wrong", ["yes", 1, None])
def test_read_only_is_true_or_false(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError, match=r"read_only = .*: must be True or False"):
        lsmkv.open(tmp_path / "s", read_only=wrong)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("wrong", [-1, "soon", True, float("nan")])
def test_how_often_to_look_is_a_number_or_none(wrong: object) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError, match="refresh_s"):
        lsmkv.Options(refresh_s=wrong)


def test_a_second_writer_is_told_what_it_can_do(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path / "s") as db:
        db.put(b"a", b"1")
        with pytest.raises(lsmkv.LockedError, match=r"already open for writing by this process.*read_only=True"):
            lsmkv.open(tmp_path / "s")
        with lsmkv.open(tmp_path / "s", read_only=True) as follower:
            assert follower.get(b"a") == b"1"


READS = {
    "get": lambda follower: follower.get(COUNT),
    "get_many": lambda follower: follower.get_many([COUNT])[0],
    "scan": lambda follower: dict(follower.scan())[COUNT],
    "snapshot": lambda follower: follower.snapshot().get(COUNT),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_read_looks_when_the_last_look_is_old(read: Callable[[lsmkv.Follower], bytes]) -> None:
    stage = prepared()
    clock = ManualClock()
    often, seldom, never = (stage.follow(clock=clock, refresh_s=every) for every in (0, 0.5, None))
    old = b"%d" % stage.acknowledged
    commits(stage, 1)
    new = b"%d" % stage.acknowledged
    with stage.aside():
        assert [read(follower) for follower in (often, seldom, never)] == [new, old, old]
        clock.advance(0.25)
        assert [read(follower) for follower in (often, seldom, never)] == [new, old, old]
        clock.advance(0.25)
        assert [read(follower) for follower in (often, seldom, never)] == [new, new, old]
        clock.advance(1000)
        assert never.stats().age_s == 1000.5
        assert [read(follower) for follower in (often, seldom, never)] == [new, new, old]
        assert never.refresh()
        assert read(never) == new
        assert never.stats().age_s == 0


def test_what_it_says_of_itself() -> None:
    stage = prepared()
    with stage.follow() as follower, stage.aside():
        stats, writer = follower.stats(), stage.db.stats()
        for name in ("path", "policy", "last_seq", "entries", "bytes"):
            assert getattr(stats, name) == getattr(writer, name), name
        assert stats.memtable_entries == sum(
            m.entries for m in (stage.db._box.current.mem, *(i.mem for i in stage.db._box.current.imms))
        )
        assert stats.logs == 3
        assert stats.looks == 1
        assert [level.tables for level in stats.levels] == [level.tables for level in writer.levels]
        assert stats.to_dict()["levels"][0]["level"] == 0
        assert follower.tree().levels == stage.db.tree().levels
        assert follower.path == PATH
        assert follower.options.refresh_s is None
        list(follower.scan())
        assert follower.stats().block_reads + follower.stats().cache_hits > 0


def test_it_tells_of_the_range_deletes_that_reads_ask_about(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path / "s", lsmkv.Options(range_delete_keys=0, scheduler=ManualScheduler())) as db:
        db.put_many((b"%03d" % i, b"v") for i in range(100))
        db.flush()
        with lsmkv.open(tmp_path / "s", lsmkv.Options(refresh_s=None), read_only=True) as follower:
            db.delete_range(b"010", b"090")
            db.flush()
            assert follower.stats().range_deletes == 0
            follower.refresh()
            assert follower.stats().range_deletes == db.stats().range_deletes == 1


def test_after_closing_nothing_is_there(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path / "s") as db:
        db.put(b"a", b"1")
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    followers = [lsmkv.open(tmp_path / "s", read_only=True) for _ in range(5)]
    for follower in followers:
        assert follower.get(b"a") == b"1"
    assert threading.active_count() == threads, "no thread of its own"
    assert len(os.listdir("/proc/self/fd")) > files
    for follower in followers:
        follower.close()
        follower.close()
        for call in (
            lambda f=follower: f.get(b"a"),
            lambda f=follower: f.get_many([b"a"]),
            lambda f=follower: f.contains_many([b"a"]),
            lambda f=follower: f.count_leading([b"a"]),
            lambda f=follower: f.scan(),
            lambda f=follower: f.snapshot(),
            lambda f=follower: f.refresh(),
            lambda f=follower: f.stats(),
            lambda f=follower: f.tree(),
            lambda f=follower: f.check(),
        ):
            with pytest.raises(lsmkv.ClosedError):
                call()
    assert len(os.listdir("/proc/self/fd")) == files
    followers = [lsmkv.open(tmp_path / "s", read_only=True)]
    followers[0].get(b"a")
    followers.clear()
    assert len(os.listdir("/proc/self/fd")) == files, "dropping it is enough"


def test_in_a_forked_child_it_is_closed(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path / "s") as db:
        db.put(b"a", b"1")
    with lsmkv.open(tmp_path / "s", read_only=True) as follower:
        locks = (follower._refresh_lock, follower._apply_lock, follower._snapshots.door)
        for lock in locks:  # as if another thread were looking
            lock.acquire()
        child = os.fork()
        if not child:
            status = 1
            try:
                for call in (lambda: follower.get(b"a"), follower.refresh, follower.scan, follower.snapshot, follower.stats):
                    try:
                        call()
                    except lsmkv.ClosedError:
                        continue
                    os._exit(2)
                follower.close()
                status = 0
            finally:
                os._exit(status)
        for lock in locks:
            lock.release()
        assert os.waitpid(child, 0)[1] == 0
        assert follower.get(b"a") == b"1"


def test_bad_keys_are_refused_as_by_a_store() -> None:
    fs = MemoryFileSystem()
    stage = Stage(fs)
    stage.open()
    with stage.follow() as follower, stage.aside():
        for call in (
            lambda: follower.get("a"),
            lambda: follower.get_many(["a"]),
            lambda: follower.scan(start="a"),
            lambda: follower.snapshot().scan(prefix="a"),
            lambda: follower.snapshot().get(1),
        ):
            with pytest.raises(lsmkv.InvalidArgumentError):
                call()
