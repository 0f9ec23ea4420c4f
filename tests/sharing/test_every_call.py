"""A sibling looks before every file-system call of the writer, whatever that is doing, and is right each time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sharing.conftest import Stage, Witness
from tests.turns import Killed


def puts(stage: Stage) -> None:
    for start in range(0, 24, 4):
        stage.put(range(start, start + 4))


def deletes(stage: Stage) -> None:
    """Keys that come back with other bytes: a follower that believed an old place would show the old ones."""
    for salt in range(3):
        stage.put(range(8), salt)
        stage.delete(range(8))


def evictions(stage: Stage) -> None:
    """Three times what fits: every segment is recycled."""
    for start in range(0, 150, 5):
        stage.put(range(start, start + 5))


def collections(stage: Stage) -> None:
    for start in range(0, 48, 12):
        stage.put(range(start, start + 12))
        stage.delete(range(start + 1, start + 12, 2))
        with stage.aside(False):
            stage.writer.gc(max_live=0.9)


def syncs(stage: Stage) -> None:
    for start in range(0, 20, 5):
        stage.put(range(start, start + 5))
        with stage.aside(False):
            stage.writer.sync()


def upkeep(stage: Stage) -> None:
    """The index writes tables and merges them."""
    for start in range(0, 30, 6):
        stage.put(range(start, start + 6))
        with stage.aside(False):
            stage.writer._db.flush()
            stage.writer._db.compact()


def reopenings(stage: Stage) -> None:
    for start in range(0, 30, 10):
        stage.put(range(start, start + 10))
        stage.end()
        stage.begin()


def deaths(stage: Stage) -> None:
    for start in range(0, 30, 10):
        stage.put(range(start, start + 10))
        stage.die()
        stage.begin()


def shrinking(stage: Stage) -> None:
    """Segments are removed, and made again under their numbers."""
    stage.put(range(50))
    stage.end()
    stage.left = set()  # most of it goes at once
    stage.begin(segments=3)
    stage.end()
    stage.begin()
    stage.put(range(50, 90))


SCENES = [puts, deletes, evictions, collections, syncs, upkeep, reopenings, deaths, shrinking]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_sibling_is_right_before_every_call(stage: Stage, scene: Callable[[Stage], None]) -> None:
    stage.begin()
    witness, stage.calls = Witness(stage), 0
    stage.on_call = lambda op, path: witness.look()
    scene(stage)
    witness.look()
    assert stage.calls > 20
    assert witness.looks == stage.calls + 1
    assert witness.seen > witness.looks
    witness.check_calm()


@pytest.mark.parametrize("every", [3, 7, 31])
def test_a_sibling_that_looks_seldom_is_right(stage: Stage, every: int) -> None:
    """Between two looks segments are recycled under the descriptors that it holds."""
    stage.begin()
    witness = Witness(stage, refresh_s=1e9)

    def look(op: str, path: str) -> None:
        if stage.calls % every == 0:
            witness.glance()

    stage.on_call = look
    for scene in SCENES:
        scene(stage)
        stage.delete(list(stage.salts))
    assert witness.looks > 10
    assert sum(s.retries for s in witness.store.stats().sharing.siblings) > 0
    witness.check_calm()


@pytest.mark.parametrize("scene", [evictions, collections, deletes, shrinking], ids=lambda scene: scene.__name__)
def test_a_writer_killed_at_any_call_and_started_again_is_followed(scene: Callable[[Stage], None]) -> None:
    rehearsal = Stage()
    rehearsal.begin()
    rehearsal.calls = 0
    scene(rehearsal)
    step = max(rehearsal.calls // 12, 1)
    for at in range(1, rehearsal.calls * 9 // 10, step):
        stage = Stage()
        stage.begin()
        witness = Witness(stage)
        stage.calls, stage.kill_at = 0, at
        with pytest.raises(Killed):
            scene(stage)
        stage.die()
        stage.on_call = lambda op, path, witness=witness: witness.look()
        stage.begin()
        stage.put(range(100, 103))
        witness.look()
        witness.check_calm()
        stage.on_call = lambda op, path: None
        stage.close()
