"""Real processes: a writer that rotates, flushes, merges and rewrites its manifest, killed and started again; followers here."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import lsmkv
from tests.follow import writer

COMMITS = 3000


class Truth:
    """The contents after each commit, made as they are asked for."""

    def __init__(self) -> None:
        self.number = 0
        self.contents: dict[bytes, bytes] = {}

    def at(self, number: int) -> dict[bytes, bytes]:
        assert number >= self.number, "asked in order"
        while self.number < number:
            self.number += 1
            for key, value in writer.changes(self.number).items():
                if value is None:
                    self.contents.pop(key, None)
                else:
                    self.contents[key] = value
        return self.contents


class Scene:
    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "s")
        self.acked = folder / "acked"
        self.acked.write_bytes(bytes(8))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, commits: int = COMMITS) -> subprocess.Popen[bytes]:
        root = Path(__file__).parents[2]
        environment = os.environ | {"PYTHONPATH": str(root)}
        arguments = [sys.executable, writer.__file__, self.path, str(self.acked), str(commits)]
        self.process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)
        return self.process

    def acknowledged(self) -> int:
        return int.from_bytes(self.acked.read_bytes()[:8], "little")

    def finished(self) -> bool:
        assert self.process is not None
        if self.process.poll() is None:
            return False
        assert self.process.returncode == 0, self.process.stderr.read().decode()
        return True


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    with lsmkv.open(scene.path) as db:
        db.put(b"n", b"0")
    yield scene
    if scene.process is not None:
        scene.process.kill()
        scene.process.communicate()


def shown(follower: lsmkv.Follower) -> int:
    return int(follower.get(b"n") or b"0")


def watch(scene: Scene, follower: lsmkv.Follower, truth: Truth, seen: int, *, until: int) -> int:
    """Look and check until commit ``until`` shows, or the writer is done."""
    while seen < until:
        done = scene.process is not None and scene.finished()
        least = scene.acknowledged()
        follower.refresh()
        contents = dict(follower.scan())
        number = int(contents.get(b"n", b"0"))
        assert number >= max(seen, least)
        assert contents == ({b"n": b"0"} if not number else truth.at(number))
        values = follower.get_many(sorted(contents))
        assert int(values[sorted(contents).index(b"n")]) >= number
        seen = number
        if done:
            break
    return seen


def test_a_busy_writer_is_followed_to_its_end(scene: Scene) -> None:
    options = lsmkv.Options(refresh_s=None)
    with lsmkv.open(scene.path, options, read_only=True) as follower:
        scene.start()
        seen = watch(scene, follower, Truth(), 0, until=COMMITS)
        assert seen == COMMITS
        follower.check()
        snapshot = follower.snapshot()
        assert int(snapshot.get(b"n") or b"0") == COMMITS
    assert lsmkv.verify(scene.path).ok


def test_killed_writers_and_their_successors_are_followed(scene: Scene) -> None:
    truth, seen = Truth(), 0
    with lsmkv.open(scene.path, lsmkv.Options(refresh_s=None), read_only=True) as follower:
        for _ in range(4):
            process = scene.start(10**9)
            seen = watch(scene, follower, truth, seen, until=seen + 400)
            process.kill()
            process.communicate()
            scene.process = None
            least = scene.acknowledged()
            follower.refresh()
            assert shown(follower) >= max(seen, least)
        seen = shown(follower)
        scene.start(300)
        assert watch(scene, follower, truth, seen, until=seen + 300) == seen + 300


def test_many_followers_of_one_writer(scene: Scene) -> None:
    """Some look at every read, some by their clock; each on its own thread, and all see it to its end."""
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    followers = [lsmkv.open(scene.path, lsmkv.Options(refresh_s=i % 3 * 0.02), read_only=True) for i in range(6)]
    process = scene.start(1500)
    failures: list[BaseException] = []

    def follow(follower: lsmkv.Follower) -> None:
        try:
            truth, seen = Truth(), 0
            while seen < 1500:
                running = process.poll() is None
                contents = dict(follower.scan())
                number = int(contents[b"n"])
                assert number >= seen
                assert contents == ({b"n": b"0"} if not number else truth.at(number))
                assert shown(follower) >= number
                seen = number
                assert running or number == 1500 or follower.refresh() or shown(follower) == 1500
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=follow, args=(f,)) for f in followers]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures[0]
    for follower in followers:
        follower.close()
    process.communicate()
    scene.process = None
    assert threading.active_count() == threads
    gc.collect()  # a file that only a cycle keeps open is nobody's any more
    assert len(os.listdir("/proc/self/fd")) == files


def test_threads_that_share_a_follower_see_it_move_forward(scene: Scene) -> None:
    process = scene.start(1500)
    failures: list[BaseException] = []
    with lsmkv.open(scene.path, lsmkv.Options(refresh_s=0, max_open_tables=3), read_only=True) as follower:

        def read() -> None:
            try:
                seen = 0
                while seen < 1500:
                    with follower.snapshot() as snapshot:
                        number = int(snapshot.get(b"n") or b"0")
                        assert number >= seen
                        seen = number
                        truth = Truth().at(number) or {b"n": b"0"}
                        assert snapshot.get_many(list(truth)) == list(truth.values())
                        if number % 5 == 0:
                            assert dict(snapshot.scan()) == truth
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=read) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not failures, failures[0]
        assert follower.stats().snapshots == 0
    process.communicate()
    scene.process = None
