"""Two processes on one disk in memory that take turns at its calls: a writer, and whoever looks meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lsmkv.testing.memfs import MemoryFileSystem


class Killed(BaseException):
    """The writer's process is gone."""


class Turns:
    """Every call of the writer to the file system is an opportunity: for its death, or for somebody else's turn."""

    def __init__(self, fs: MemoryFileSystem, *, aside: bool) -> None:
        self.fs = fs
        self.calls = 0
        self.dead = False
        self.kill_at: int | None = None
        self.on_call: Callable[[str, str], None] = lambda op, path: None
        """What is done before each call of the writer."""
        self.meanwhile: Callable[[], object] | None = None
        """What the writer does before somebody else's next call; it returns what it will do before the one after."""
        self.fs.on_op = self._call
        self._aside = aside

    def _call(self, op: str, path: str) -> None:
        if self._aside:
            work, self.meanwhile = self.meanwhile, None
            if work is not None:
                with self.aside(False):
                    self.meanwhile = work()
            return
        if self.dead:
            raise Killed
        self.calls += 1
        if self.calls == self.kill_at:
            self.dead = True
            raise Killed
        with self.aside():
            self.on_call(op, path)

    @contextmanager
    def aside(self, aside: bool = True) -> Iterator[None]:
        """Somebody who is not the writer uses the disk; or, in the middle of that, the writer."""
        before, self._aside = self._aside, aside
        try:
            yield
        finally:
            self._aside = before
