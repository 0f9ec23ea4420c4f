"""What waits in the queue of the write path: one writer's batch, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lsmkv.errors import LsmError
from lsmkv.framing import Frame
from lsmkv.live.state import ReadState
from lsmkv.wal.batch import RangeAt

__all__ = ["Narrow", "Request", "answer"]

Narrow: TypeAlias = Callable[[ReadState], Frame | None]
"""Given what readers see at the moment of a commit: the batch as point operations alone; None: there are too many."""


class Request:
    """One writer's batch on its way through the queue."""

    __slots__ = ("cancelled", "done", "error", "keys", "narrow", "nbytes", "ranges", "sync", "values", "widths")

    def __init__(self, frame: Frame, sync: bool, ranges: Sequence[RangeAt] = ()) -> None:
        self.keys, self.values, self.nbytes, self.widths = frame
        self.sync = sync
        self.ranges = ranges
        self.narrow: Narrow | None = None
        self.done = False
        self.cancelled = False
        self.error: LsmError | None = None


def answer(group: Sequence[Request], error: LsmError | None) -> None:
    """Tell the writers of a group how it ended."""
    for request in group:
        request.error = error
        request.done = True
