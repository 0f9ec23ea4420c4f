"""Real processes: writers that evict, collect, recycle and are killed; siblings here that read all the while."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lsmkv_tensor import PageFollower, PageStore, Sharing
from tests.sharing import writer

ROUNDS = 120


class Scene:
    def __init__(self, folder: Path) -> None:
        self.root = str(folder / "root")
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def acked(self, member: str) -> Path:
        path = self.folder / f"{member}.acked"
        if not path.exists():
            path.write_bytes(bytes(8))
        return path

    def start(self, member: str = "a", rounds: int = ROUNDS) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        arguments = [sys.executable, writer.__file__, self.root, member, str(self.acked(member)), str(rounds)]
        process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)
        self.processes[member] = process
        return process

    def acknowledged(self, member: str = "a") -> int:
        return int.from_bytes(self.acked(member).read_bytes()[:8], "little")

    def kill(self, member: str = "a") -> None:
        process = self.processes.pop(member)
        process.kill()
        process.communicate()

    def finished(self, member: str = "a") -> bool:
        process = self.processes[member]
        if process.poll() is None:
            return False
        assert process.returncode == 0, process.stderr.read().decode()
        return True


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    for process in scene.processes.values():
        process.kill()
        process.communicate()


def look(scene: Scene, namespace, member: str = "a", first: int = 1) -> int:
    """Ask for everything that may be there; what is acknowledged and lasting must be. The acknowledged round."""
    before = scene.acknowledged(member)
    asked = [(n, i) for n in range(max(before - 2 * writer.LASTING, first), before + 3) for i in range(writer.PAGES)]
    out = np.zeros((len(asked), writer.PAGE), np.uint8)
    flags = namespace.get_into([writer.key(n, i) for n, i in asked], out)
    for (n, i), flag, row in zip(asked, flags, out, strict=True):
        if flag:
            assert row.tobytes() == writer.page(n, i), f"wrong bytes for page {i} of round {n}"
    after = scene.acknowledged(member)  # what may have been deleted meanwhile is not counted on
    got = {at for at, flag in zip(asked, flags, strict=True) if flag}
    must = {(n, i) for n in range(max(after - writer.LASTING + 2, first), before + 1) for i in writer.kept(n)}
    assert must <= got, f"round {before} acknowledged before, {after} after; missing {sorted(must - got)}"
    return before


def seen(scene: Scene, reader: PageFollower) -> None:
    """Until the writer's directory is found; after that nothing of it is missed."""
    while not any(sibling.followed for sibling in reader.stats().sharing.siblings):
        assert not scene.finished()
        reader.refresh()


def calm(store: PageStore | PageFollower) -> None:
    sharing = store.stats().sharing
    assert sharing.lag_misses == 0
    for sibling in sharing.siblings:
        assert (sibling.followed, sibling.unreadable, sibling.failures) == (True, 0, 0), sibling


def test_a_busy_writer_is_followed_to_its_end(scene: Scene) -> None:
    with PageFollower.open(scene.root) as reader:
        namespace = reader.namespace(writer.FIELDS, writer.PAGE)
        scene.start()
        seen(scene, reader)
        while not scene.finished():
            look(scene, namespace)
        assert look(scene, namespace) == ROUNDS
        calm(reader)
        assert reader.stats().sharing.hits > ROUNDS


def test_killed_writers_and_their_successors_are_followed(scene: Scene) -> None:
    """The dead one's pages are there as long as its directory."""
    with PageFollower.open(scene.root) as reader:
        namespace = reader.namespace(writer.FIELDS, writer.PAGE)
        for life in range(1, 5):
            scene.start(rounds=10**9)
            seen(scene, reader)
            while look(scene, namespace) < life * 20:
                assert not scene.finished()
            scene.kill()
            look(scene, namespace)
            look(scene, namespace)
        scene.start(rounds=30)
        while not scene.finished():
            look(scene, namespace)
        look(scene, namespace)
        calm(reader)


def test_members_read_each_other_while_all_of_them_write(scene: Scene) -> None:
    """One of them is this process, whose own pages come and go meanwhile."""
    gc.collect()
    files = len(os.listdir("/proc/self/fd"))
    with PageStore.open(scene.root, options=writer.OPTIONS, member="here", sharing=Sharing(refresh_s=0.0)) as store:
        namespace = store.namespace(writer.FIELDS, writer.PAGE)
        starts = {"a": 10**6, "b": 2 * 10**6}
        for member, start in starts.items():
            scene.acked(member).write_bytes(start.to_bytes(8, "little"))
            scene.start(member, 60)
        number = 0
        while not all([scene.finished("a"), scene.finished("b")]):
            number += 1
            assert all(namespace.put_many([writer.key(number, i) for i in range(6)], [writer.page(number, i) for i in range(6)]))
            for member, start in starts.items():
                look(scene, namespace, member, start + 1)
        for member, start in starts.items():
            look(scene, namespace, member, start + 1)
        calm(store)
        assert number > 3
        assert store.stats().sharing.hits > 0
    for process in scene.processes.values():
        process.communicate()
    scene.processes.clear()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == files


def test_a_reader_with_a_stale_view_finds_what_moved(scene: Scene) -> None:
    """It looks only when something is missing or not where it was: every read begins with an old place."""
    with PageFollower.open(scene.root, sharing=Sharing(refresh_s=1e6)) as reader:
        namespace = reader.namespace(writer.FIELDS, writer.PAGE)
        scene.start(rounds=150)
        while scene.acknowledged() < 20:
            assert not scene.finished()
        seen(scene, reader)
        one = np.zeros((1, writer.PAGE), np.uint8)
        while not scene.finished():
            n = scene.acknowledged()
            for i in writer.kept(n):
                there = namespace.get_into([writer.key(n, i)], one)[0]
                assert there or scene.acknowledged() > n + writer.LASTING - 2
                assert not there or one[0].tobytes() == writer.page(n, i)
        calm(reader)
