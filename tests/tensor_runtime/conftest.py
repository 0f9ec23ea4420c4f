"""Stores on a disk that hangs and fails when told to, and callers in threads that a test can wait for."""

from __future__ import annotations

import contextlib
import threading

import pytest

from lsmkv.testing import FaultFileSystem, ManualClock, MemoryFileSystem
from lsmkv_tensor.errors import LsmError
from tests.tensor_pages.conftest import World

SIZE = 4000


class Call:
    """A call in a thread of its own; ``result()`` waits for it and returns or raises what it did."""

    def __init__(self, work):
        self._work = work
        self._value = self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error

    def result(self):
        self._thread.join(60)
        assert not self._thread.is_alive(), "the call did not return"
        if self._error is not None:
            raise self._error
        return self._value


class FaultyWorld(World):
    """A world whose disk takes fault rules and whose clock the test moves."""

    def __init__(self, segments: int = 6):
        super().__init__(FaultFileSystem(MemoryFileSystem()), segments)
        self.clock = ManualClock()

    def options(self, **changes):
        return super().options(**{"clock": self.clock, **changes})

    def crash(self, rng=None):
        self.fs = FaultFileSystem(self.fs.inner.crash(rng))
        return self.open()


def lent(world):
    """For fixtures: a world, whose store ends with the test."""
    yield world
    world.fs.clear()
    world.store.close()


@pytest.fixture
def faulty():
    world = FaultyWorld()
    yield world
    if world.store is not None:
        world.fs.clear()
        with contextlib.suppress(LsmError):
            world.store.close()
