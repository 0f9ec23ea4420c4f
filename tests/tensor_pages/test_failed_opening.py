"""A store that cannot be opened leaves nothing behind: an engine tries again every second."""

from __future__ import annotations

import gc
import threading
from contextlib import suppress
from weakref import WeakSet

import numpy as np
import pytest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.testing import ManualClock, MemoryFileSystem
from lsmkv_tensor import PageStore
from lsmkv_tensor.errors import CorruptionError, LockedError
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.vlog.reserved import NAMES

SEGMENT, INDEX = 64 << 10, 512 << 10


class CountingFileSystem(MemoryFileSystem):
    """Knows which files are open."""

    def __init__(self):
        super().__init__()
        self.opened = WeakSet()

    def open(self, *args, **kwargs):
        file = super().open(*args, **kwargs)
        self.opened.add(file)
        return file

    def still_open(self):
        """A closed one has no size."""
        found = 0
        for file in self.opened:
            with suppress(OSError):
                found += file.size() >= 0
        return found


def options(fs):
    return StoreOptions(
        capacity_bytes=INDEX + 8192 + 6 * SEGMENT, segment_bytes=SEGMENT, index_bytes=INDEX, fs=fs, clock=ManualClock(),
        rng=seeded(1), put_queue_bytes=SEGMENT,
    )  # fmt: skip


@pytest.fixture
def no_collection():
    """What is left in cycles stays."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.usefixtures("no_collection")
def test_nothing_is_left_of_an_opening_that_failed(damaged):
    fs = CountingFileSystem()
    with PageStore.open("/kv", options=options(fs), member="b") as sibling:
        sibling.namespace({}, 4096).put_many([b"k"], [np.ones(4096, np.uint8)], wait=True)
        first = PageStore.open("/kv", options=options(fs), member="a")
        if damaged:
            first.close()
            with lsmkv.open("/kv/a/index", lsmkv.Options(fs=fs)) as index:
                index.put(NAMES + b"x", (77).to_bytes(4, "big"))
        before, threads = fs.still_open(), set(threading.enumerate())
        for _ in range(3):
            with pytest.raises(CorruptionError if damaged else LockedError):
                PageStore.open("/kv", options=options(fs), member="a")
        assert fs.still_open() == before
        assert set(threading.enumerate()) <= threads
        first.close()
