"""A writer whose every file-system call is an opportunity, and a follower that must be right at each of them."""

from __future__ import annotations

import pytest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem
from tests.turns import Turns

PATH = "/db"
COUNT = b"n"
"""Every commit writes its number under this key: so what a follower shows says which prefix of the commits it is."""


class Stage(Turns):
    """A store on a disk in memory, its writer, and the contents after each commit."""

    def __init__(self, fs: MemoryFileSystem | None = None, **settings: object) -> None:
        super().__init__(fs or MemoryFileSystem(), aside=False)
        self.settings: dict[str, object] = {
            "memtable_bytes": 2048,
            "table_bytes": 2048,
            "block_bytes": 256,
            "level0_runs": 2,
            "level0_stop_runs": 6,
            "policy": lsmkv.Leveled(size_ratio=2),
            **settings,
        }
        self.history: list[dict[bytes, bytes]] = [{}]
        self.acknowledged = 0
        self.db: lsmkv.DB | None = None

    def open(self, **overrides: object) -> lsmkv.DB:
        """Open the store for writing."""
        settings = self.settings | {"fs": self.fs, "scheduler": ManualScheduler(), "rng": seeded(1), **overrides}
        self.db = lsmkv.open(PATH, lsmkv.Options(**settings))  # type: ignore[arg-type]  # overrides are the test's own
        return self.db

    def follow(self, **overrides: object) -> lsmkv.Follower:
        """Open a follower that looks only when told."""
        settings = {"refresh_s": None, "fs": self.fs, "rng": seeded(2), **overrides}
        with self.aside():
            return lsmkv.open(PATH, lsmkv.Options(**settings), read_only=True)  # type: ignore[arg-type]  # as above

    def die(self) -> None:
        """What is left of a killed process: its files as they are, and no lock."""
        assert self.db is not None
        self.fs._locks.clear()
        self.dead, self.kill_at = False, None
        db, self.db = self.db, None
        db._finalizer.detach()
        db._box.current = None

    def commit(self, **changes: bytes | None) -> None:
        """One batch of changes, and the number of the commit."""
        assert self.db is not None
        number = len(self.history)
        contents = dict(self.history[-1])
        batch = lsmkv.WriteBatch()
        for name, value in changes.items():
            if value is None:
                batch.delete(name.encode())
                contents.pop(name.encode(), None)
            else:
                batch.put(name.encode(), value)
                contents[name.encode()] = value
        batch.put(COUNT, b"%d" % number)
        contents[COUNT] = b"%d" % number
        self.history.append(contents)  # before: it may be seen before it is acknowledged
        self.db.write(batch)
        self.acknowledged = number

    def forget_what_was_lost(self) -> None:
        """After a death: the last commit was in the log or was not."""
        assert self.db is not None
        kept = int(self.db.get(COUNT) or b"0")
        assert kept >= self.acknowledged
        del self.history[kept + 1 :]
        self.acknowledged = kept


class Witness:
    """Looks through a follower and knows what it must see."""

    def __init__(self, stage: Stage, follower: lsmkv.Follower) -> None:
        self.stage = stage
        self.follower = follower
        self.seen = 0
        self.changes = 0
        self.moved = False

    def look(self) -> None:
        """Refresh, then everything."""
        least = max(self.stage.acknowledged, self.seen)
        with self.stage.aside():
            new = self.follower.refresh()
        number = self.read()
        assert not self.moved, "after a look nothing that is read has vanished"
        assert number >= least, f"shows commit {number}, {self.stage.acknowledged} was acknowledged, {self.seen} shown"
        assert new or number == self.seen
        self.changes += number > self.seen
        self.seen = number

    def read(self) -> int:
        """The commit that is shown, after checking that it is shown in full. A read that finds a table gone moves on."""
        history = self.stage.history
        with self.stage.aside():
            shown = [int(self.follower.get(COUNT) or b"0")]
            contents = dict(self.follower.scan())
            shown.append(int(contents.get(COUNT, b"0")))
            assert contents == history[shown[-1]]
            names = sorted({COUNT, *(name for contents in history[-40:] for name in contents)})
            values = self.follower.get_many(names)
            shown.append(int(values[names.index(COUNT)] or b"0"))
            assert values == [history[shown[-1]].get(name) for name in names]
            with self.follower.snapshot() as snapshot:
                shown.append(int(snapshot.get(COUNT) or b"0"))
                assert dict(snapshot.scan()) == history[shown[-1]]
            assert shown == sorted(shown)
            self.moved = shown[0] < shown[-1]
            return shown[-1]


@pytest.fixture
def stage() -> Stage:
    return Stage()
