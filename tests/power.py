"""Cutting the power of a file system in memory before one of its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lsmkv.testing import MemoryFileSystem


class _CutError(BaseException):
    """The power is gone: nothing that runs may catch it and go on."""


@dataclass
class Cut:
    calls: int = 0
    """Calls so far, the one that did not happen any more included."""


class PowerOff:
    """Turns the disk off before the call of this number from now on (from 1; 0: never) of those whose operation ``counts``.

    What runs goes on, against a dead disk.
    """

    def __init__(self, fs: MemoryFileSystem, at: int, counts: Callable[[str], bool] = lambda _: True) -> None:
        self.fs, self.at, self.counts, self.count = fs, at, counts, 0
        fs.on_op = self

    def __call__(self, op: str, _path: str) -> None:
        if self.counts(op):
            self.count += 1
            if self.count == self.at:
                self.fs.power_off()


@contextmanager
def cut_before(fs: MemoryFileSystem, call: int, counts: Callable[[str], bool] = lambda _: True) -> Iterator[Cut]:
    """Run the block until the call of this number (from 1; -1: to its end) of those whose operation ``counts``."""
    cut = Cut()

    def hook(op: str, _path: str) -> None:
        cut.calls += counts(op)
        if cut.calls == call:
            raise _CutError

    fs.on_op = hook
    try:
        yield cut
    except _CutError:
        pass
    finally:
        fs.on_op = None
