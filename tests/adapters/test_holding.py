"""What an engine is told of a directory that it cannot have: what, where, and what to do. It starts all the same."""

from __future__ import annotations

import errno
import logging
import re

import pytest

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import FailOp, FaultFileSystem, ManualClock, MemoryFileSystem
from lsmkv_tensor import StoreOptions
from lsmkv_tensor.adapters.advice import told
from lsmkv_tensor.adapters.holding import Holding
from lsmkv_tensor.errors import FormatTooNewError, InvalidArgumentError

SEGMENT = 64 << 10


class Disk:
    """A disk in memory, and every process that was started on it."""

    def __init__(self):
        self.fs = FaultFileSystem(MemoryFileSystem())
        self.held = []

    def start(self, on_conflict="wait", **options):
        fixed = {"capacity_bytes": (512 << 10) + 8192 + 6 * SEGMENT, "segment_bytes": SEGMENT, "index_bytes": 512 << 10}
        fixed |= {"fs": self.fs, "clock": ManualClock(), "rng": seeded(1), "scheduler": ManualScheduler()}
        held = Holding("/kv", "m", StoreOptions(**{**fixed, **options}), on_conflict=on_conflict, wait_s=0.0)
        self.held.append(held)
        return held

    def cut(self, name):
        """Damage a file of the directory."""
        file = self.fs.open(f"/kv/m/{name}", "rw")
        file.pwritev([b"\xff" * 64], 0)
        file.close()


@pytest.fixture
def disk():
    found = Disk()
    yield found
    found.fs.clear()
    for held in found.held:
        held.close()


@pytest.mark.parametrize(
    ("trouble", "what", "advice"),
    [
        ("locked", "open for writing by a user", '"on_conflict": "fresh"'),
        ("stamp", "CorruptionError: /kv/m/STORE", "remove /kv/m "),
        ("manifest", "CorruptionError: /kv/m/index/MANIFEST", "lsmkv repair /kv/m/index"),
        ("full", "NoSpaceError: .*/kv/m", "make room there"),
        ("denied", "EACCES", "lsmkv doctor /kv/m"),
    ],
)
def test_why_nothing_is_stored_and_what_to_do_is_told(disk, caplog, trouble, what, advice):
    """It said what was wrong, and left what to do to whoever read it."""
    if trouble != "denied":
        first = disk.start()
        if trouble != "locked":
            first.close()
    if trouble == "stamp":
        disk.cut("STORE")
    elif trouble == "manifest":
        disk.cut("index/MANIFEST")
    elif trouble in ("full", "denied"):
        number = errno.ENOSPC if trouble == "full" else errno.EACCES
        disk.fs.add(FailOp("open", path="/kv/m/*", errno=number))
        disk.fs.add(FailOp("mkdir", path="/kv/m*", errno=number))
    caplog.clear()
    held = disk.start()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith("lsmkv: /kv/m cannot be had, until it can be (tried once a second) nothing is stored: ")
    assert line.endswith(held.reason)
    assert re.search(what, held.reason)
    assert advice in held.reason


def test_a_directory_of_a_later_version_is_told_as_one():
    line = told(FormatTooNewError("/kv/m/STORE", 99, 2), "/kv/m")
    assert line.startswith("FormatTooNewError: /kv/m/STORE has format version 99, this library knows up to 2: upgrade lsmkv, ")
    assert '"on_conflict": "fresh"' in line


def test_another_directory_is_not_taken_in_silence(disk, caplog):
    """It was taken without a word: the disk held two caches, each as large as the capacity."""
    disk.start().close()
    disk.cut("STORE")
    assert disk.start("fresh").member == "m.2"
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith("lsmkv: /kv/m.2 is taken instead of m: CorruptionError: /kv/m/STORE")


@pytest.mark.parametrize("wrong", [{"eviction": "mq,foo=3"}, {"eviction": "lruu"}, {"admission": "sometimes"}])
def test_a_wrong_name_is_told_although_the_directory_cannot_be_had(disk, wrong):
    """LMCache's and vLLM's adapters told it when the directory was taken over, hours later."""
    disk.start()
    with pytest.raises(InvalidArgumentError):
        disk.start(**wrong)
