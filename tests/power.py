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
