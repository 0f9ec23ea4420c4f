"""The writer goes on in the middle of a look: at each file-system call of the follower it may have done anything."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from lsmkv.errors import BusyError
from lsmkv.follow.follower import ATTEMPTS
from lsmkv.testing.faults import FailOp, FaultFileSystem
from tests.follow.conftest import Stage, Witness


def commits(stage: Stage, n: int = 3) -> None:
    for _ in range(n):
        i = len(stage.history)
        stage.commit(**{f"k{i * 7 % 23:02d}": b"v%d" % i * (1 + i % 5), f"k{i * 11 % 23:02d}": None if i % 3 else b"w%d" % i})


def rotate(stage: Stage) -> None:
    with stage.db._committer.lock:
        stage.db._committer.rotate()


def turn(stage: Stage) -> None:
    """A log is full, more commits go to the next."""
    commits(stage)
    rotate(stage)
    commits(stage)


def flush(stage: Stage) -> None:
    commits(stage)
    stage.db.flush()
    commits(stage)


def flush_quietly(stage: Stage) -> None:
    """The next log is there and empty."""
    commits(stage)
    stage.db.flush()


def compact(stage: Stage) -> None:
    flush(stage)
    stage.db.compact()
    commits(stage)


def rewrite(stage: Stage) -> None:
    generation = stage.db._core.manifest.generation
    while stage.db._core.manifest.generation == generation:
        flush(stage)
        stage.db.settle()


def close(stage: Stage) -> None:
    commits(stage)
    stage.db.close()
    stage.db = None


def reopen(stage: Stage) -> None:
    commits(stage)
    stage.db.close()
    stage.open()


def die(stage: Stage) -> None:
    turn(stage)
    stage.die()
    stage.open()
    assert stage.db.stats().memtable_entries == 0


def die_and_commit(stage: Stage) -> None:
    die(stage)
    commits(stage)


WORK = [turn, flush, flush_quietly, compact, rewrite, close, reopen, die, die_and_commit]


def calls_of_a_look(stage: Stage, look: Callable[[], object]) -> int:
    before = sum(stage.fs.ops.values())
    look()
    return sum(stage.fs.ops.values()) - before


def delayed(at: int, work: Callable[[], None]) -> Callable[[], object]:
    """``work`` before the ``at``-th call from now."""
    return (lambda: delayed(at - 1, work)) if at else work


def prepared() -> Stage:
    """Tables, a full log that waits, a log in use."""
    stage = Stage(max_immutables=50, memtable_bytes=1 << 20)
    stage.open()
    for _ in range(3):
        commits(stage, 5)
        stage.db.flush()
    turn(stage)
    turn(stage)
    return stage


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
@pytest.mark.parametrize("fresh", [False, True], ids=["goes-on", "opens"])
def test_a_look_with_the_writer_at_work_in_its_middle_is_right(work: Callable[[Stage], None], fresh: bool) -> None:
    at = 0
    while True:
        stage = prepared()
        old = None if fresh else stage.follow()
        commits(stage)
        acknowledged = stage.acknowledged
        done: list[bool] = []
        stage.meanwhile = delayed(at, lambda stage=stage, done=done: done.append(True) or work(stage))
        if old is None:
            follower = stage.follow()
        else:
            follower = old
            with stage.aside():
                follower.refresh()
        stage.meanwhile = None
        if not done:
            break
        witness = Witness(stage, follower)
        witness.seen = witness.read()
        assert witness.seen >= acknowledged
        witness.look()
        assert witness.seen == stage.acknowledged
        at += 1
    assert at >= 7, "there were calls to come between"


@pytest.mark.parametrize("work", WORK[:5], ids=lambda work: work.__name__)
def test_a_read_with_the_writer_at_work_in_its_middle_is_one_moment(work: Callable[[Stage], None]) -> None:
    for at in range(0, 40, 3):
        stage = prepared()
        follower = stage.follow(block_cache_bytes=0, max_open_tables=1)
        witness = Witness(stage, follower)
        stage.meanwhile = delayed(at, lambda stage=stage: work(stage))
        first = witness.read()
        stage.meanwhile = None
        witness.seen = first
        witness.look()


def test_a_writer_that_never_lets_a_look_finish_is_told() -> None:
    """Logs that are listed and gone when they are opened, every time: no reason to wait for ever."""
    stage = prepared()
    faults = FaultFileSystem(stage.fs)
    with stage.aside(), stage.follow(fs=faults) as follower:
        commits_shown = dict(follower.scan())
        with stage.aside(False):
            turn(stage)
        rule = faults.add(FailOp("open", path="*.wal", errno=errno.ENOENT))
        with pytest.raises(BusyError, match="faster than they can be read"):
            follower.refresh()
        assert faults.hits(rule) >= ATTEMPTS
        assert dict(follower.scan()) == commits_shown, "what was shown stays"
        faults.clear()
        assert follower.refresh()
        assert dict(follower.scan()) == stage.history[stage.acknowledged]
