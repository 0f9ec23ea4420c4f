"""A follower looks before every file-system call of its writer, whatever that is doing, and is right each time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import lsmkv
from tests.follow.conftest import Stage, Witness
from tests.turns import Killed


def writing(stage: Stage, commits: int) -> None:
    """Commits that overwrite, delete and bring back; memtables fill up and are flushed and merged by the writes themselves."""
    for _ in range(commits):
        i = len(stage.history)
        stage.commit(**{f"k{i * 7 % 23:02d}": b"v%d" % i * (1 + i % 5), f"k{i * 11 % 23:02d}": None if i % 3 else b"w%d" % i})


def puts(stage: Stage) -> None:
    writing(stage, 60)


def flushes(stage: Stage) -> None:
    for _ in range(4):
        writing(stage, 5)
        stage.db.flush()


def compactions(stage: Stage) -> None:
    for _ in range(3):
        writing(stage, 15)
        stage.db.flush()
        stage.db.settle()
    stage.db.compact()


def rewrites(stage: Stage) -> None:
    """So many edits that the manifest is replaced."""
    generation = stage.db._core.manifest.generation
    while stage.db._core.manifest.generation < generation + 2:
        writing(stage, 2)
        stage.db.flush()
        stage.db.settle()


def policies(stage: Stage) -> None:
    for policy in (lsmkv.Tiered(size_ratio=3), lsmkv.LazyLeveling(size_ratio=3), lsmkv.Leveled(size_ratio=4)):
        writing(stage, 20)
        stage.db.set_policy(policy)
        stage.db.settle()


def reopenings(stage: Stage) -> None:
    for _ in range(3):
        writing(stage, 7)
        stage.db.close()
        stage.open()


def deaths(stage: Stage) -> None:
    """Killed with full logs, one of them with half a frame at its end."""
    for torn in (b"", b"half a frame" * 10):
        writing(stage, 30)
        last = stage.db._committer.wal
        stage.die()
        with stage.aside():
            stage.fs.open(last.path, "rw").pwritev([torn], last.length)
        stage.open()


SCENES = [puts, flushes, compactions, rewrites, policies, reopenings, deaths]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
@pytest.mark.parametrize("memtable", ["skiplist", "sorteddict"])
def test_a_follower_is_right_before_every_call(scene: Callable[[Stage], None], memtable: str) -> None:
    stage = Stage()
    stage.open()
    witness = Witness(stage, stage.follow(memtable=memtable))
    stage.on_call = lambda op, path: witness.look()
    scene(stage)
    stage.db.close()
    witness.look()
    assert witness.seen == stage.acknowledged == len(stage.history) - 1
    assert stage.calls > 50
    assert witness.changes > 10
    assert witness.follower.stats().reloads == 0, "nothing contradicts itself on this disk"
    witness.follower.check()
    witness.follower.close()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_follower_opened_before_any_call_is_right(scene: Callable[[Stage], None]) -> None:
    stage = Stage()
    stage.open()

    def look(op: str, path: str) -> None:
        with stage.follow() as follower:
            number = Witness(stage, follower).read()
            assert number >= stage.acknowledged

    stage.on_call = look
    scene(stage)
    stage.db.close()


@pytest.mark.parametrize("every", [2, 3, 7, 23, 101])
def test_a_follower_that_looks_seldom_is_right(every: int) -> None:
    """Between two looks logs come and go, the manifest is replaced, tables it has not opened are merged away."""
    stage = Stage()
    stage.open()
    witness = Witness(stage, stage.follow(max_open_tables=2))
    asked = 1

    def look(op: str, path: str) -> None:
        nonlocal asked
        if stage.calls % every == 0:
            asked += 1
            witness.look()
        elif stage.calls % every == every // 2:  # without looking: tables it has to open now may be gone
            number = witness.read()
            assert number >= witness.seen
            witness.seen = number

    stage.on_call = look
    for scene in SCENES:
        scene(stage)
    stage.db.close()
    witness.look()
    assert witness.seen == stage.acknowledged
    assert every < 100 or witness.follower.stats().looks > asked + 1, "tables were gone and made reads look by themselves"


def moments(scene: Callable[[Stage], None]) -> int:
    stage = Stage()
    stage.open()
    stage.calls = 0
    scene(stage)
    return stage.calls


@pytest.mark.parametrize("scene", [flushes, compactions, rewrites], ids=lambda scene: scene.__name__)
def test_a_writer_killed_at_any_call_and_opened_again_is_followed(scene: Callable[[Stage], None]) -> None:
    total = moments(scene)
    step = max(total // 60, 1)
    for at in range(1, total + 1, step):
        stage = Stage()
        stage.open()
        witness = Witness(stage, stage.follow())
        stage.calls, stage.kill_at = 0, at
        with pytest.raises(Killed):
            scene(stage)
        stage.die()
        witness.look()
        stage.on_call = lambda op, path, witness=witness: witness.look()
        stage.open()
        stage.forget_what_was_lost()
        assert witness.seen >= stage.acknowledged
        writing(stage, 3)
        stage.db.close()
        witness.look()
        assert witness.seen == stage.acknowledged
